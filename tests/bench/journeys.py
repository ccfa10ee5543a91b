"""Songs on their whole way through one `stemdrop up`: how long their people wait, and what a song costs."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median

from audio_files import two_stems
from deliveries import ended, plain_bot
from measure import Used, cpu_s
from rows import Row, at_most
from stage import Stage, open_stage
from stand_in import Call, StandIn
from tones import mp3

ONE_BY_ONE, WARM = 25, 5
# Songs a second that come evenly: with two stems, no limit of Telegram's holds them back.
COSTED, PER_S = 40, 2.0
IDLE_S = 20.0
# After its start a process does some things once.
SETTLE_S = 3.0
_people = count(30_000_001)


async def run(folder: Path) -> AsyncIterator[Row]:
    """Idle, one by one, and then several at a time."""
    stems = two_stems(folder) | {"short": mp3(folder / "short.mp3")}
    async with open_stage(folder, stems, has_tls=True) as stage:
        stage.stand_in.called_back = "three"
        async with _plain_menu(stage):
            plain = [await _play(stage.stand_in, is_whole=False) for _ in range(WARM + ONE_BY_ONE)][WARM:]
        sent_s = (await plain_bot(stage, WARM + ONE_BY_ONE, at_once=1)).took_s[WARM:]
        up = await stage.start("up")
        await asyncio.sleep(SETTLE_S)
        idle = await _used(stage, up.pid, lambda: asyncio.sleep(IDLE_S), IDLE_S)
        ours = []
        for _ in range(WARM + ONE_BY_ONE):
            ours.append(await _play(stage.stand_in))
            await ended(stage)
        for row in _latencies(ours[WARM:], plain, sent_s):
            yield row
        began = time.perf_counter()
        used = await _used(stage, up.pid, lambda: _play_evenly(stage), 1)
        seconds = time.perf_counter() - began
        commands = (used.redis.commands - idle.redis.commands * seconds) / COSTED
        up_s, redis_s = (
            (used.cpu_s - idle.cpu_s * seconds) / COSTED,
            (used.redis.cpu_s - idle.redis.cpu_s * seconds) / COSTED,
        )
        yield Row("Redis commands a job of two stems", f"{commands:.0f}", "", (at_most(commands, 250),))
        cost_ms = (up_s + redis_s) * 1000
        yield Row(
            "processor time a job of two stems of 1 s",
            f"{cost_ms:.0f} ms: `up` {up_s * 1000:.0f}, Redis {redis_s * 1000:.0f}",
            "",
            (at_most(cost_ms, 90, " ms"),),
        )


@dataclass(frozen=True, slots=True)
class _Times:
    """Of one song, in seconds: until its menu, from the tap to the create call, from callback to stems."""

    menu_s: float
    create_s: float
    stems_s: float = 0.0


def _latencies(ours: Sequence[_Times], plain: Sequence[_Times], sent_s: Sequence[float]) -> list[Row]:
    def p50_ms(times: Sequence[_Times], which: str) -> float:
        return 1000 * float(median(getattr(it, which) for it in times))

    menu, create, stems = (p50_ms(ours, name) for name in ("menu_s", "create_s", "stems_s"))
    trips, sent = "round trips alone {:.1f} ms", median(sent_s) * 1000
    return [
        Row(
            "song → menu, p50",
            f"{menu:.0f} ms",
            trips.format(p50_ms(plain, "menu_s")),
            (at_most(menu, 40, " ms"),),
        ),
        Row(
            "tap → create call, p50",
            f"{create:.0f} ms",
            trips.format(p50_ms(plain, "create_s")),
            (at_most(create, 60, " ms"),),
        ),
        Row(
            "callback → first stem (an album of two, 3 MB each), p50",
            f"{stems:.0f} ms",
            f"fetched and sent by the plain bot {sent:.0f} ms",
            (at_most(stems / sent, 1.3, " × plain bot"),),
        ),
    ]


async def _play(stand_in: StandIn, *, is_whole: bool = True) -> _Times:
    return await asyncio.to_thread(play, stand_in, is_whole=is_whole)


def play(stand_in: StandIn, *, button: int = 0, is_whole: bool = True) -> _Times:
    """Send a song as a new person and press a button; returns when the first stems have come."""
    person = next(_people)
    chat = {"id": person, "type": "private", "first_name": "Person"}
    user = {"id": person, "is_bot": False, "first_name": "Person", "language_code": "en"}
    song = {
        "message_id": 1,
        "date": int(time.time()),
        "chat": chat,
        "from": user,
        "audio": _audio(person, stand_in.song),
    }
    sent_at = stand_in.send_update("message", song)
    menu = _first(stand_in, person, lambda call: bool(call.buttons))
    shown = {"message_id": stand_in.last_message[person], "date": int(time.time()), "chat": chat, "text": "…"}
    tap = {
        "id": str(person),
        "from": user,
        "chat_instance": "1",
        "message": shown,
        "data": menu.buttons[button],
    }
    tapped_at = stand_in.send_update("callback_query", tap)
    create = stand_in.wait_for(lambda: stand_in.creates.get(person))
    times = _Times(menu.at - sent_at, create.at - tapped_at)
    if not is_whole:
        return times
    stems = _first(stand_in, person, lambda call: bool(call.audios))
    return _Times(times.menu_s, times.create_s, stems.at - create.called_back_at)


def _audio(person: int, song: bytes) -> dict[str, object]:
    unique = f"song-{person}"
    named = {"title": f"Song {person}", "performer": "Bench", "mime_type": "audio/mpeg", "duration": 190}
    return {"file_id": unique, "file_unique_id": unique, "file_size": len(song), **named}


def _first(stand_in: StandIn, chat_id: int, wanted: Callable[[Call], bool]) -> Call:
    return stand_in.wait_for(lambda: next((it for it in stand_in.of(chat_id) if wanted(it)), None))


async def _play_evenly(stage: Stage) -> None:
    stage.stand_in.called_back = "short"
    loop, played = asyncio.get_running_loop(), []
    with ThreadPoolExecutor(COSTED) as threads:
        for _ in range(COSTED):
            played.append(loop.run_in_executor(threads, play, stage.stand_in))
            await asyncio.sleep(1 / PER_S)
        await asyncio.gather(*played)
    await ended(stage)


@dataclass(frozen=True, slots=True)
class _Cost:
    redis: Used
    cpu_s: float


async def _used(stage: Stage, pid: int, do: Callable[[], object], per: float) -> _Cost:
    """What a process and Redis use while this is done."""
    redis, cpu = await Used.by(stage.redis), cpu_s(pid)
    await do()  # type: ignore[misc]
    return _Cost((await Used.by(stage.redis) - redis).per(per), (cpu_s(pid) - cpu) / per)


@asynccontextmanager
async def _plain_menu(stage: Stage) -> AsyncIterator[None]:
    """Run the plain bot that makes only the calls."""
    program = Path(__file__).with_name("baseline_menu.py")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(program), stage.stand_in.url),
        env={**os.environ, **stage.environment.variables()},
    )
    try:
        yield
    finally:
        process.terminate()
        await process.wait()
