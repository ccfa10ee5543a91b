"""How long commands take to start, and what an idle `up` holds, beside Python and the libraries alone."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from statistics import median

from measure import Used, cpu_s, memory
from rows import Row, at_most
from stage import open_stage

ROUNDS, UP_ROUNDS = 7, 3
# After its start a process does some things once.
SETTLE_S, IDLE_S = 5.0, 20.0
_LIBRARIES = "import fastapi, httpx, telegram.ext, uvicorn"
_HELD = f"{_LIBRARIES}; print(flush=True); input()"


async def run(folder: Path) -> AsyncIterator[Row]:
    """The command line, then `up`."""
    stemdrop = [sys.executable, "-P", "-m", "stemdrop", "--help"]
    bare, helped, libraries = list[float](), list[float](), list[float]()
    for _ in range(ROUNDS):  # in turn
        bare.append(await asyncio.to_thread(_seconds, [sys.executable, "-c", "pass"]))
        helped.append(await asyncio.to_thread(_seconds, stemdrop))
        libraries.append(await asyncio.to_thread(_seconds, [sys.executable, "-c", _LIBRARIES]))
    yield Row(
        "`stemdrop --help`",
        f"{median(helped):.2f} s",
        f"`python -c pass` {median(bare):.3f} s",
        (at_most(median(helped), 0.3, " s"),),
    )
    async with open_stage(folder) as stage:
        ready = []
        for number in range(UP_ROUNDS):
            began = time.perf_counter()
            up = await stage.start("up")
            ready.append(time.perf_counter() - began)
            if number < UP_ROUNDS - 1:
                await up.stop()
        yield Row(
            "`up` ready",
            f"{median(ready):.2f} s",
            f"the libraries imported {median(libraries):.2f} s",
            (at_most(median(ready), 2, " s"),),
        )
        await asyncio.sleep(SETTLE_S)
        used, cpu = await Used.by(stage.redis), cpu_s(up.pid)
        await asyncio.sleep(IDLE_S)
        per_s, cpu = (await Used.by(stage.redis) - used).per(IDLE_S), (cpu_s(up.pid) - cpu) / IDLE_S * 100
        held = memory(up.pid)
        yield Row(
            "`up` idle: memory",
            str(held),
            f"the libraries imported {await asyncio.to_thread(_held_by_libraries)}",
            (at_most(held.rss, 85, " MB"),),
        )
        yield Row("… processor", f"{cpu:.1f} % of a core", "", (at_most(cpu, 1, " %"),))
        yield Row("… Redis commands a second", f"{per_s.commands:.0f}", "", (at_most(per_s.commands, 20),))


def _seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def _held_by_libraries() -> str:
    process = subprocess.Popen([sys.executable, "-c", _HELD], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin
    assert process.stdout
    with process:
        process.stdout.readline()
        held = memory(process.pid)
        process.stdin.write(b"\n")
    return str(held)
