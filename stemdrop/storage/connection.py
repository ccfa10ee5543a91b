"""The Redis client of all stores: its limits, its scripts, and the translation of its exceptions."""

import logging
import time
from asyncio import sleep
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import AuthenticationError, OutOfMemoryError, ReadOnlyError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from stemdrop.errors import StoreClosed, StoreRefused, StoreUnavailable

log = logging.getLogger(__name__)

T = TypeVar("T")

# Refusals because of the state of Redis and not of the command (its error codes; the library drops some).
_FOR_NOW = (OutOfMemoryError, ReadOnlyError)
_FOR_NOW_CODES = ("OOM ", "READONLY ", "MISCONF ", "NOREPLICAS ", "MASTERDOWN ", "BUSY ")


class RedisStore:
    """What the stores are made of: every method raises `StoreUnavailable` when Redis does not answer."""

    def __init__(self, redis: Redis, clock: Callable[[], float] = time.time) -> None:
        self._redis = redis
        self._clock = clock


class StoreRedis(Redis):
    """A client that raises `StoreUnavailable` in place of redis-py's exceptions."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        run = super().execute_command
        if args[0] == "EVALSHA":  # the library itself handles the answer that the script is not known
            return await run(*args, **options)  # type: ignore[no-untyped-call]
        async with translated():
            return await run(*args, **options)  # type: ignore[no-untyped-call]

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        return _StorePipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class _StorePipeline(Pipeline):
    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        async with translated():
            return await super().execute(raise_on_error)


async def run_script(redis: Redis, text: str, keys: list[str], args: list[Any]) -> Any:
    """Run a Lua script as one step; Redis gets its text once and its hash after that."""
    async with translated():
        return await redis.register_script(text)(keys, args)


async def retry_until_stored(step: Callable[[], Awaitable[T]], what: str, tries: int = 300) -> T:
    """Repeat a step, named `what` in the log, every 2 s. Raises `StoreUnavailable` after the last try."""
    for _ in range(tries):
        try:
            return await step()
        except StoreUnavailable as error:
            log.warning("%s; waiting: %s", what, error)
            await sleep(2)
    return await step()


@asynccontextmanager
async def connect(url: str) -> AsyncIterator[Redis]:
    """Open a client with a bounded pool, 5 s per command, and retries after a broken connection.

    A retried script runs twice; each is written so that the second run changes nothing.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        decode_responses=True,
        max_connections=64,
        timeout=5,
        socket_timeout=5,
        socket_connect_timeout=3,
        retry=Retry(ExponentialBackoff(cap=0.2, base=0.05), 2),
        retry_on_error=[RedisConnectionError],
    )
    client = StoreRedis(connection_pool=pool)
    try:
        yield client
    finally:
        await client.aclose()
        await pool.aclose()


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """Turn redis-py's exceptions into `StoreUnavailable`."""
    try:
        yield
    except AuthenticationError as error:  # to redis-py a kind of broken connection
        raise StoreRefused(f"Redis refused: {str(error)[:120]}") from error
    except (RedisConnectionError, RedisTimeoutError, OSError) as error:
        raise StoreUnavailable("Redis does not answer") from error
    except RedisError as error:
        is_closed = isinstance(error, _FOR_NOW) or str(error).startswith(_FOR_NOW_CODES)
        kind = StoreClosed if is_closed else StoreRefused
        raise kind(f"Redis refused: {str(error)[:120]}") from error
