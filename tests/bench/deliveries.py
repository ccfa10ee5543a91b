"""Deliveries of real MP3s, with Telegram's limits out of the way: a plain bot beside one worker."""

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from audio_files import stem_of, two_stems
from callback_bodies import TWELVE_STEMS, TWO_STEMS
from callback_requests import callbacks_for
from jobs import store_jobs
from load import fire
from measure import cpu_s, median_ratio, memory, peak_mb, reset_peak
from rows import Row, at_least, at_most
from stage import Stage, open_stage
from stand_in import StandIn

from sandbox.environment.process import Process
from stemdrop.domain.jobs import Mode
from stemdrop.storage.keys import OPEN
from worker.delivery import JOBS_ON_DISK

ROUNDS, JOBS, WARM = 3, 40, 8
LARGE_MB = 40
_PATIENCE_S = 300


async def run(folder: Path) -> AsyncIterator[Row]:
    """The two in turn, as many jobs at once; then one job of many large stems."""
    async with open_delivery_stage(folder) as stage:
        await stage.start("webhook")
        worker = await stage.start("worker", is_limited=False)
        await _deliver(stage, worker, WARM)
        plain, ours = list[_Run](), list[_Run]()
        for _ in range(ROUNDS):
            plain.append(await plain_bot(stage, JOBS))
            ours.append(await _deliver(stage, worker, JOBS))
        for row in _table(plain, ours):
            yield row
        await worker.stop()
        yield await _large(stage)


@dataclass(frozen=True, slots=True)
class _Run:
    """`took_s` are the times of single jobs, where they are known."""

    per_s: float
    cpu_s: float
    peak_mb: float
    took_s: Sequence[float] = ()


def _table(plain: Sequence[_Run], ours: Sequence[_Run]) -> list[Row]:
    speed = median_ratio([it.per_s for it in ours], [it.per_s for it in plain])
    cpu = median_ratio([it.cpu_s for it in ours], [it.cpu_s for it in plain])
    peak = max(it.peak_mb for it in ours)
    return [
        Row(
            f"delivery, {JOBS} jobs × 2 stems of 3 MB, {JOBS_ON_DISK} at once",
            f"{median(it.per_s for it in ours):.1f} jobs/s",
            f"plain bot {median(it.per_s for it in plain):.1f} jobs/s",
            (at_least(speed, 1.5, " × plain bot"),),
        ),
        Row(
            "… processor time of the worker",
            f"{median(it.cpu_s for it in ours) * 1000:.0f} ms a job",
            f"plain bot {median(it.cpu_s for it in plain) * 1000:.0f} ms",
            (at_most(cpu, 0.7, " × plain bot"),),
        ),
        Row(
            "… its memory at most",
            f"{peak:.0f} MB",
            f"plain bot {max(it.peak_mb for it in plain):.0f} MB",
            (at_most(peak, 130, " MB"),),
        ),
    ]


@asynccontextmanager
async def open_delivery_stage(folder: Path) -> AsyncIterator[Stage]:
    """Open a stage with stems of 3 MB, three minutes each, and of 40 MB."""
    folder.mkdir(exist_ok=True)  # noqa: ASYNC240 - nothing else runs yet
    made = two_stems(folder) | {"large": stem_of(folder, "other", LARGE_MB, 320)}
    async with open_stage(folder, made, has_tls=True) as stage:
        yield stage


def urls(stage: Stage, names: Sequence[str], file: str = "three") -> dict[str, str]:
    """Where stems of these names are."""
    return {name: stage.stand_in.stem_url(f"{file}-{name}") for name in names}


@dataclass(frozen=True, slots=True)
class Begun:
    """Deliveries that are under way."""

    stand_in: StandIn
    first_call: int
    stems: Mapping[int, int]  # chat → stems that are to come

    def is_done(self) -> bool:
        """Whether each chat has all of its stems. Raises `RuntimeError` if one has more."""
        arrived = Counter[int]()
        for call in self.stand_in.calls[self.first_call :]:
            if call.chat_id in self.stems:
                arrived[call.chat_id] += call.audios
        if any(arrived[chat] > count for chat, count in self.stems.items()):
            raise RuntimeError(f"some stems came twice: {arrived}")
        return all(arrived[chat] == count for chat, count in self.stems.items())


async def begin(
    stage: Stage,
    count: int,
    names: Sequence[str] = TWO_STEMS,
    file: str = "three",
    mode: Mode = Mode.SEPARATE_VOCAL,
) -> Begun:
    """Call back the results of so many jobs, which a worker then delivers. Needs a webhook."""
    jobs = await store_jobs(stage.redis_url, count, mode)
    begun = Begun(stage.stand_in, len(stage.stand_in.calls), {job.chat_id: len(names) for job in jobs})
    requests = callbacks_for(stage, jobs, urls(stage, names, file))
    await asyncio.to_thread(fire, requests, [stage.webhook_port], min(count, 8))
    return begun


async def _deliver(stage: Stage, worker: Process, count: int) -> _Run:
    """From the first callback until every job has ended."""
    reset_peak(worker.pid)
    used, began = cpu_s(worker.pid), time.perf_counter()
    begun = await begin(stage, count)
    await ended(stage)
    seconds, used = time.perf_counter() - began, cpu_s(worker.pid) - used
    if not begun.is_done():
        raise RuntimeError("some stems did not come")
    return _Run(count / seconds, used / count, peak_mb(worker.pid))


async def ended(stage: Stage) -> None:
    """Wait until no job is open."""
    async with asyncio.timeout(_PATIENCE_S):
        while await stage.redis.zcard(OPEN):  # noqa: ASYNC110 - Redis sets no event
            await asyncio.sleep(0.02)


async def plain_bot(stage: Stage, count: int, at_once: int = JOBS_ON_DISK, stems: int = 2) -> _Run:
    """Deliver the same stems with the plain bot."""
    stand_in = stage.stand_in
    request = {
        "telegram_url": stand_in.url,
        "chats": list(range(1, count + 1)),
        "stems": list(urls(stage, TWO_STEMS[:stems]).values()),
        "at_once": at_once,
    }
    program = Path(__file__).with_name("baseline_bot.py")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(program), json.dumps(request)),
        env={**os.environ, **stage.environment.variables()},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    seconds, used, peak, took = json.loads(output)
    return _Run(count / seconds, used / count, peak, took)


async def _large(stage: Stage) -> Row:
    """How much the memory of a worker that has already delivered grows."""
    worker = await stage.start("worker", is_limited=False)
    await _deliver(stage, worker, WARM)
    before = memory(worker.pid).rss
    reset_peak(worker.pid)
    began = time.perf_counter()
    begun = await begin(stage, 1, TWELVE_STEMS, "large", Mode.SPLIT_STEM)
    await ended(stage)
    seconds, growth = time.perf_counter() - began, peak_mb(worker.pid) - before
    if not begun.is_done():
        raise RuntimeError("some stems did not come")
    await worker.stop()
    return Row(
        f"delivery, {len(TWELVE_STEMS)} stems of {LARGE_MB} MB: growth of memory",
        f"{growth:.0f} MB over {before:.0f} MB; {seconds:.1f} s",
        f"the stems together {len(TWELVE_STEMS) * LARGE_MB} MB",
        (at_most(growth, 12, " MB"),),
    )
