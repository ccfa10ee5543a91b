"""The commands as an operator starts them: real processes, exit codes, one line where a setting is wrong.

Those that end at once, and `up`, are started from nothing; the others come from the process pool.
"""

import signal
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from process_pool import ForkedProcess
from provider import KEY
from starlette.applications import Starlette

from sandbox.environment.local_environment import LocalEnvironment
from sandbox.environment.process import Process
from sandbox.environment.server import serve
from sandbox.telegram.faults import FaultKind

VALID = {
    "TELEGRAM_BOT_TOKEN": "7000000001:AAabc-_123",
    "SEPARATION_API_KEY": "api-key-1",
    "SECRET_KEY": "secret-key-1",
}


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory that commands are started in, so that no `.env` is there."""
    directory = tmp_path / "bare"
    directory.mkdir()
    monkeypatch.chdir(directory)
    return directory


async def ended(
    directory: Path, command: str, environment: Mapping[str, str], kind: type[Process] = ForkedProcess
) -> tuple[int, str]:
    """Exit code and output of a command."""
    process = kind([command], environment, directory / "log", cwd=directory)
    process.start()
    return await process.wait(60), process.output()


@pytest.mark.parametrize("name", VALID)
async def test_a_missing_setting_ends_the_command_in_one_line(bare: Path, name: str) -> None:
    environment = {key: value for key, value in VALID.items() if key != name}
    code, output = await ended(bare, "up", environment, Process)
    assert code == 2
    assert output == f"stemdrop: {name} is missing: set it in the environment or in .env\n"


@pytest.mark.parametrize("command", ["bot", "webhook", "worker"])
async def test_every_command_says_so(bare: Path, command: str) -> None:
    code, output = await ended(bare, command, {})
    assert (code, output.count("\n")) == (2, 1)
    assert "TELEGRAM_BOT_TOKEN is missing" in output


async def test_a_wrong_setting_in_the_file(bare: Path) -> None:
    (bare / ".env").write_text("REDIS_URL=redis://localhost:port/0\n")
    code, output = await ended(bare, "up", VALID)
    assert (code, output.count("\n")) == (2, 1)
    assert "REDIS_URL is wrong" in output


@pytest.mark.parametrize("command", ["", "down"])
async def test_an_unknown_command(bare: Path, command: str) -> None:
    code, output = await ended(bare, command, VALID, Process)
    assert code == 2
    assert "usage: stemdrop" in output
    assert "Traceback" not in output


@pytest.fixture
async def quiet_world(tmp_path: Path) -> AsyncIterator[LocalEnvironment]:
    """A world in which nothing is separated."""
    settings = {"SEPARATION_API_URL": "http://127.0.0.1:9", "SEPARATION_API_KEY": KEY}
    async with LocalEnvironment(
        tmp_path / "world", settings=settings, separator=False, process=ForkedProcess
    ) as world:
        yield world


@pytest.mark.parametrize("command", ["up", "worker"])
async def test_a_token_that_telegram_refuses(bare: Path, quiet_world: LocalEnvironment, command: str) -> None:
    environment = {
        **quiet_world.variables(),
        "TELEGRAM_BOT_TOKEN": "7000000001:not-this-one",
        "LOG_LEVEL": "ERROR",
    }
    code, output = await ended(bare, command, environment)
    assert (code, output) == (2, "stemdrop: TELEGRAM_BOT_TOKEN is wrong: Telegram refuses it\n")


async def test_a_token_that_telegram_refuses_one_day(
    bare: Path, quiet_world: LocalEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = quiet_world.telegram.add_user("Alice")
    process = await quiet_world.start("bot")
    monkeypatch.setattr(quiet_world.telegram, "token", "7000000001:a-new-one")
    quiet_world.telegram.send_text(alice.id, "/start")  # ends the call that waits for updates
    assert await process.wait(30) == 2
    assert process.output().endswith("stemdrop: TELEGRAM_BOT_TOKEN is wrong: Telegram refuses it\n")
    assert "Traceback" not in process.output()


async def test_a_redis_password_that_is_wrong(bare: Path, quiet_world: LocalEnvironment) -> None:
    """Nobody waits for Redis to take another one."""
    url = quiet_world.variables()["REDIS_URL"]
    password = url.partition("@")[0].rpartition(":")[2]
    environment = {**quiet_world.variables(), "REDIS_URL": url.replace(password, "not-this-one")}
    code, output = await ended(bare, "up", {**environment, "LOG_LEVEL": "WARNING"})
    assert (code, output.count("\n")) == (2, 1)
    assert output.startswith("stemdrop: REDIS_URL: 127.0.0.1:")
    assert "Redis refused" in output
    assert "not-this-one" not in output


async def test_commands_that_cannot_be_registered_keep_nobody_waiting(
    bare: Path, quiet_world: LocalEnvironment
) -> None:
    telegram = quiet_world.telegram
    alice = telegram.add_user("Alice")
    refused = telegram.faults.add(FaultKind.SERVER_ERROR, method="setMyCommands", times=None)
    process = await quiet_world.start("bot")
    telegram.send_text(alice.id, "/start")
    await telegram.wait_for(lambda: telegram.bot_messages(alice.id) and refused.hits)
    assert await process.stop() == 0
    assert "Traceback" not in process.output()


async def test_a_port_that_is_taken(bare: Path, quiet_world: LocalEnvironment) -> None:
    async with serve(Starlette()) as url:
        port = url.rpartition(":")[2]
        environment = {**quiet_world.variables(), "LISTEN_PORT": port, "LOG_LEVEL": "ERROR"}
        code, output = await ended(bare, "webhook", environment)
    assert (code, output.count("\n")) == (2, 1)
    assert "LISTEN_PORT" in output


@pytest.mark.parametrize("number", [signal.SIGTERM])
async def test_a_signal_ends_up_in_good_order(
    bare: Path, quiet_world: LocalEnvironment, number: signal.Signals
) -> None:
    quiet_world.process_class = Process
    process = await quiet_world.start("up")
    process._process.send_signal(number)  # type: ignore[union-attr]
    assert await process.wait(40) == 0
    assert "Traceback" not in process.output()
    assert process.output().endswith("stopped\n")


@pytest.mark.parametrize("command", ["bot", "webhook", "worker"])
async def test_each_alone_starts_and_ends(bare: Path, quiet_world: LocalEnvironment, command: str) -> None:
    process = await quiet_world.start(command)
    assert await process.stop() == 0
    output = process.output()
    assert "Traceback" not in output
    for secret in (quiet_world.telegram.token, KEY, quiet_world.variables()["SECRET_KEY"]):
        assert secret not in output
