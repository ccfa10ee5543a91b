"""The commands: exit codes, one line for a wrong setting, a clean stop on a signal.

Errors in the settings are tested in this process, the rest in forked ones.
`tests/journeys/test_sandbox_command.py` starts `up` as a new program.
"""

import asyncio
import os
import platform
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from importlib.metadata import version
from pathlib import Path

import pytest
from process_pool import ForkedProcess
from provider import KEY
from redis import Redis
from starlette.applications import Starlette

from sandbox.environment.local_environment import LocalEnvironment
from sandbox.environment.ports import free_port
from sandbox.environment.server import serve
from sandbox.telegram.faults import FaultKind
from stemdrop.cli import _COMMANDS, _ROLES, run
from stemdrop.storage.keys import PRESENT

Capture = pytest.CaptureFixture[str]
VALID = {
    "TELEGRAM_BOT_TOKEN": "7000000001:AAabc-_123",
    "SEPARATION_API_KEY": "api-key-1",
    "SECRET_KEY": "secret-key-1",
}


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, without a `.env`."""
    directory = tmp_path / "empty"
    directory.mkdir()
    monkeypatch.chdir(directory)
    return directory


async def ended(command: str, environment: Mapping[str, str]) -> tuple[int, str]:
    """Run a command in a process of its own; returns its exit code and output."""
    process = ForkedProcess([command], environment, Path(os.getcwd(), "log"))
    process.start()
    return await process.wait(200), process.output()


@pytest.mark.parametrize("command", ["up", "bot", "webhook", "worker"])
@pytest.mark.parametrize("name", VALID)
def test_a_missing_setting_is_one_line(command: str, name: str, capsys: Capture) -> None:
    environment = {key: value for key, value in VALID.items() if key != name}
    assert run([command], environment) == 2
    line = f"stemdrop: {name} is missing: set it in the environment or in .env\n"
    assert capsys.readouterr() == ("", line)


def test_a_wrong_setting_in_the_file_is_one_line(directory: Path, capsys: Capture) -> None:
    (directory / ".env").write_text("REDIS_URL=redis://localhost:port/0\n")
    assert run(["up"], VALID) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "REDIS_URL is wrong" in err


def test_all_wrong_settings_are_lines(capsys: Capture) -> None:
    for command in ("up", "status"):
        assert run([command], {**VALID, "LISTEN_PORT": "x", "ACCESS": "all"}) == 2
        out, err = capsys.readouterr()
        assert (out, [line.split()[1] for line in err.splitlines()]) == ("", ["LISTEN_PORT", "ACCESS"])


def printed(argv: list[str], capsys: Capture) -> str:
    with pytest.raises(SystemExit) as ended:
        run(argv, {})
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_the_version_is_that_of_the_package(capsys: Capture) -> None:
    assert printed(["--version"], capsys) == f"stemdrop {version('stemdrop')}\n"


def test_help_is_a_command(capsys: Capture) -> None:
    overview = printed(["help"], capsys)
    assert overview == printed(["--help"], capsys)
    assert all(f"\n    {name}" in overview for name in (*_ROLES, *_COMMANDS))
    assert printed(["help", "jobs"], capsys) == printed(["jobs", "--help"], capsys)


@pytest.mark.parametrize("command", [*_ROLES, *_COMMANDS])
def test_each_command_says_what_it_does(command: str, capsys: Capture) -> None:
    _, text, more = {**_ROLES, **_COMMANDS}[command]
    assert f"{text[0].upper()}{text[1:]}. {more}" in " ".join(printed([command, "--help"], capsys).split())


@pytest.mark.parametrize(
    "command", [["jobs"], ["jobs", "show", "ab"], ["jobs", "retry", "ab"], ["status", "--once"]]
)
def test_a_command_says_that_redis_is_away(command: list[str], capsys: Capture) -> None:
    port = free_port()
    assert run(command, {**VALID, "REDIS_URL": f"redis://127.0.0.1:{port}"}) == 1
    line = f"stemdrop: REDIS_URL: 127.0.0.1:{port}: Redis does not answer\n"
    assert capsys.readouterr() == ("", line)


async def test_a_process_that_is_stopped_while_redis_is_away_was_never_ready(tmp_path: Path) -> None:
    environment = {**VALID, "REDIS_URL": f"redis://127.0.0.1:{free_port()}"}
    process = ForkedProcess(["webhook"], {**environment, "LISTEN_PORT": str(free_port())}, tmp_path / "log")
    process.start()
    async with asyncio.timeout(120):
        while "waiting for Redis" not in process.output():  # noqa: ASYNC110 - a file
            await asyncio.sleep(0.05)
    process._process.send_signal(signal.SIGTERM)  # type: ignore[union-attr]
    assert await process.wait(200) == 0
    assert "ready" not in process.output()


async def test_in_a_container_a_process_with_wrong_settings_waits_until_it_is_stopped(tmp_path: Path) -> None:
    process = ForkedProcess(["worker"], {"STEMDROP_SHORTEST_RUN_S": "3600"}, tmp_path / "log")
    process.start()
    async with asyncio.timeout(120):
        while "this process ends in 3" not in process.output():  # noqa: ASYNC110 - a file
            await asyncio.sleep(0.05)
    process._process.send_signal(signal.SIGTERM)  # type: ignore[union-attr]
    assert await process.wait(200) == 2
    assert "docker compose run --rm worker doctor" in process.output()


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "all_proxy"])
def test_a_malformed_proxy_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    environ = {"SEPARATION_API_KEY": "key", name: "socks9://me:word-of-proxy@x"}
    assert run(["separator", "--data", str(tmp_path)], environ) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"stemdrop separator: {name.upper()} is wrong: must be http://host:port, ")
    assert "word-of-proxy" not in error


@pytest.mark.parametrize("words", [[], ["down"]])
def test_an_unknown_command_prints_the_usage(words: list[str], capsys: Capture) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(words, VALID)
    assert "usage: stemdrop" in capsys.readouterr().err


# Threads that hold memory at the same time; then glibc writes its arenas as XML (malloc_info(3)).
ARENAS = """
import ctypes, sys, threading
from stemdrop import cli
sys.argv[1:] and cli._set_malloc_options()
together = threading.Barrier(5)
def hold():
    held = bytearray(50_000)
    together.wait()
    together.wait()
