"""The world keeps to itself: its processes see no `.env` of the caller's, and a Redis that is not its own is
left as it was found."""

from pathlib import Path

import pytest
from provider import Provider
from redis import Redis

from sandbox.environment.local_environment import LocalEnvironment
from sandbox.environment.process import Process
from sandbox.environment.redis_server import RedisUnavailableError

NO_SEPARATOR = {"SEPARATION_API_URL": "http://127.0.0.1:9", "SEPARATION_API_KEY": "key"}


def world_on(redis_url: str, directory: Path) -> LocalEnvironment:
    """A world on that Redis, in which nothing is separated."""
    return LocalEnvironment(
        directory, settings=NO_SEPARATOR, environment={"REDIS_URL": redis_url}, separator=False
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
    # and what lies there is never a module
    (own / "stemdrop.py").write_text("raise SystemExit('the wrong stemdrop')\n")
    (tmp_path / ".env").write_text("SEPARATION_API_KEY=key\nSECRET_KEY=secret\nLOG_LEVEL=loud\n")
    monkeypatch.chdir(tmp_path)
    process = Process(["up"], {}, tmp_path / "log", cwd=own)
    process.start()
    assert await process.wait(60) == 2
    assert (
        process.output() == "stemdrop: SEPARATION_API_KEY is missing: set it in the environment or in .env\n"
    )


async def test_an_env_file_of_the_callers_does_not_reach_the_world(
    tmp_path: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("LOG_LEVEL=WARNING\nPUBLIC_URL=nowhere\nLISTEN_PORT=none\n")
    monkeypatch.chdir(tmp_path)
    settings = {"SEPARATION_API_URL": provider.url, "SEPARATION_API_KEY": "key"}
    async with LocalEnvironment(Path("world"), settings=settings, separator=False) as world:
        await world.start("webhook")
        assert world.directory == tmp_path / "world"


async def test_a_redis_that_a_stemdrop_uses_is_refused_and_left_alone(redis_url: str, tmp_path: Path) -> None:
    with Redis.from_url(redis_url) as client:
        client.set("stemdrop:task:1", "job")
        client.mset({f"other:{number}": "" for number in range(3000)})
    before = keys(redis_url)
    with pytest.raises(RedisUnavailableError, match=r"^REDIS_URL names .*: unset it, or name an empty"):
        async with world_on(redis_url, tmp_path):
            pytest.fail("the world began")
    assert keys(redis_url) == before


async def test_a_redis_that_it_was_given_is_left_as_it_was(redis_url: str, tmp_path: Path) -> None:
    with Redis.from_url(redis_url) as client:
        client.mset({"other": "1", "stemdropper": "2"})
    before = keys(redis_url)
    async with world_on(redis_url, tmp_path / "one") as world:
        await world.start("up")
        assert len(keys(redis_url)) > len(before) + 1
    assert keys(redis_url) == before


async def test_of_two_worlds_at_once_one_has_the_redis(redis_url: str, tmp_path: Path) -> None:
    async with world_on(redis_url, tmp_path / "one"):
        with pytest.raises(RedisUnavailableError, match="another stemdrop"):
            async with world_on(redis_url, tmp_path / "two"):
                pytest.fail("two worlds in one Redis")
        assert keys(redis_url) != set()
    assert keys(redis_url) == set()


@pytest.mark.parametrize("url", ["redis://:pass/word@127.0.0.1:1/0", "http://pass:word@127.0.0.1"])
async def test_what_is_no_address_is_refused_without_its_password(url: str, tmp_path: Path) -> None:
    with pytest.raises(RedisUnavailableError, match="REDIS_URL is not the address") as refusal:
        async with world_on(url, tmp_path):
            pytest.fail("the world began")
    assert "pass" not in str(refusal.value)


async def test_a_redis_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RedisUnavailableError, match="cannot be used: unset it"):
        async with world_on("redis://127.0.0.1:1/0", tmp_path):
            pytest.fail("the world began")
