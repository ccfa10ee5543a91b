"""The local environment is isolated: its processes do not read the caller's `.env`, and it leaves an external
Redis as it was."""

import asyncio
import fcntl
from pathlib import Path

import pytest
from process_pool import ForkedProcess
from redis import Redis

from sandbox.environment import kept_folder
from sandbox.environment.local_environment import LocalEnvironment
from sandbox.environment.process import Process
from sandbox.environment.redis_server import RedisUnavailableError

NO_SEPARATOR = {"SEPARATION_API_URL": "http://127.0.0.1:9", "SEPARATION_API_KEY": "key"}


def environment_on(redis_url: str, directory: Path, *, keeps_data: bool = False) -> LocalEnvironment:
    """Return an environment on that Redis, without a separator."""
    return LocalEnvironment(
        directory,
        settings=NO_SEPARATOR,
        environment={"REDIS_URL": redis_url},
        separator=False,
        process=ForkedProcess,
        keeps_data=keeps_data,
    )


def keys(redis_url: str) -> set[bytes]:
    with Redis.from_url(redis_url) as client:
        return set(client.keys())


async def test_a_process_reads_the_env_file_of_its_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / ".env").write_text("TELEGRAM_BOT_TOKEN=7000000001:AAabc-_123\n")
    # a file there must not be imported as a module
    (own / "stemdrop.py").write_text("raise SystemExit('the wrong stemdrop')\n")
    (tmp_path / ".env").write_text("SEPARATION_API_KEY=key\nSECRET_KEY=secret\nLOG_LEVEL=loud\n")
    monkeypatch.chdir(tmp_path)
    process = Process(["up"], {}, tmp_path / "log", cwd=own)
    process.start()
    assert await process.wait(200) == 2
    assert process.output() == "".join(
        f"stemdrop: {name} is missing: set it in the environment or in .env\n"
        for name in ("SEPARATION_API_KEY", "SECRET_KEY")
    )


async def test_a_redis_with_keys_of_stemdrop_is_refused_and_not_changed(
    redis_url: str, tmp_path: Path
) -> None:
    with Redis.from_url(redis_url) as client:
        client.set("stemdrop:task:1", "job")
        client.mset({f"other:{number}": "" for number in range(3000)})
    before = keys(redis_url)
    with pytest.raises(RedisUnavailableError, match=r"^REDIS_URL names .*: unset it, or name an empty"):
        async with environment_on(redis_url, tmp_path):
            pytest.fail("the environment was started")
    assert keys(redis_url) == before


async def test_the_callers_env_file_is_ignored_and_an_external_redis_is_left_as_it_was(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("LOG_LEVEL=WARNING\nPUBLIC_URL=nowhere\nLISTEN_PORT=none\n")
    monkeypatch.chdir(tmp_path)
    with Redis.from_url(redis_url) as client:
        client.mset({"other": "1", "stemdropper": "2"})
    before = keys(redis_url)
    async with environment_on(redis_url, Path("one")) as environment:
        assert environment.directory == tmp_path / "one"
        await environment.start("up")
        assert len(keys(redis_url)) > len(before) + 1
    assert keys(redis_url) == before


async def test_kept_data_in_an_external_redis_belong_to_their_folder(redis_url: str, tmp_path: Path) -> None:
    seen = []
    (tmp_path / "one").mkdir()
    for name in ("up.log", "build.log"):
        (tmp_path / "one" / name).touch()
    for number in range(2):
        async with environment_on(redis_url, tmp_path / "one", keeps_data=True) as environment:
            # a log of the last start is deleted, the user's own is not
            assert [path.name for path in (tmp_path / "one").glob("*.log")] == ["build.log"]
            seen.append((environment.variables(), environment.telegram.access_key))
            with Redis.from_url(redis_url) as client:
                assert bool(client.get("stemdrop:kept")) == bool(number)
                client.set("stemdrop:kept", "1")
    assert seen[0] == seen[1]  # the addresses, keys and secrets
    with pytest.raises(RedisUnavailableError):
        async with environment_on(redis_url, tmp_path / "two", keeps_data=True):
            pytest.fail("the environment was started")


def test_a_start_that_waits_for_processes_of_a_killed_one_can_be_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_folder, "_ORPHANS_WAIT_S", 3600)

    async def start() -> None:
        environment = LocalEnvironment(tmp_path, separator=False, keeps_data=True)
        async with asyncio.timeout(0.1), environment:
            pytest.fail("the environment was started")

    with (tmp_path / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(TimeoutError):
            asyncio.run(start())


async def test_two_environments_cannot_share_a_redis(redis_url: str, tmp_path: Path) -> None:
    async with environment_on(redis_url, tmp_path / "one"):
        with pytest.raises(RedisUnavailableError, match="another stemdrop"):
            async with environment_on(redis_url, tmp_path / "two"):
                pytest.fail("the second environment was started")
        assert keys(redis_url) != set()
    assert keys(redis_url) == set()


@pytest.mark.parametrize("url", ["redis://:pass/word@127.0.0.1:1/0", "http://pass:word@127.0.0.1"])
async def test_a_malformed_redis_url_is_refused_without_showing_its_password(
    url: str, tmp_path: Path
) -> None:
    with pytest.raises(RedisUnavailableError, match="REDIS_URL is not the address") as refusal:
        async with environment_on(url, tmp_path):
            pytest.fail("the environment was started")
    assert "pass" not in str(refusal.value)


async def test_a_redis_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RedisUnavailableError, match="cannot be used: unset it"):
        async with environment_on("redis://127.0.0.1:1/0", tmp_path):
            pytest.fail("the environment was started")
