"""`make bench`: what stemdrop's work takes on this machine, beside the least that it could take.

Every figure stands beside a baseline measured in the same run: a machine is compared with itself. A run of
all parts writes docs/performance.md; `make bench BENCH="callbacks start"` prints these alone, and
`BENCH=scaling-page` writes the figures of docs/scaling.md. No figure makes it fail, only what went wrong.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import callbacks
import deliveries
import demo
import failover
import journeys
import mixer
import open_jobs
import remixes
import scaling
import separation
import songs
import start
from measure import machine, print_now
from redis.asyncio import Redis
from rows import HEAD, Row, summary, write_figures

from sandbox.environment.redis_server import RedisServer

Part = Callable[[Path], AsyncIterator[Row]]

_DOCS = Path(__file__).resolve().parents[2] / "docs"
# The load of a machine that does nothing else; what has just ended still counts.
_IDLE_LOAD = 1.0
# In the order of the page.
_PARTS: dict[str, Part] = {
    "callbacks": callbacks.run,
    "deliveries": deliveries.run,
    "journeys": journeys.run,
    "open-jobs": open_jobs.run,
    "start": start.run,
    "separation": separation.run,
    "demo": demo.run,
}
# Those of docs/scaling.md, which have no targets.
_OTHERS: dict[str, Part] = {
    "scaling": scaling.run,
    "songs": songs.run,
    "spleeter": separation.run_spleeter,
    "remixes": remixes.run,
    "mixer": mixer.run,
    "failover": failover.run,
}


async def bench(names: list[str]) -> None:
    """Measure these parts and print each row as it comes."""
    lines = await _introduction()
    print_now("\n".join([*lines, "", HEAD]))
    rows, began = list[Row](), time.perf_counter()
    for name in names:
        with tempfile.TemporaryDirectory(prefix="stemdrop-bench-") as folder:
            async for row in (_PARTS | _OTHERS)[name](Path(folder)):
                print_now(row.line())
                rows.append(row)
    lines += ["", HEAD, *(row.line() for row in rows), "", *summary(rows)]
    took = f"It took {time.perf_counter() - began:.0f} s; the load at its end was {os.getloadavg()[0]:.1f}."
    print_now("\n".join(["", *summary(rows), "", took]))
    for page, parts in {"performance.md": _PARTS, "scaling.md": _OTHERS}.items():
        if names == list(parts):
            write_figures(_DOCS / page, [*lines, "", took])


async def _introduction() -> list[str]:
    with tempfile.TemporaryDirectory(prefix="stemdrop-bench-") as folder:
        async with RedisServer(Path(folder)) as server, Redis.from_url(server.url) as redis:
            described = machine(await redis.info("server"))
    load = os.getloadavg()[0]
    busy = (
        "" if load < _IDLE_LOAD else " **The machine was busy with other work: these figures mean little.**"
    )
    return [f"{datetime.now(UTC):%Y-%m-%d}, {described}. The load before was {load:.1f}.{busy}"]


def main() -> None:
    """Measure all parts, or those that are named."""
    if not Path("/proc/self/smaps_rollup").exists():
        sys.exit("make bench reads /proc: it needs Linux")
    known = [*_PARTS, *_OTHERS]
    # A client that measures must not wait for the stand-in's threads.
    sys.setswitchinterval(0.0005)
    named = list(_OTHERS) if sys.argv[1:] == ["scaling-page"] else sys.argv[1:] or list(_PARTS)
    if unknown := set(named) - set(known):
        sys.exit(f"there is no {', '.join(sorted(unknown))}, only {', '.join(known)}, and scaling-page")
    asyncio.run(bench(named))


if __name__ == "__main__":
    main()
