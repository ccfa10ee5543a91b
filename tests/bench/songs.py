"""What limits a bot, and fills Redis: the messages of a song, and what is kept of it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

from callback_bodies import TWELVE_STEMS, TWO_STEMS
from deliveries import ended
from journeys import play
from redis.asyncio import Redis
from rows import Row
from stage import Stage, open_stage
from stand_in import Call
from tones import mp3

from stemdrop.storage.flood_limiter import OVERALL
from stemdrop.storage.keys import CALL, CALL_LIFETIME_S, DAY_S, JOB_LIFETIME_S, KEPT, KEPT_LIFETIME_S, LEDGER
from stemdrop.tasks.engine import Queue

# The stems of the first and second button, and how many songs are played.
_MODES = ((TWO_STEMS, 20), (TWELVE_STEMS, 10))
_DAYS = {"job": JOB_LIFETIME_S // DAY_S, "shelf": KEPT_LIFETIME_S // DAY_S, "call": CALL_LIFETIME_S // DAY_S}


async def run(folder: Path) -> AsyncIterator[Row]:
    """One song after the other, by one `up`."""
    async with open_stage(folder, {"short": mp3(folder / "short.mp3")}) as stage:
        stage.stand_in.called_back = "short"
        await stage.start("up")
        for button, (names, number) in enumerate(_MODES):
            stage.stand_in.called_names = names
            async for row in _played(stage, button, number):
                yield row


async def _played(stage: Stage, button: int, number: int) -> AsyncIterator[Row]:
    before, calls_before = await _kept_bytes(stage.redis), len(stage.stand_in.calls)
    for _ in range(number):
        await asyncio.to_thread(play, stage.stand_in, button=button)
        await ended(stage)
    messages = sum(map(_messages, stage.stand_in.calls[calls_before:])) / number
    work, per_min = f"songs of {len(stage.stand_in.called_names)} stems", OVERALL[1] / messages * 60
    limit = f"so at most {per_min:.0f} jobs/min at {OVERALL[1]:.0f}/s"
    yield Row(f"{work}: messages and edits", f"{messages:.1f}, {limit}")
    sizes = {kind: (size - before[kind]) / number for kind, size in (await _kept_bytes(stage.redis)).items()}
    kept = ", ".join(f"{sizes[kind]:.0f} bytes for {days} days" for kind, days in _DAYS.items())
    per_day = 1e9 / sum(sizes[kind] * days for kind, days in _DAYS.items())
    figure = f"{kept}, {sizes['tasks']:.0f} for minutes: 1 GB holds {per_day:.0f} jobs a day"
    yield Row("… kept in Redis", figure)


def _messages(call: Call) -> int:
    """As Telegram counts them."""
    is_message = call.method.startswith(("send", "edit")) and call.method != "sendChatAction"
    return call.audios or int(is_message)


async def _kept_bytes(redis: Redis) -> Counter[str]:
    """What lies there by how long it stays: of jobs, on the shelf, of create calls, and the engine's."""
    sizes: Counter[str] = Counter(job=0, shelf=0, call=0, tasks=0)
    async for key in redis.scan_iter(count=1000):
        name = key.decode()
        if name.startswith(tuple(Queue)):
            kind = "tasks"
        elif name == LEDGER or (name.startswith(CALL.format("")) and not name.endswith(":source")):
            kind = "call"
        else:
            kind = "shelf" if name.startswith(KEPT.format("")) or name.endswith(":kept") else "job"
        sizes[kind] += await redis.memory_usage(key, samples=0) or 0
    return sizes
