"""Processes report their health; a process that stops reporting is gone."""

import asyncio
import faulthandler
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from product import until
from redis.asyncio import Redis

from stemdrop.observability import container_health
from stemdrop.storage.heartbeats import FORGOTTEN_S, Heartbeat, Heartbeats, send_heartbeats


@pytest.fixture
def noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "health"
    monkeypatch.setenv(container_health.VARIABLE, str(path))
    yield path
    faulthandler.cancel_dump_traceback_later()


async def test_a_process_is_listed_while_it_runs(redis: Redis, noted: Path) -> None:
    heartbeats, stop, trouble = Heartbeats(redis), asyncio.Event(), ["it hears nothing"]
    running = asyncio.create_task(
        send_heartbeats(heartbeats, {"bot": lambda: trouble[0], "worker": str}, stop, every_s=0.02)
    )
    await until(noted.exists)
    there = await heartbeats.all()
    assert [(it.role, it.pid, it.trouble) for it in there] == [
        ("bot", os.getpid(), "it hears nothing"),
        ("worker", os.getpid(), ""),
    ]
    assert container_health.read(noted, time.time()) == "bot: it hears nothing"
    trouble[0] = ""
    await until(lambda: container_health.read(noted, time.time()) == "")
    stop.set()
    await running
    assert await heartbeats.all() == []


async def test_a_silent_process_is_gone_after_a_minute_of_redis_time(redis: Redis) -> None:
    heartbeats = Heartbeats(redis)
    for pid in (1, 2, 3):
        await heartbeats.note(Heartbeat("worker", "host", pid, "1.0", started_at=pid, seen_at=0))
    assert [it.pid for it in await heartbeats.all()] == [1, 2, 3]
    for pid, seconds_ago in ((1, 61), (2, 58), (3, FORGOTTEN_S + 1)):
        await said(redis, f"worker:host:{pid}", seconds_ago)
    assert [it.pid for it in await heartbeats.all()] == [2]
    assert await redis.hlen("stemdrop:processes") == 3  # who looks changes nothing
    await heartbeats.note(Heartbeat("worker", "host", 4, "1.0", started_at=4, seen_at=0))
    assert sorted(await redis.hkeys("stemdrop:processes")) == [f"worker:host:{pid}" for pid in (1, 2, 4)]


async def said(redis: Redis, name: str, seconds_ago: float) -> None:
    """The process has not reported since."""
    noted = json.loads(str(await redis.hget("stemdrop:processes", name)))
    seconds, microseconds = await redis.time()
    noted["seen_at"] = seconds + microseconds / 1e6 - seconds_ago
    await redis.hset("stemdrop:processes", name, json.dumps(noted))


def test_an_old_report_is_unhealthy(noted: Path) -> None:
    container_health.write([])
    at = json.loads(noted.read_text())["at"]
    assert container_health.read(noted, at) == ""
    assert container_health.read(noted, at + 44) == ""
    assert container_health.read(noted, at + 46) == "no health report for 46 s"
    assert container_health.read(noted, at - 46)  # a clock that was set back


@pytest.mark.parametrize("text", ["", "{", "[]", '{"at": "x", "troubles": []}', '{"at": 1}'])
def test_an_unreadable_report_is_unhealthy(noted: Path, text: str) -> None:
    noted.write_text(text)
    assert container_health.read(noted, time.time()) == "no health report yet"


def test_the_health_check_imports_little_and_prints_the_reason(noted: Path) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "stemdrop.observability.container_health"]
    first = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (first.returncode, first.stdout) == (1, "no health report yet\n")
    assert "pydantic" not in first.stderr
    assert "redis" not in first.stderr
    container_health.write([])
    healthy = subprocess.run(command[:1] + command[3:], capture_output=True, text=True, check=False)
    assert (healthy.returncode, healthy.stdout) == (0, "healthy\n")


def test_a_process_that_hangs_ends_with_a_traceback(noted: Path) -> None:
    program = """
import time
from stemdrop.observability import container_health
container_health.HANG_S = 0.2
container_health.write([])
time.sleep(60)
"""
    hung = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert hung.returncode == 1
    assert "<module>" in hung.stderr
