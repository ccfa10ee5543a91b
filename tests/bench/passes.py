"""Runs periodic tasks of a worker once, where the environment's settings lead, and prints what that took.

For each run: the processor seconds of this process, and the longest stretch in which its event loop ran
nothing else.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from stemdrop.settings import load_settings
from stemdrop.wiring import open_parts
from worker.run import build_fetcher, build_tasks

_TICK_S = 0.001


async def main() -> None:
    """Recovery first."""
    async with (
        open_parts(load_settings(os.environ), asyncio.Event()) as parts,
        build_fetcher(parts) as fetcher,
    ):
        await parts.bot.initialize()
        tasks = build_tasks(parts, fetcher)
        runs = (tasks.recovery.run, tasks.recovery.run, tasks.progress_updates.run)
        sys.stdout.write(json.dumps([await _measured(run) for run in runs]))


async def _measured(run: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    blocked = [0.0]
    watching = asyncio.create_task(_watch(blocked))
    await asyncio.sleep(_TICK_S)
    used = time.process_time()
    await run()
    used = time.process_time() - used
    await asyncio.sleep(_TICK_S)
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
    return used, max(blocked)


async def _watch(blocked: list[float]) -> None:
    """Note the processor seconds between ticks, which mean the same on a machine that does other work."""
    seen = time.thread_time()
    while True:
        await asyncio.sleep(_TICK_S)
        blocked.append(time.thread_time() - seen)
        seen = time.thread_time()


if __name__ == "__main__":
    asyncio.run(main())
