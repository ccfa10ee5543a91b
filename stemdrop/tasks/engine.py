"""The engine that runs tasks over Redis Streams, with the library pydocket.

A task runs at least once, so each begins by finding out what is already done.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from docket import Docket, Perpetual, Retry, Timeout, Worker
from docket.dependencies import current_execution
from redis.exceptions import RedisError

from stemdrop.domain.queues import QUEUE_OF, Queue, Task
from stemdrop.errors import StoreUnavailable, TryLater
from stemdrop.log_context import job_context
from stemdrop.storage.keys import PUT_OFF, PUT_OFF_LIFETIME_S
from stemdrop.tasks import docket_guards as guards
from stemdrop.tasks.tracebacks import Tracebacks

__all__ = ["Engine", "Handler", "Periodic", "Queue", "Task"]

log = logging.getLogger(__name__)

# After so many takeovers from dead workers the task is assumed to kill its workers.
MAX_TAKEOVERS = 5
# Adding to a frozen Redis would wait without end (the library sets no socket timeout).
ADD_TIMEOUT_S = 5
TASK_TIMEOUT = timedelta(hours=2)
LONGEST_PAUSE_S = 300
# A worker waits this long for a new task, which it takes at once, and then asks Redis again.
_READ_BLOCK = timedelta(seconds=1)
# A worker that runs as many tasks as it may looks this often for ended ones.
_CHECK_INTERVAL = timedelta(milliseconds=250)
# How often tasks that were put off are looked for.
_SCHEDULING_RESOLUTION = timedelta(milliseconds=500)
# The library's record of its workers, which nothing here reads.
_HEARTBEAT_INTERVAL = timedelta(seconds=10)
_JOB_ID = re.compile(r"^job \S+: ")
# How long the record of an ended update stays, with its argument: it holds users' words, and its key is never
# used again. For other tasks the library's default (15 minutes) holds: when two workers ran a task, the later
# end must find the record, or it would be taken for the end of the key's next task.
UPDATE_RECORD_LIFETIME = timedelta(minutes=1)

Handler = Callable[[str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Periodic:
    """Work that is run every `every_s` seconds, by one worker at a time."""

    every_s: float
    run: Callable[[], Awaitable[None]]


class Engine:
    """Adds tasks, and runs them in processes that call `work`. An async context manager."""

    def __init__(self, redis_url: str) -> None:
        self._handlers: dict[Task, Handler] = {}
        self._given_up: dict[Task, Handler] = {}
        self._tracebacks = Tracebacks()
        self._dockets = {
            queue: Docket(
                name=queue.value, url=guards.docket_url(redis_url), heartbeat_interval=_HEARTBEAT_INTERVAL
            )
            for queue in Queue
        }
        self._dockets[Queue.UPDATES].execution_ttl = UPDATE_RECORD_LIFETIME
        for task, queue in QUEUE_OF.items():
            self._dockets[queue].register(self._function(task), names=[task.value])

    async def __aenter__(self) -> Self:
        self._stack = AsyncExitStack()
        for queue in self._dockets:
            await self._open(queue)
        return self

    async def _open(self, queue: Queue) -> None:
        docket = self._dockets[queue]
        await self._stack.enter_async_context(docket)
        guards.extend_redis_retries(docket)

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    async def add(self, task: Task, key: str, argument: str) -> None:
        """Add a task under `key`; while one of that key waits or runs, this changes nothing.

        Raises `StoreUnavailable`; the task may then have been added all the same, and adding again is safe.
        """
        docket = self._dockets[QUEUE_OF[task]]
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
        given_up: Mapping[Task, Handler] | None = None,
        periodic: Mapping[str, Periodic] | None = None,
        concurrency: int = 10,
        grace_s: float = 20,
    ) -> None:
        """Run this queue's tasks until `stop` is set.

        No new task is taken then. Tasks that still run after `grace_s` seconds are handed back: another
        worker, or this one after its restart, takes them over when their lease ends.

        A task that kills its workers is given up and handed to `given_up`, once, which must not repeat what
        killed them. Deliveries and submissions are added again by recovery, and count their runs.
        """
        self._handlers.update(handlers)
        self._given_up.update(given_up or {})
        docket = self._dockets[queue]
        for name, item in (periodic or {}).items():
            docket.register(_periodic(name, item), names=[name])
        async with _Worker(
            docket,
            concurrency=concurrency,
            redelivery_timeout=timedelta(seconds=guards.LEASE_S),
            reconnection_delay=timedelta(seconds=1),
            scheduling_resolution=_SCHEDULING_RESOLUTION,
        ) as worker:
            running = asyncio.create_task(worker.run_forever(), name=f"engine {queue.value}")
            rescheduling = asyncio.create_task(guards.reschedule_after_clock_rollback(docket))
            stopping = asyncio.create_task(stop.wait())
            try:
                await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if running.done():
                    await running
                running.cancel()  # takes nothing new, finishes what runs
                await asyncio.wait({running}, timeout=grace_s)
            finally:
                stopping.cancel()
                rescheduling.cancel()
                await guards.stop_worker(worker, running)

    def _function(self, task: Task) -> Callable[..., Awaitable[None]]:
        async def run(
            argument: str,
            retry: Retry = Retry(attempts=None),  # noqa: B008 - how the library takes its settings
            timeout: Timeout = Timeout(TASK_TIMEOUT),  # noqa: B008, ASYNC109
        ) -> None:
            with job_context(_job_of(task, argument)):
                pause_s = await self._run(task, argument, retry.attempt)
            if pause_s is not None:
                retry.after(timedelta(seconds=pause_s))

        run.__name__ = task.value
        return run

    async def _run(self, task: Task, argument: str, attempt: int) -> float | None:
        """Run a task once; returns after how many seconds it is to be run again, if at all."""
        key = current_execution.get().key
        async with guards.renewed_lease() as takeovers:
            if takeovers > MAX_TAKEOVERS:
                await self._give_up(task, argument, key, takeovers)
                return None
            try:
                await self._handlers[task](argument)
                self._tracebacks.forget(key)
                if attempt > 1:
                    await self._note_put_off(task, key)
                return None
            except TryLater as error:
                pause_s, why = min(max(error.after_s, 0.1), LONGEST_PAUSE_S), str(error)
                log.info("task %s waits %.0f s: %s", key, pause_s, error)
            except Exception as error:
                pause_s, why = min(2.0 ** min(attempt, 10), LONGEST_PAUSE_S), type(error).__name__
                log.error(
                    *("task %s failed, again in %.0f s: %s: %s", key, pause_s, type(error).__name__, error),
                    exc_info=self._tracebacks.select(key, error),
                )
            await self._note_put_off(task, key, why)
        return pause_s

    async def _note_put_off(self, task: Task, key: str, why: str = "") -> None:
        """Store for `stemdrop status` why a task is put off, or that it no longer is."""
        queue = QUEUE_OF[task]
        reasons = PUT_OFF.format(queue.value)
        with suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(ADD_TIMEOUT_S), self._dockets[queue].redis() as redis:
                if why:
                    await redis.hset(reasons, key, _JOB_ID.sub("", why)[:100])
                    await redis.expire(reasons, PUT_OFF_LIFETIME_S)
                else:
                    await redis.hdel(reasons, key)

    async def _give_up(self, task: Task, argument: str, key: str, takeovers: int) -> None:
        log.error("task %s given up: %d workers died while running it", key, takeovers)
        self._tracebacks.forget(key)
        notify = self._given_up.get(task)
        # Do not notify again if the notification itself killed a worker.
        if notify is None or takeovers > MAX_TAKEOVERS + 1:
            return
        try:
            await notify(argument)
        except Exception as error:  # a task that was given up is not run again because of this
            log.error(
                *(
                    "task %s was given up; the steps after that failed: %s: %s",
                    key,
                    type(error).__name__,
                    error,
                ),
                exc_info=self._tracebacks.select(key, error),
            )
            self._tracebacks.forget(key)


class _Worker(Worker):
    @property
    def minimum_check_interval(self) -> timedelta:
        """The library has one setting for how long a read blocks and for how long a full worker sleeps."""
        return _CHECK_INTERVAL if len(self._tasks_by_key) >= self.concurrency else _READ_BLOCK

    @minimum_check_interval.setter
    def minimum_check_interval(self, value: timedelta) -> None:
        pass


def _job_of(task: Task, argument: str) -> str:
    """Return the job of a task; the handlers of an update and of a remix find it later."""
    return "" if task in (Task.UPDATE, Task.ALBUM, Task.RENDER) else argument.partition(":")[0]


def _periodic(name: str, item: Periodic) -> Callable[..., Awaitable[None]]:
    every = timedelta(seconds=item.every_s)
    tracebacks = Tracebacks()

    async def run(perpetual: Perpetual = Perpetual(every=every, automatic=True)) -> None:  # noqa: B008
        async with guards.renewed_lease():
            try:
                await item.run()
                tracebacks.forget(name)
            except Exception as error:
                log.error(
                    *("%s failed: %s: %s", name, type(error).__name__, error),
                    exc_info=tracebacks.select(name, error),
                )

    run.__name__ = name
    return run
