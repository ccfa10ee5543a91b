"""Redis: there, new enough, keeping what it is told, with room for it, and quick."""

import asyncio
import re
import statistics
import time
from typing import Any
from urllib.parse import urlsplit

from stemdrop.doctor.asking import NoAnswer, look_up
from stemdrop.doctor.examination import Examination
from stemdrop.doctor.report import Notes
from stemdrop.errors import StoreRefused, StoreUnavailable
from stemdrop.storage.connection import translated
from stemdrop.storage.heartbeats import Heartbeats
from stemdrop.storage.job_store import JobStore

# What the engine's scripts need (pydocket).
OLDEST = (6, 2)
SLOW_MS = 50
NEARLY_FULL = 0.85
_FAILING = ("aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status")


async def examine_redis(exam: Examination, notes: Notes) -> None:
    """All of it; also finds who is present."""
    try:
        where = await _find(exam)
        latency_ms = await _latency_ms(exam)
    except NoAnswer as error:
        notes.wrong("reachable", str(error), error.advice)
        return
    except StoreRefused as error:
        notes.wrong("reachable", str(error), "correct user, password and database number in REDIS_URL")
        return
    except (StoreUnavailable, TimeoutError):
        found = f"nobody answers at {_place(exam.settings.redis_url)}"
        notes.wrong("reachable", found, "start Redis, or correct REDIS_URL (`redis` in docker compose)")
        return
    notes.ok("reachable", where)
    _note_latency(notes, latency_ms)
    info = await _info(exam, notes)
    await _writing(exam, notes, info)
    if info:
        _version(notes, info)
        _persistence(notes, info)
        _eviction(notes, info)
    async with translated():
        seconds, micros = await exam.redis.time()
    exam.offsets["Redis"] = seconds + micros / 1e6 - time.time()
    exam.heartbeats = await Heartbeats(exam.redis).all()


def _place(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or 6379}" if parts.hostname else parts.path


async def _find(exam: Examination) -> str:
    parts = urlsplit(exam.settings.redis_url)
    if parts.hostname:
        await look_up(parts.hostname, parts.port or 6379, exam.patience.lookup_s)
    return _place(exam.settings.redis_url)


async def _latency_ms(exam: Examination) -> float:
    taken = []
    async with asyncio.timeout(exam.patience.redis_s / 2), translated():
        for _ in range(4):
            began = time.perf_counter()
            await exam.redis.ping()
            taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken[1:])  # the first makes the connection


def _note_latency(notes: Notes, latency_ms: float) -> None:
    found = f"{latency_ms:.1f} ms a command"
    if latency_ms > SLOW_MS:
        advice = "let Redis run near the bot: every step of a song asks it several times"
        notes.warning("latency", found, advice)
    else:
        notes.ok("latency", found)


async def _info(exam: Examination, notes: Notes) -> dict[str, Any]:
    try:
        async with translated():
            return dict(await exam.redis.info())
    except StoreRefused as error:
        why = f"this user may not ask for INFO ({error})"
        notes.unchecked("version, memory, persistence", why, "allow INFO, or look at them by hand")
        return {}


async def _writing(exam: Examination, notes: Notes, info: dict[str, Any]) -> None:
    """Whether it takes writes; what it says when it does not has its cause in one of its other affairs."""
    refusal = ""
    try:
        await JobStore(exam.redis).ping()
        notes.ok("writing", "it takes writes")
    except StoreRefused as error:
        refusal = str(error)
        if "READONLY" in refusal or "read only" in refusal:
            notes.wrong(
                "writing", "this is a replica, which takes no writes", "let REDIS_URL name the primary"
            )
        elif "OOM" not in refusal.upper() and "used memory" not in refusal and "MISCONF" not in refusal:
            notes.wrong("writing", refusal, "allow this user all commands on stemdrop's keys")
    if info:
        _memory(notes, info, is_full="used memory" in refusal or "OOM" in refusal)
        _disk(notes, info, is_failing="MISCONF" in refusal)


def _memory(notes: Notes, info: dict[str, Any], *, is_full: bool) -> None:
    used, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    found = f"{_mb(used)} used, " + (f"limit {_mb(most)}" if most else "no limit")
    advice = "give Redis more memory (maxmemory)"
    if is_full:
        notes.wrong("memory", f"full: {found}; nothing more is stored", advice)
    elif most and used > NEARLY_FULL * most:
        notes.warning("memory", f"nearly full: {found}", advice)
    else:
        notes.ok("memory", found)


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / 1024 / 1024:.1f} MB"


def _disk(notes: Notes, info: dict[str, Any], *, is_failing: bool) -> None:
    failed = [name for name in _FAILING if str(info.get(name, "ok")) != "ok"]
    if failed or is_failing:
        found = "its last write to disk failed" + (f" ({', '.join(failed)})" if failed else "")
        notes.wrong(
            "disk", found, "make room on Redis' disk, and see that it may write there; its log says more"
        )
    else:
        notes.ok("disk", "its last writes to disk succeeded")


def _version(notes: Notes, info: dict[str, Any]) -> None:
    version = str(info.get("redis_version", ""))
    name = "Valkey" if info.get("server_name") == "valkey" else "Redis"
    own = str(info.get("valkey_version", version)) if name == "Valkey" else version
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if not numbers:
        notes.unchecked("version", "it does not say its version")
    elif numbers < OLDEST:
        notes.wrong("version", f"{name} {own}", "update Redis: 6.2 is the oldest that works")
    else:
        notes.ok("version", f"{name} {own}")


def _persistence(notes: Notes, info: dict[str, Any]) -> None:
    if int(info.get("aof_enabled", 0)):
        notes.ok("persistence", "append-only file")
        return
    advice = "switch it on: `appendonly yes` (redis.conf), or `CONFIG SET appendonly yes`"
    notes.wrong("persistence", "no append-only file: when Redis restarts, paid jobs are lost", advice)


def _eviction(notes: Notes, info: dict[str, Any]) -> None:
    policy = str(info.get("maxmemory_policy", ""))
    advice = "set it: `maxmemory-policy noeviction` (redis.conf)"
    if policy in ("noeviction", ""):
        notes.ok("eviction policy", policy or "it does not say")
    elif int(info.get("maxmemory", 0)):
        notes.wrong("eviction policy", f"{policy}: jobs vanish when memory is full", advice)
    else:
        found = f"{policy}: jobs would vanish if Redis were given a memory limit"
        notes.warning("eviction policy", found, advice)
