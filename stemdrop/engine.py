"""The engine that runs tasks, over Redis Streams; the only module that knows which library does it.

Rooms see 'submit this job', 'deliver this job', 'handle this update' and 'every so often'. A task runs at
least once: each begins by asking what is already done. Settings and guards answer measured faults of
pydocket 0.27 (pinned); each says which.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Self
from urllib.parse import urlsplit

from docket import Docket, Perpetual, Retry, Timeout, Worker
from docket.dependencies import current_docket, current_execution, current_worker
from redis.asyncio.retry import Retry as Retries
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError

from stemdrop.errors import StoreUnavailable, TryLater

log = logging.getLogger(__name__)

# A worker that stops renewing for this long is dead; its tasks are taken over within about 13 s.
LEASE_S = 10
# How often a task may be taken over from dead workers before it is held to be what kills them.
MAX_TAKEOVERS = 5
# Adding to a frozen Redis would wait without end (the library sets no socket timeout).
ADD_TIMEOUT_S = 5
TASK_TIMEOUT = timedelta(hours=2)
LONGEST_PAUSE_S = 300

Handler = Callable[[str], Awaitable[None]]


class Task(StrEnum):
    """What the engine can be asked to run; the value is the task's name in Redis."""

    SUBMIT = "submit"  # argument: job id
    DELIVER = "deliver"  # argument: job id
    UPDATE = "update"  # argument: an update from Telegram as JSON


class Queue(StrEnum):
    """What is taken together; one kind's backlog keeps none of the others waiting."""

    SUBMISSIONS = "stemdrop:submissions"  # by every `worker`, with the periodic work
    DELIVERIES = "stemdrop:deliveries"  # by every `worker`
    UPDATES = "stemdrop:updates"  # by every `bot`


_QUEUE_OF = {
    Task.SUBMIT: Queue.SUBMISSIONS,
    Task.DELIVER: Queue.DELIVERIES,
    Task.UPDATE: Queue.UPDATES,
}


@dataclass(frozen=True, slots=True)
class Periodic:
    """Something to do every `every_s` seconds, once over all workers."""

    every_s: float
    run: Callable[[], Awaitable[None]]


class Engine:
    """Adds tasks, and runs them where a process says what they do. An async context manager."""

    def __init__(self, redis_url: str) -> None:
        self._handlers: dict[Task, Handler] = {}
        self._dockets = {queue: Docket(name=queue.value, url=_docket_url(redis_url)) for queue in Queue}
        for task, queue in _QUEUE_OF.items():
            self._dockets[queue].register(self._function(task), names=[task.value])

    async def __aenter__(self) -> Self:
        self._stack = AsyncExitStack()
        for docket in self._dockets.values():
            await self._stack.enter_async_context(docket)
            _be_patient(docket)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    async def add(self, task: Task, key: str, argument: str) -> None:
        """Add a task under `key`; while one of that key waits or runs, this changes nothing.

        Raises `StoreUnavailable`; the task may then have been added all the same, and adding again is safe.
        """
        docket = self._dockets[_QUEUE_OF[task]]
        try:
            async with asyncio.timeout(ADD_TIMEOUT_S):
                await docket.add(task.value, key=f"{task.value}:{key}")(argument)
        except (TimeoutError, RedisError, OSError) as error:
            raise StoreUnavailable(f"the task {task.value} could not be added") from error

    async def work(
        self,
        queue: Queue,
        handlers: Mapping[Task, Handler],
        stop: asyncio.Event,
        *,
        periodic: Mapping[str, Periodic] | None = None,
        concurrency: int = 10,
        grace_s: float = 20,
    ) -> None:
        """Run this queue's tasks until `stop` is set.

        Then nothing new is taken; what still runs after `grace_s` seconds is handed back: another worker,
        or this one after its restart, takes it over when the lease ends.
        """
        self._handlers.update(handlers)
        docket = self._dockets[queue]
        for name, item in (periodic or {}).items():
            docket.register(_periodic(name, item), names=[name])
        async with Worker(
            docket,
            concurrency=concurrency,
            redelivery_timeout=timedelta(seconds=LEASE_S),
            reconnection_delay=timedelta(seconds=1),
            minimum_check_interval=timedelta(milliseconds=50),
        ) as worker:
            running = asyncio.create_task(worker.run_forever(), name=f"engine {queue.value}")
            stopping = asyncio.create_task(stop.wait())
            try:
                await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if running.done():
                    await running
                running.cancel()  # takes nothing new, finishes what runs
                await asyncio.wait({running}, timeout=grace_s)
            finally:
                stopping.cancel()
                running.cancel()  # cancels what still runs and leaves it for redelivery
                with suppress(asyncio.CancelledError):
                    await running

    def _function(self, task: Task) -> Callable[..., Awaitable[None]]:
        async def run(
            argument: str,
            retry: Retry = Retry(attempts=None),  # noqa: B008 - how the library takes its settings
            timeout: Timeout = Timeout(TASK_TIMEOUT),  # noqa: B008, ASYNC109
        ) -> None:
            key = current_execution.get().key
            async with _kept_lease() as takeovers:
                if takeovers > MAX_TAKEOVERS:
                    log.error("task %s given up: %d workers died while running it", key, takeovers)
                    return
                try:
                    await self._handlers[task](argument)
                    return
                except TryLater as error:
                    pause_s = min(max(error.after_s, 0.1), LONGEST_PAUSE_S)
                    log.info("task %s waits %.0f s: %s", key, pause_s, error)
                except Exception as error:
                    pause_s = min(2.0 ** min(retry.attempt, 10), LONGEST_PAUSE_S)
                    log.error(
                        "task %s failed, again in %.0f s: %s: %s", key, pause_s, type(error).__name__, error
                    )
                    log.debug("task %s", key, exc_info=True)
            retry.after(timedelta(seconds=pause_s))

        run.__name__ = task.value
        return run


