"""The Redis client of all stores: its limits, its scripts, and the translation of its exceptions."""

import hashlib
import logging
import time
from asyncio import (
    CancelledError,
    Future,
    Semaphore,
    Task,
    create_task,
    get_running_loop,
    sleep,
    timeout,
    wait,
)
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from typing import Any, TypeVar

import hiredis
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import (
    AuthenticationError,
    MasterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.maint_notifications import MaintNotificationsConfig

from stemdrop.errors import StoreClosed, StoreRefused, StoreUnavailable

log = logging.getLogger(__name__)

T = TypeVar("T")

# The limit for a command or pipeline with its retries. redis-py's own is for each try, and costs a task.
REDIS_COMMAND_TIMEOUT_S = 5
REDIS_CONNECT_TIMEOUT_S = 3
# Otherwise each new connection asks for notices that only Redis Enterprise sends, and announces the library's
# version, which redis-py reads from its files each time: more than half of what opening a connection costs.
CONNECTION_OPTIONS: dict[str, Any] = {
    "driver_info": None,
    "maint_notifications_config": MaintNotificationsConfig(enabled=False),
}
# Two round trips at once: while Redis runs the scripts of one, the answers of the other are handled.
_TRIPS, _SCRIPTS_A_TRIP = 2, 8
# Refusals because of the state of Redis and not of the command (its error codes; the library drops some).
_FOR_NOW = (MasterDownError, OutOfMemoryError, ReadOnlyError)
_FOR_NOW_CODES = ("OOM ", "READONLY ", "MISCONF ", "NOREPLICAS ", "BUSY ", "UNBLOCKED ")


class RedisStore:
    """The base class of stores: every method raises `StoreUnavailable` when Redis does not answer."""

    def __init__(self, redis: Redis, clock: Callable[[], float] = time.time) -> None:
        self._redis = redis
        self._clock = clock


class StoreRedis(Redis):
    """A client that raises `StoreUnavailable` in place of redis-py's exceptions.

    While `_TRIPS` round trips with scripts are under way, further scripts wait and are then sent together: if
    there are many at once, each takes a quarter less processor time.
    """

    def __init__(self, connection_pool: ConnectionPool) -> None:
        super().__init__(connection_pool=connection_pool)
        self._trips = 0
        self._senders: set[Task[None]] = set()
        self._waiting: list[tuple[tuple[Any, ...], Future[Any]]] = []

    async def evalsha(self, sha: str, numkeys: int, *keys_and_args: Any) -> Any:
        """Run a script that Redis knows. Raises `NoScriptError` if it does not."""
        command = ("EVALSHA", sha, numkeys, *keys_and_args)
        if self._trips >= _TRIPS:
            answered: Future[Any] = get_running_loop().create_future()
            self._waiting.append((command, answered))
            with translated():
                async with timeout(REDIS_COMMAND_TIMEOUT_S):
                    answer = await answered
                if isinstance(answer, Exception):
                    raise answer
            return answer
        self._trips += 1
        try:
            return await self.execute_command(*command)
        finally:
            if self._waiting:
                sender = create_task(self._send_waiting(), name="scripts")
                self._senders.add(sender)
                sender.add_done_callback(self._senders.discard)
            else:
                self._trips -= 1

    async def _send_waiting(self) -> None:
        try:
            while self._waiting:
                # without scripts whose callers no longer wait
                waiting = [script for script in self._waiting if not script[1].done()]
                scripts, self._waiting = waiting[:_SCRIPTS_A_TRIP], waiting[_SCRIPTS_A_TRIP:]
                answers = await self._answers([command for command, _ in scripts])
                for (_, answered), answer in zip(scripts, answers, strict=True):
                    if not answered.done():
                        answered.set_result(answer)
        finally:
            self._trips -= 1

    async def _answers(self, commands: Sequence[tuple[Any, ...]]) -> Sequence[Any]:
        """Return the answer to each command, which may be an exception."""
        try:
            async with self.pipeline(transaction=False) as pipeline:
                for command in commands:
                    pipeline.execute_command(*command)
                return await pipeline.execute(raise_on_error=False)
        except TypeError as error:
            if len(commands) == 1:
                return [error]
            # one command cannot be sent, so none was sent: it must not fail the others
            return [answer for command in commands for answer in await self._answers([command])]
        except Exception as error:
            return [error] * len(commands)

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Close the client after the scripts that are being sent: they would open a connection again."""
        if self._senders:
            await wait(self._senders)
        await super().aclose(close_connection_pool)

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        run = super().execute_command
        with translated():
            async with timeout(REDIS_COMMAND_TIMEOUT_S):
                return await run(*args, **options)  # type: ignore[no-untyped-call]

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        return _StorePipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class _StorePipeline(Pipeline):
    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        with translated():
            async with timeout(REDIS_COMMAND_TIMEOUT_S):
                return await super().execute(raise_on_error)


class _Pool(ConnectionPool):
    """A pool whose commands wait for a connection; the library's own takes a quarter of a command's time."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._free = Semaphore(self.max_connections)

    async def get_connection(self, *_: Any, **__: Any) -> AbstractConnection:
        await self._free.acquire()
        connection: AbstractConnection = self.get_available_connection()  # type: ignore[no-untyped-call]
        try:
            await self.ensure_connection(connection)
        except BaseException:
            await self.release(connection)
            raise
        return connection

    async def release(self, connection: AbstractConnection) -> None:
        self._in_use_connections.remove(connection)
        try:
            if connection.should_reconnect():  # type: ignore[no-untyped-call]
                await connection.disconnect()
        finally:
            self._available_connections.append(connection)
            self._free.release()


class _QuickConnection(AbstractConnection):
    """Packs commands in C: 4 µs for a script with 40 arguments, where redis-py takes 30 µs."""

    def pack_command(self, *args: Any) -> list[bytes]:
        """Pack a command. Half a surrogate pair, which JSON from outside may hold, becomes a `?`."""
        command = (*args[0].split(), *args[1:])
        try:
            return [hiredis.pack_command(command)]
        except UnicodeEncodeError:
            encoded: Any = tuple(it.encode(errors="replace") if isinstance(it, str) else it for it in command)
            return [hiredis.pack_command(encoded)]


async def run_script(redis: Redis, text: str, keys: Sequence[Any], args: Sequence[Any]) -> Any:
    """Run a Lua script as one step. Redis gets its text only once, and its hash after that.

    The hash is cached for ever with the text, so the text must be one of a few constants.
    """
    try:
        return await redis.evalsha(_hash(text), len(keys), *keys, *args)
    except NoScriptError:
        return await redis.eval(text, len(keys), *keys, *args)


@cache
def _hash(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()  # noqa: S324 - by which Redis names scripts


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
    """Open a client with a bounded pool, `REDIS_COMMAND_TIMEOUT_S`, and retries after a broken connection.

    A retried script runs twice; each is written so that the second run changes nothing.
    """
    pool = _Pool.from_url(
        url,
        decode_responses=True,
        max_connections=64,
        socket_timeout=None,
        socket_connect_timeout=REDIS_CONNECT_TIMEOUT_S,
        retry=Retry(ExponentialBackoff(cap=0.2, base=0.05), 2),
        retry_on_error=[RedisConnectionError],
        **CONNECTION_OPTIONS,
    )
    pool.connection_class = type("QuickConnection", (_QuickConnection, pool.connection_class), {})
    client = StoreRedis(connection_pool=pool)
    try:
        yield client
    finally:
        await finish(_close(client, pool))


async def _close(client: Redis, pool: ConnectionPool) -> None:
    await client.aclose()
    await pool.aclose()


async def finish(closing: Coroutine[Any, Any, None]) -> None:
    """Run `closing` to its end, also if this task is cancelled meanwhile; the cancellation is raised then.

    A pool whose closing is cancelled leaves connections open.
    """
    task, cancelled = create_task(closing), None
    while not task.done():
        try:
            await wait({task})
        except CancelledError as error:
            cancelled = error
    if cancelled:
        raise cancelled from task.exception()
    task.result()


def is_refused_for_now(error: Exception) -> bool:
    """Return whether Redis refused a command only because of its state, as when it is full."""
    return isinstance(error, _FOR_NOW) or str(error).startswith(_FOR_NOW_CODES)


@contextmanager
def translated() -> Iterator[None]:
    """Turn redis-py's exceptions into `StoreUnavailable`."""
    try:
        yield
    except NoScriptError:  # `run_script` sends the text
        raise
    except AuthenticationError as error:  # to redis-py a kind of broken connection
        raise StoreRefused(f"Redis refused: {str(error)[:120]}") from error
    except (RedisConnectionError, RedisTimeoutError, OSError) as error:
        raise StoreUnavailable("Redis does not answer") from error
    except RedisError as error:
        kind = StoreClosed if is_refused_for_now(error) else StoreRefused
        raise kind(f"Redis refused: {str(error)[:120]}") from error
