"""`stemdrop status`: as text, as JSON and as a live view on a terminal."""

import asyncio
import codecs
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from builders import make_job
from product import Clock
from rich.cells import cell_len

from sandbox.environment.redis_server import RedisServer
from stemdrop.cli import run
from stemdrop.domain.abilities import ALL, Abilities, Ability
from stemdrop.domain.jobs import Failure, JobState, Mode
from stemdrop.domain.queues import Queue
from stemdrop.observability.metric_definitions import (
    CALLBACKS,
    CREATE_CALLS,
    CREDITS_LEFT,
    CREDITS_SEEN,
    FLOOD_SECONDS,
    FLOOD_WAITS,
)
from stemdrop.operator.status_tables import status_lines
from stemdrop.operator.system_status import SystemStatus
from stemdrop.storage.abilities import AbilitiesCache
from stemdrop.storage.circuits import Circuits
from stemdrop.storage.connection import connect
from stemdrop.storage.counters import Counters
from stemdrop.storage.dead_letters import DeadLetters
from stemdrop.storage.flood_limiter import FloodLimiter
from stemdrop.storage.heartbeats import Heartbeat, Heartbeats
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.keys import TASK_RECORD
from stemdrop.storage.snapshot import Snapshots

Capture = pytest.CaptureFixture[str]
SECRETS = ("1:bot-token-xyz", "api-key-xyz", "secret-key-xyz-xyz")


