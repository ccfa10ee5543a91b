"""Checks Redis: reachable, fast, new enough, writable, persistent, and with enough memory."""

import asyncio
import re
import statistics
import time
from typing import Any
from urllib.parse import urlsplit

from stemdrop.doctor.context import CheckContext
from stemdrop.doctor.report import SubjectReport
from stemdrop.doctor.server_requests import ServerUnreachable, look_up
from stemdrop.errors import StoreRefused, StoreUnavailable
from stemdrop.storage.heartbeats import Heartbeats
from stemdrop.storage.job_store import JobStore

# The scripts of the task engine (pydocket) need this version.
OLDEST = (6, 2)
SLOW_MS = 50
NEARLY_FULL = 0.85
_DISK_STATUS = ("aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status")


async def check_redis(context: CheckContext, report: SubjectReport) -> None:
    """Check Redis, and read the heartbeats and Redis' clock into `context`."""
    address, host = context.settings.redis_address, urlsplit(context.settings.redis_url).hostname
    try:
        if host:
            await look_up(host, 0, context.timeouts.lookup_s)
        latency_ms = await _latency_ms(context)
    except ServerUnreachable as error:
        report.wrong("reachable", str(error), error.advice)
        return
    except StoreRefused as error:
        report.wrong("reachable", str(error), "correct user, password and database number in REDIS_URL")
        return
    except (StoreUnavailable, TimeoutError):
        advice = "start Redis, or correct REDIS_URL (`redis` in docker compose)"
        report.wrong("reachable", f"no answer from {address}", advice)
        return
    report.ok("reachable", address)
    advice = "run Redis close to the bot, which sends several commands per step"
    report.rate("latency", f"{latency_ms:.1f} ms per command", advice, warning=latency_ms > SLOW_MS)
    info = await _info(context, report)
    await _check_writing(context, report, info)
    if info:
        _check_version(report, info)
        _check_persistence(report, info)
        _check_eviction(report, info)
    seconds, micros = await context.redis.time()
    context.offsets["Redis"] = seconds + micros / 1e6 - time.time()
    context.heartbeats = await Heartbeats(context.redis).all()


async def _latency_ms(context: CheckContext) -> float:
    durations = []
    async with asyncio.timeout(context.timeouts.redis_s / 2):
        for _ in range(4):
            began = time.perf_counter()
            await context.redis.ping()
            durations.append((time.perf_counter() - began) * 1000)
    return statistics.median(durations[1:])  # the first one includes connecting


async def _info(context: CheckContext, report: SubjectReport) -> dict[str, Any]:
    try:
        return dict(await context.redis.info())
    except StoreRefused as error:
        why = f"this user may not run INFO ({error})"
        report.unchecked("version, memory, persistence", why, "allow INFO, or check them by hand")
        return {}


async def _check_writing(context: CheckContext, report: SubjectReport, info: dict[str, Any]) -> None:
    """Check that Redis accepts writes; a refusal for lack of memory or disk is reported by those checks."""
    refusal = ""
    try:
        await JobStore(context.redis).ping()
        report.ok("writing", "it accepts writes")
    except StoreRefused as error:
        refusal = str(error)
        if "READONLY" in refusal or "read only" in refusal:
            report.wrong(
                "writing", "this is a replica: it accepts no writes", "point REDIS_URL to the primary"
            )
        elif "OOM" not in refusal.upper() and "used memory" not in refusal and "MISCONF" not in refusal:
            report.wrong("writing", refusal, "allow this user all commands on stemdrop's keys")
    if info:
        _check_memory(report, info, is_full="used memory" in refusal or "OOM" in refusal)
        _check_disk(report, info, is_failing="MISCONF" in refusal)


def _check_memory(report: SubjectReport, info: dict[str, Any], *, is_full: bool) -> None:
    used, limit = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    found = f"{_mb(used)} used, " + (f"limit {_mb(limit)}" if limit else "no limit")
    is_nearly_full = limit and used > NEARLY_FULL * limit
    if is_full or is_nearly_full:
        found = f"{'full, nothing more is stored' if is_full else 'nearly full'}: {found}"
    report.rate("memory", found, "give Redis more memory (maxmemory)", wrong=is_full, warning=is_nearly_full)


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / 1024 / 1024:.1f} MB"


def _check_disk(report: SubjectReport, info: dict[str, Any], *, is_failing: bool) -> None:
    failed = [name for name in _DISK_STATUS if str(info.get(name, "ok")) != "ok"]
    if failed or is_failing:
        found = "its last write to disk failed" + (f" ({', '.join(failed)})" if failed else "")
        report.wrong("disk", found, "free space on Redis' disk and let Redis write there; its log says more")
    else:
        report.ok("disk", "its last writes to disk succeeded")


def _check_version(report: SubjectReport, info: dict[str, Any]) -> None:
    version = str(info.get("redis_version", ""))
    is_valkey = info.get("server_name") == "valkey"
    found = f"Valkey {info.get('valkey_version', version)}" if is_valkey else f"Redis {version}"
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if not numbers:
        report.unchecked("version", "it does not report its version")
    else:
        advice = "update Redis: 6.2 is the oldest version that works"
        report.rate("version", found, advice, wrong=numbers < OLDEST)


def _check_persistence(report: SubjectReport, info: dict[str, Any]) -> None:
    if int(info.get("aof_enabled", 0)):
        report.ok("persistence", "append-only file")
    else:
        found = "no append-only file: when Redis restarts, paid jobs are lost"
        report.wrong("persistence", found, "switch it on: `CONFIG SET appendonly yes`, and in redis.conf")


def _check_eviction(report: SubjectReport, info: dict[str, Any]) -> None:
    policy = str(info.get("maxmemory_policy", ""))
    advice = "set it: `maxmemory-policy noeviction` (redis.conf)"
    if policy in ("noeviction", ""):
        report.ok("eviction policy", policy or "not reported")
    elif int(info.get("maxmemory", 0)):
        report.wrong("eviction policy", f"{policy}: jobs are deleted when memory is full", advice)
    else:
        found = f"{policy}: jobs would be deleted if Redis had a memory limit"
        report.warning("eviction policy", found, advice)
