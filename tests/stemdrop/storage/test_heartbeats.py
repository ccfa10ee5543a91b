"""Processes say that they are there and how they are; who says nothing more is gone."""

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


async def test_a_process_is_there_while_it_runs(redis: Redis, noted: Path) -> None:
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


async def test_who_says_nothing_for_a_minute_is_gone_whatever_the_clocks_of_others_say(redis: Redis) -> None:
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
    """That process has said nothing since."""
    noted = json.loads(await redis.hget("stemdrop:processes", name))
    seconds, microseconds = await redis.time()
    noted["seen_at"] = seconds + microseconds / 1e6 - seconds_ago
    await redis.hset("stemdrop:processes", name, json.dumps(noted))


def test_what_a_process_noted_long_ago_is_no_health(noted: Path) -> None:
    container_health.write([])
    at = json.loads(noted.read_text())["at"]
    assert container_health.read(noted, at) == ""
    assert container_health.read(noted, at + 44) == ""
    assert container_health.read(noted, at + 46) == "it has not said for 46 s how it is"
    assert container_health.read(noted, at - 46)  # a clock that was set back


@pytest.mark.parametrize("text", ["", "{", "[]", '{"at": "x", "troubles": []}', '{"at": 1}'])
def test_what_cannot_be_read_is_no_health(noted: Path, text: str) -> None:
    noted.write_text(text)
    assert container_health.read(noted, time.time()) == "it has not yet said how it is"


def test_the_check_of_a_container_is_quick_and_says_why(noted: Path) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "stemdrop.observability.container_health"]
    before = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (before.returncode, before.stdout) == (1, "it has not yet said how it is\n")
    assert "pydantic" not in before.stderr
    assert "redis" not in before.stderr
    container_health.write(["bot: it hears nothing"])
    ill = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ill.returncode, ill.stdout) == (1, "bot: it hears nothing\n")
    container_health.write([])
    well = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (well.returncode, well.stdout) == (0, "well\n")


def test_a_process_that_hangs_ends_itself_and_says_where(noted: Path) -> None:
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