@pytest.fixture
def environ(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.chdir(tmp_path)
    return environment(redis_url)


def environment(redis_url: str) -> dict[str, str]:
    names = ("TELEGRAM_BOT_TOKEN", "SEPARATION_API_KEY", "SECRET_KEY")
    return {
        **dict(zip(names, SECRETS, strict=True)),
        "REDIS_URL": redis_url,
        "PUBLIC_URL": "https://a.example",
    }


async def fill(redis_url: str) -> None:
    """Store everything that the status shows."""
    async with connect(redis_url) as redis:
        store, now, counters = JobStore(redis), time.time(), Counters(redis)
        for number in range(6):
            job = make_job(mode=Mode.SPLIT_STEM)
            await store.add(job, once=f"{number}")
            await store.move(job.id, [JobState.CHOOSING], JobState.SUBMITTING, moved_at=now)
            if number < 3:
                await store.fail(job.id, [JobState.SUBMITTING], Failure("500" if number else "timeout"))
                await store.close(job.id)
        heartbeats = Heartbeats(redis)
        await heartbeats.note(Heartbeat("bot", "host-a", 12, "0.1.0", now - 7200, now - 3))
        trouble = "another program polls with this bot's token"
        await heartbeats.note(Heartbeat("worker", "主机-二\x1b[31m", 13, "0.1.0", now - 60, now - 1, trouble))
        counters.add(CALLBACKS, "stored", by=4)
        counters.add(CALLBACKS, "forged", by=2)
        counters.add(FLOOD_WAITS, "waited", by=3)
        counters.add(FLOOD_SECONDS, "waited", by=12.4)
        counters.set_gauge(CREDITS_LEFT, 12_940.75)
        for age_s, server, is_reached in ((130, "api", True), (3, "api", False), (20, "telegram", True)):
            earlier = Counters(redis, partial(float, now - age_s))
            earlier.note_try(server, is_reached=is_reached)
            await earlier.write()
        await redis.zadd(f"{Queue.SUBMISSIONS}:queue", {"submit:1": 1})
        await redis.zadd(f"{Queue.PACKS}:queue", {"pack:1": 1, "pack:2": 1, "pack:3": 1})
        for key, why in (
            ("1", "Telegram's flood limit"),
            ("2", "Telegram's flood limit"),
            ("4", "no longer"),
        ):
            await redis.hset(TASK_RECORD.format(Queue.PACKS, f"pack:{key}"), "why", why)
        counters.set_gauge(CREDITS_SEEN, now - 240)
        await counters.write()
        await DeadLetters(redis).add("update:1", "a tap", "died")
        await FloodLimiter(redis).pause(50)


async def test_json_has_all_figures(environ: dict[str, str], redis_url: str, capsys: Capture) -> None:
    await fill(redis_url)
    assert await asyncio.to_thread(run, ["status", "--json"], environ) == 0
    out = capsys.readouterr().out
    facts = json.loads(out)
    assert [(it["role"], it["pid"]) for it in facts["processes"]] == [("bot", 12), ("worker", 13)]
    assert facts["missing"] == ["webhook"]
    assert [(it["state"], it["mode"], it["count"]) for it in facts["jobs"]] == [
        ("submitting", "split_stem", 3)
    ]
    assert [it["queue"] for it in facts["queues"]] == [
        "submissions",
        "deliveries",
        "packs",
        "renders",
        "updates",
    ]
    hour = facts["last_hour"]
    assert hour["ended"] == {"delivered": 0, "incomplete": 0, "failed": 3, "cancelled": 0}
    assert hour["failed"] == {"500": 2, "timeout": 1}
    assert hour["callbacks"] == {"stored": 4, "forged": 2}
    assert (hour["flood_waits"], hour["flood_wait_s"]) == ({"waited": 3}, {"waited": 12})
    assert facts["credits"]["left"] == 12_940
    servers = {name: (it["reached"], it["reached_s"] > 100) for name, it in facts["servers"].items()}
    assert servers == {"telegram": (True, False), "api": (False, True)}
    put_off = {it["queue"]: (it["put_off"], it["waits_for"]) for it in facts["queues"] if it["put_off"]}
    assert put_off == {"submissions": (1, {}), "packs": (3, {"Telegram's flood limit": 2})}
    assert facts["given_up"] == {"update": 1}
    assert 0 < facts["flood_pause_s"] <= 50
    assert [secret for secret in (*SECRETS, redis_url) if secret in out] == []


FIELDS = [
    *("at", "processes", "missing", "jobs", "queues", "last_hour", "flood_pause_s", "engine"),
    *("credits", "servers", "given_up", "redis", "providers"),
]


async def test_the_json_fields_stay_the_same(
    environ: dict[str, str], redis_url: str, capsys: Capture
) -> None:
    """Scripts of operators read them."""
    await fill(redis_url)
    assert await asyncio.to_thread(run, ["status", "--json"], environ) == 0
    facts = json.loads(capsys.readouterr().out)
    assert list(facts) == FIELDS
    assert list(facts["processes"][0]) == ["role", "host", "pid", "version", "up_s", "seen_s", "trouble"]
    assert list(facts["jobs"][0]) == ["state", "mode", "count", "oldest_s"]
    assert list(facts["queues"][0]) == ["queue", "waiting", "running", "put_off", "oldest_s", "waits_for"]
    hour = ["ended", "failed", "callbacks", "api_refusals", "flood_waits", "flood_wait_s"]
    assert list(facts["last_hour"]) == hour
    assert list(facts["servers"]) == ["telegram", "api"]
    assert list(facts["servers"]["api"]) == ["reached", "tried_s", "reached_s"]
    assert list(facts["credits"]) == ["left", "seen_s", "seen_at"]
    assert list(facts["redis"]) == ["memory_bytes", "memory_limit_bytes"]


async def test_the_text_has_all_figures(environ: dict[str, str], redis_url: str, capsys: Capture) -> None:
    await fill(redis_url)
    assert await asyncio.to_thread(run, ["status"], environ) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    for line in (
        r"bot +host-a +12 +0\.1\.0 +2h00m +\d+s ago +well",
        r"worker +主机-二.* +13 .* ! another program polls with this bot's token",
        r"! no webhook is running",
        r"submitting +split_stem +3 +\d+s",
        r"updates +0 +0 +0",
        r"Last hour  0 delivered, 0 incomplete, 3 failed, 0 cancelled",
        r"           failed with 500 ×2, timeout ×1",
        r"Callbacks  4 accepted; refused: forged ×2",
        r"packs: put off because of: Telegram's flood limit ×2",
        r"API        ! not reached \d+s ago, last reached 2m ago",
        r"Telegram   reached \d+s ago; accepts no messages for \d+s more; 3 waits for its limits, 12s in all",
        r"Credits    12,940 left, 4m ago",
        r"Given up   update ×1 \(stemdrop jobs\)",
        r"Redis      \d+\.\d MB",
    ):
        assert re.search(f"^{line}", out, re.M), line


async def test_each_of_several_providers_has_a_line(
    environ: dict[str, str], redis_url: str, capsys: Capture
) -> None:
    environ |= {"PROVIDERS": "sunoapi,selfhosted"}
    async with connect(redis_url) as redis:
        counters = Counters(redis)
        for label, credits in (("", 1200), ("selfhosted", 5)):
            counters.set_gauge(CREDITS_LEFT, credits, label)
            counters.set_gauge(CREDITS_SEEN, time.time(), label)
        counters.note_try("selfhosted", is_reached=True)
        for outcome, count in (("asked", 9), ("succeeded", 3), ("refunded", 1)):
            counters.add(CREATE_CALLS, "selfhosted", outcome, by=count)
        await counters.write()
        await Circuits(redis).failed("sunoapi", "it refuses the key", at_once=True)
    assert await asyncio.to_thread(run, ["status"], environ) == 0
    out = capsys.readouterr().out
    for line in (
        r"sunoapi +not tried yet +1,200 credits, \d+s ago +0 of 0 .+! none for \d+s: it refuses the key",
        r"selfhosted +reached \d+s ago +5 credits, \d+s ago +3 of 4 succeeded +well",
    ):
        assert re.search(f"^{line}", out, re.M), line
    assert re.search("^(API|Credits) ", out, re.M) is None
    assert await asyncio.to_thread(run, ["status", "--json"], environ) == 0
    first, second = json.loads(capsys.readouterr().out)["providers"]
    assert (first["name"], first["why"], first["not_asked_s"] > 0) == ("sunoapi", "it refuses the key", True)
    assert (second["name"], second["credits"]["left"], second["last_try"]["reached"]) == (
        "selfhosted",
        5,
        True,
    )


async def test_an_empty_system_has_a_status(environ: dict[str, str], capsys: Capture) -> None:
    environ["PUBLIC_URL"] = ""
    assert await asyncio.to_thread(run, ["status", "--once"], environ) == 0
    out = capsys.readouterr().out
    assert "! no bot is running\n! no worker is running\n\nNo job is open.\n" in out
    assert "webhook" not in out
    assert "Credits    not known yet" in out
    assert "API        not tried yet\nTelegram   not tried yet; 0 waits" in out


async def test_the_own_separators_engine_is_named_and_no_credits(
    environ: dict[str, str], redis_url: str, capsys: Capture
) -> None:
    await fill(redis_url)
    environ["SEPARATION_API_URL"] = "http://separator:8000"
    abilities = Abilities({Mode.SPLIT_STEM: Ability()}, engine="light", better_engine="spleeter")
    async with connect(redis_url) as redis:
        await AbilitiesCache(redis, ["selfhosted"], {"selfhosted": "separator:8000"}).put(abilities)
    assert await asyncio.to_thread(run, ["status", "--once"], environ) == 0
    out = capsys.readouterr().out
    assert "Separation own separator, engine light; better stems: stemdrop fetch-model spleeter\n" in out
    assert "Credits" not in out


async def test_counters_older_than_an_hour_are_not_counted(redis_url: str) -> None:
    clock = Clock()
    async with connect(redis_url) as redis:
        counters = Counters(redis, clock)
        counters.add(CALLBACKS, "stored")
        await counters.write()
        clock.advance(3300)
        assert await counters.lately() == {"callbacks|stored": 1}
        clock.advance(900)
        assert await counters.lately() == {}
        assert await counters.all() == {"callbacks|stored": 1}


@pytest.mark.parametrize("width", [20, 40, 60, 80])
async def test_no_line_is_wider_than_the_terminal(redis_url: str, width: int) -> None:
    await fill(redis_url)
    async with connect(redis_url) as redis:
        snapshots = Snapshots(redis)
        snapshot, lately = await snapshots.take(), await snapshots.lately()
    lines = status_lines(SystemStatus(snapshot, lately, expects_callbacks=True, abilities=ALL), width)
    assert [line for line in lines if cell_len(line) > width] == []
    assert any("well" in line for line in lines) == (width >= 60)


@pytest.mark.parametrize("words", [["status"], ["status", "--json"]])
def test_an_unreachable_redis_is_one_line(environ: dict[str, str], capsys: Capture, words: list[str]) -> None:
    environ["REDIS_URL"] = "redis://:a-password@127.0.0.1:9/0"
    assert run(words, environ) == 1
    out, err = capsys.readouterr()
    assert (out, err) == ("", "stemdrop: REDIS_URL: 127.0.0.1:9: Redis does not answer\n")


def test_a_wrong_setting_is_named(environ: dict[str, str], capsys: Capture) -> None:
    environ["PUBLIC_URL"] = "not a URL"
    assert run(["status"], environ) == 2
    assert capsys.readouterr().err.startswith("stemdrop: PUBLIC_URL")


@dataclass
class Terminal:
    """The output of a process on a terminal."""

    process: subprocess.Popen[bytes]
    master: int
    text: str = ""
    decoder: codecs.IncrementalDecoder = field(default_factory=codecs.getincrementaldecoder("utf-8"))

    async def shows(self, what: str) -> str:
        """Wait until the last frame matches; returns that frame."""
        async with asyncio.timeout(120):
            while not re.search(what, self.screen):
                self.text += self.decoder.decode(await asyncio.to_thread(os.read, self.master, 65536))
        return self.screen

    @property
    def screen(self) -> str:
        """The text since rich last erased its lines."""
        return re.split(r"\r\x1b\[2K(?:\x1b\[1A\x1b\[2K)*", self.text)[-1]


@contextmanager
def terminal(words: list[str], environ: dict[str, str], columns: int, rows: int) -> Iterator[Terminal]:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "stemdrop", *words], env=environ, stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        process.kill()
        process.wait()
        os.close(master)


@pytest.mark.usefixtures("heeded")
async def test_the_live_view_refreshes_until_it_is_interrupted(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis") as redis:
        await fill(redis.url)
        environ = {**environment(redis.url), "PYTHONPATH": str(Path(__file__).parents[3]), "PYTHONUTF8": "1"}
        with terminal(["status"], environ, columns=60, rows=18) as seen:
            screen = await seen.shows("(?s)submitting.*lines more")
            lines = [re.sub(r"\x1b\[\?25l", "", line).rstrip() for line in screen.split("\n")]
            assert len(lines) <= 18
            assert [line for line in lines if cell_len(line) > 60 or "\x1b" in line] == []
            assert re.search("… and [0-9]+ lines more", screen)
            await asyncio.to_thread(redis.kill)
            await seen.shows("(?s)Redis does not answer; last.*submitting")
            await asyncio.to_thread(redis.start)
            async with connect(redis.url) as client:
                for job in await JobStore(client).open_jobs():
                    await JobStore(client).move(job.id, [JobState.SUBMITTING], JobState.SEPARATING)
            await seen.shows("(?s)(?=.*separating).*until Ctrl-C")
            seen.process.send_signal(signal.SIGINT)
            assert await asyncio.to_thread(seen.process.wait, 200) == 0
