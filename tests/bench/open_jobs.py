"""What ten thousand open jobs cost the periodic tasks that look after them."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from jobs import store_jobs
from rows import Row, at_most
from stage import open_stage

JOBS, AGE_S = 10_000, 60.0
_ROOT = Path(__file__).resolve().parents[2]
_NAMES = ("recovery, all due", "recovery, none due", "progress updates, all due")


async def run(folder: Path) -> AsyncIterator[Row]:
    """All are being separated, for a minute: too short for a poll, and their messages are due."""
    async with open_stage(folder) as stage:
        await store_jobs(stage.redis_url, JOBS, age_s=AGE_S)
        environment = {**stage.environment.variables(), "PYTHONPATH": str(_ROOT), "HOME": os.environ["HOME"]}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(Path(__file__).with_name("passes.py"))),
            env=environment,
            cwd=folder,
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
    for name, (used_s, blocked_s) in zip(_NAMES, json.loads(output), strict=True):
        used, blocked = used_s * 1000, blocked_s * 1000
        yield Row(
            f"{JOBS:,} open jobs: {name}",
            f"{used:.0f} ms processor time, of which at most {blocked:.0f} ms in one stretch",
            "",
            (at_most(used, 50, " ms"),),
        )