def _periodic(name: str, item: Periodic) -> Callable[..., Awaitable[None]]:
    every = timedelta(seconds=item.every_s)

    async def run(perpetual: Perpetual = Perpetual(every=every, automatic=True)) -> None:  # noqa: B008
        async with _kept_lease():
            try:
                await item.run()
            except Exception as error:
                log.error("%s failed: %s: %s", name, type(error).__name__, error)
                log.debug("%s", name, exc_info=True)

    run.__name__ = name
    return run


@asynccontextmanager
async def _kept_lease() -> AsyncIterator[int]:
    """Renew this task's lease while it runs; yields how often it was taken over from a dead worker.

    The library stops renewing at SIGTERM, so tasks that drain longer than the lease would run twice; and it
    hands a task that kills its workers out without end.
    """
    execution, docket, worker = current_execution.get(), current_docket.get(), current_worker.get()
    stream, group, message = docket.stream_key, docket.worker_group_name, execution.message_id
    takeovers = 0
    if execution.redelivered and message is not None:
        async with docket.redis() as redis:
            pending = await redis.xpending_range(stream, group, message, message, 1)
        takeovers = pending[0]["times_delivered"] - 1 if pending else 0

    async def beat() -> None:
        while message is not None:
            await asyncio.sleep(LEASE_S / 4)
            with suppress(RedisError, OSError):
                async with docket.redis() as redis:
                    await redis.xclaim(stream, group, worker.name, 0, [message], idle=0, justid=True)

    beating = asyncio.create_task(beat())
    try:
        yield takeovers
    finally:
        beating.cancel()


def _be_patient(docket: Docket) -> None:
    """Let each command wait out a Redis that is away for up to a minute.

    Otherwise a worker falls out of its loop, and takes nothing new until the last running task has ended.
    The library offers no setting for it.
    """
    pool = docket._redis._connection_pool
    if pool is not None:
        pool.connection_kwargs["retry"] = Retries(ExponentialBackoff(cap=1, base=0.05), 60)


def _docket_url(redis_url: str) -> str:
    """With `retry_on_timeout` each pooled connection gets one more try after Redis restarted (else finished
    tasks run again); the pool must exceed what runs at once (redis-py's default of 100 was exceeded)."""
    separator = "&" if urlsplit(redis_url).query else "?"
    return f"{redis_url}{separator}retry_on_timeout=true&max_connections=500"
