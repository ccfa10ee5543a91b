"""An unexpected exception in a command: one log record with its traceback, exit code 1, and no secret."""

import asyncio
from pathlib import Path

import pytest
from redis import Redis

from stemdrop.cli import run
from stemdrop.storage.keys import GIVEN_UP, PRESENT

SECRET = "a-secret-key-of-many-characters"


@pytest.mark.parametrize(("command", "key"), [("jobs", GIVEN_UP), ("status", PRESENT), ("doctor", PRESENT)])
async def test_an_unexpected_exception_leaves_one_traceback(
    redis_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    key: str,
) -> None:
    """Redis holds a value that no version of stemdrop wrote."""
    monkeypatch.chdir(tmp_path)
    with Redis.from_url(redis_url) as redis:
        redis.hset(key, "name", f"no JSON: {SECRET}")
    environ = {
        "TELEGRAM_BOT_TOKEN": "7000000001:AAabc-_123",
        "TELEGRAM_API_URL": "http://127.0.0.1:9",
        "SEPARATION_API_URL": "http://127.0.0.1:9",
        "SEPARATION_API_KEY": "api-key",
        "SECRET_KEY": SECRET,
        "REDIS_URL": redis_url,
    }
    assert await asyncio.to_thread(run, [command], environ) == 1
    out, err = capsys.readouterr()
    assert err.count("Traceback (most recent call last)") == 1
    assert "JSONDecodeError" in err
    assert SECRET not in out + err
