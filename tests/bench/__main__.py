"""`make bench`: what one process of each kind does on this machine, and what more of them add.

A few minutes, on loopback alone. Every figure stands beside its ratio to a baseline measured in the same run:
a machine is compared with itself. Timings decide nothing: no figure makes it fail, only what went wrong.
"""

import asyncio
import os
import platform
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import callbacks
import deliveries
import failover
import mixer
import remixes
import separation
import songs
import updates
from deployment import Deployment, open_deployment
from fault_case import PATIENCE
from measure import HEAD, Row, print_now

from sandbox.environment.process import Process

_AS_USUAL = {"LOG_LEVEL": "INFO"}
_PARTS: dict[str, tuple[Callable[[Deployment], AsyncIterator[Row]], dict[str, Any]]] = {
    "callbacks": (callbacks.run, _AS_USUAL),
    "updates": (updates.run, _AS_USUAL | {"TELEGRAM_UPDATES": "webhook"}),
    "deliveries": (deliveries.run, _AS_USUAL),
    "songs": (songs.run, _AS_USUAL),
    "separation": (separation.run, _AS_USUAL),
    "remixes": (remixes.run, _AS_USUAL),
    "mixer": (mixer.run, _AS_USUAL),
    "failover": (failover.run, _AS_USUAL | PATIENCE),
}


async def bench(names: list[str]) -> None:
    """Measure these parts, each in an environment of its own, and print the table row by row."""
    print_now(
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}\n\n{HEAD}"
    )
    for name in names:
        run, settings = _PARTS[name]
        with tempfile.TemporaryDirectory(prefix="stemdrop-bench-") as folder:
            async with open_deployment(Path(folder), **settings) as deployment:
                deployment.environment.process_class = (
                    Process  # from nothing, as an operator starts them: memory is theirs
                )
                deployment.ordinary = ("",)
                async for row in run(deployment):
                    print_now(row.line())


def main() -> None:
    """All parts, or those that are named."""
    if not Path("/proc/self/smaps_rollup").exists():
        sys.exit("make bench reads /proc: it needs Linux")
    if unknown := set(sys.argv[1:]) - set(_PARTS):
        sys.exit(f"there is no {', '.join(sorted(unknown))}, only {', '.join(_PARTS)}")
    started = time.perf_counter()
    asyncio.run(bench(sys.argv[1:] or list(_PARTS)))
    print_now(f"\n{time.perf_counter() - started:.0f} s, load at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