for _ in range(4):
    threading.Thread(target=hold).start()
together.wait()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
libc.malloc_info(0, ctypes.c_void_p(libc.fopen(b"/dev/stdout", b"w")))
libc.fflush(None)
together.wait()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has arenas")
@pytest.mark.parametrize(("words", "count"), [([], 5), (["shared"], 1)])
def test_threads_share_an_arena(words: list[str], count: int) -> None:
    command = [sys.executable, "-c", ARENAS, *words]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, env={}).stdout
    assert printed.count("<heap nr=") == count


# How many pages the system hands out while pieces of 8 MB in all are taken and freed, twenty times.
FAULTS = """
import resource, sys
from stemdrop import cli
sys.argv[1:] and cli._set_malloc_options()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    pieces = [bytes([number]) * 1_000_000 for number in range(8)]
    del pieces
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these options")
def test_memory_that_is_taken_again_and_again_is_kept() -> None:
    printed = [
        subprocess.run(
            [sys.executable, "-c", FAULTS, *words], check=True, capture_output=True, text=True, env={}
        ).stdout
        for words in ([], ["kept"])
    ]
    without, kept = map(int, printed)
    assert kept < without / 4


WITHOUT_CTYPES = """
import sys
sys.modules["_ctypes"] = None
from stemdrop import cli
cli._set_malloc_options()
"""


def test_a_python_without_ctypes_will_do() -> None:
    """One that was compiled where libffi was missing."""
    subprocess.run([sys.executable, "-c", WITHOUT_CTYPES], check=True, env={})


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[LocalEnvironment]:
    """Redis and a local Telegram; the separation API is unreachable, and so is the proxy for the outside."""
    settings = {"SEPARATION_API_URL": "http://127.0.0.1:9", "SEPARATION_API_KEY": KEY}
    settings |= {"ALL_PROXY": "http://me:word-of-proxy@127.0.0.1:9", "NO_PROXY": "[::1"}
    async with LocalEnvironment(
        tmp_path / "local", settings=settings, separator=False, process=ForkedProcess
    ) as environment:
        yield environment


@pytest.mark.parametrize("command", ["up", "worker"])
async def test_a_refused_token_ends_the_command(local: LocalEnvironment, command: str) -> None:
    environment = {
        **local.variables(),
        "TELEGRAM_BOT_TOKEN": "7000000001:not-this-one",
        "LOG_LEVEL": "ERROR",
    }
    code, output = await ended(command, environment)
    assert (code, output) == (2, "stemdrop: TELEGRAM_BOT_TOKEN is wrong: Telegram refuses it\n")


async def test_a_token_that_is_revoked_later_ends_the_bot(
    local: LocalEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = local.telegram.add_user("Alice")
    process = await local.start("bot")
    monkeypatch.setattr(local.telegram, "token", "7000000001:a-new-one")
    local.telegram.send_text(alice.id, "/start")  # ends the call that waits for updates
    assert await process.wait(200) == 2
    assert process.output().endswith("stemdrop: TELEGRAM_BOT_TOKEN is wrong: Telegram refuses it\n")
    assert "Traceback" not in process.output()


async def test_a_wrong_redis_password_ends_the_command(local: LocalEnvironment) -> None:
    """It is no reason to wait for Redis."""
    url = local.variables()["REDIS_URL"]
    password = url.partition("@")[0].rpartition(":")[2]
    environment = {**local.variables(), "REDIS_URL": url.replace(password, "not-this-one")}
    code, output = await ended("up", {**environment, "LOG_LEVEL": "WARNING"})
    assert (code, output.count("\n")) == (2, 1)
    assert output.startswith("stemdrop: REDIS_URL: 127.0.0.1:")
    assert "Redis refused" in output
    assert "not-this-one" not in output


async def test_the_bot_answers_while_its_commands_cannot_be_registered(local: LocalEnvironment) -> None:
    telegram = local.telegram
    alice = telegram.add_user("Alice")
    refused = telegram.faults.add(FaultKind.SERVER_ERROR, method="setMyCommands", times=None)
    process = await local.start("bot")
    telegram.send_text(alice.id, "/start")
    await telegram.wait_for(lambda: telegram.bot_messages(alice.id) and refused.hits)
    assert await process.stop() == 0
    assert "Traceback" not in process.output()


async def test_an_occupied_port_ends_the_webhook(local: LocalEnvironment) -> None:
    async with serve(Starlette()) as url:
        port = url.rpartition(":")[2]
        environment = {**local.variables(), "LISTEN_PORT": port, "LOG_LEVEL": "ERROR"}
        code, output = await ended("webhook", environment)
    assert (code, output.count("\n")) == (2, 1)
    assert "LISTEN_PORT" in output


async def test_an_unexpected_exception_is_logged_once_with_its_traceback(local: LocalEnvironment) -> None:
    """Redis holds a heartbeat that no version of stemdrop wrote."""
    with Redis.from_url(local.variables()["REDIS_URL"]) as redis:
        redis.hset(PRESENT, "name", "no JSON")
    code, output = await ended("worker", {**local.variables(), "LOG_LEVEL": "ERROR"})
    assert code == 1
    assert output.count("Traceback (most recent call last)") == 1
    assert output.count("CRITICAL stemdrop.cli: stopped by an unexpected error") == 1
    assert "JSONDecodeError" in output


async def test_sigterm_stops_up_cleanly(local: LocalEnvironment) -> None:
    process = await local.start("up")
    process._process.send_signal(signal.SIGTERM)  # type: ignore[union-attr]
    assert await process.wait(200) == 0
    assert "Traceback" not in process.output()
    assert process.output().endswith("stopped\n")


@pytest.mark.parametrize("command", ["bot", "webhook", "worker"])
async def test_each_process_starts_and_stops_alone(local: LocalEnvironment, command: str) -> None:
    process = await local.start(command)
    assert await process.stop() == 0
    output = process.output()
    assert "Traceback" not in output
    for secret in (local.telegram.token, KEY, local.variables()["SECRET_KEY"], "word-of-proxy"):
        assert secret not in output
