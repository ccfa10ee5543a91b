"""The engine that runs tasks over Redis Streams, with the library pydocket.

A task runs at least once, so each begins by finding out what is already done.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self

from pydantic import SecretStr
from redis.exceptions import RedisError

from stemdrop.domain.queues import QUEUE_OF, Queue, Task
from stemdrop.errors import StoreUnavailable, TryLater
from stemdrop.log_context import job_context
from stemdrop.observability.printable_text import printable
from stemdrop.storage.connection import connect, finish, run_script
from stemdrop.storage.keys import TURN
from stemdrop.storage.task_scripts import ADD, PutOff, addition
from stemdrop.tasks.periodic import Periodic, Turns
from stemdrop.tasks.tracebacks import Tracebacks

if TYPE_CHECKING:
    from docket import Execution

    from stemdrop.tasks.docket_guards import TaskWorker

__all__ = ["Engine", "Handler", "Periodic", "Queue", "Task"]

log = logging.getLogger(__name__)

# After so many takeovers from dead workers the task is assumed to kill its workers.
MAX_TAKEOVERS = 5
# Adding a task must end even if Redis hangs.
ADD_TIMEOUT_S = 5
TASK_TIMEOUT_S = 2 * 3600
LONGEST_PAUSE_S = 300
_JOB_ID = re.compile(r"^job \S+: ")

Handler = Callable[[str], Awaitable[None]]


class Engine:
    """Adds tasks, and runs them in processes that call `work`. An async context manager."""

    def __init__(self, redis_url: str) -> None:
        self._redis_url = SecretStr(redis_url)  # it has a password
        self._handlers: dict[Task, Handler] = {}
        self._given_up: dict[Task, Handler] = {}
        self._tracebacks = Tracebacks()

    async def __aenter__(self) -> Self:
        self._stack = AsyncExitStack()
        self._redis = await self._stack.enter_async_context(connect(self._redis_url.get_secret_value()))
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    async def add(self, task: Task, key: str, argument: str) -> None:
        """Add a task under `key`; while one of that key waits or runs, this changes nothing.

        Raises `StoreUnavailable`; the task may then have been added all the same, and adding again is safe.
        """
        try:
            async with asyncio.timeout(ADD_TIMEOUT_S):
                await run_script(self._redis, ADD, *addition(task, key, argument))
        except (TimeoutError, RedisError, OSError, StoreUnavailable) as error:
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

        After that no new task is taken. Tasks that still run after `grace_s` seconds are handed back: another
        worker, or this one after its restart, takes them over when their lease ends.

        A task that kills its workers is given up, and its handler in `given_up` is called once; this must not
        repeat what killed them. Recovery adds deliveries and submissions again, which count their runs.
        """
        # The library stays out of processes that only add tasks.
        from stemdrop.tasks import docket_guards as guards  # noqa: PLC0415

        self._handlers.update(handlers)
        self._given_up.update(given_up or {})
        async with (
            guards.connection(self._redis_url.get_secret_value()) as connection,
            guards.TaskWorker(guards.TaskQueue(queue, connection), self._run, concurrency) as worker,
        ):
            running = asyncio.create_task(worker.run_forever(), name=f"engine {queue.value}")
            turns = [
                Turns(self._redis, TURN.format(queue, name), name, it, guards.LEASE_S)
                for name, it in (periodic or {}).items()
            ]
            repeating = [asyncio.create_task(it.run(stop)) for it in turns]
            beside = [asyncio.create_task(it) for it in (worker.renew_leases(), worker.move_due_tasks())]
            stopping = asyncio.create_task(stop.wait())
            try:
                await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if running.done():
                    await running
                running.cancel()  # takes nothing new, finishes what runs
                await asyncio.wait({running, *repeating}, timeout=grace_s)
            finally:
                await finish(_stop(worker, running, [stopping, *repeating, *beside]))

    async def _run(self, execution: "Execution", takeovers: int) -> PutOff | None:
        """Run a task once; return when it is to be run again, or `None`."""
        if execution.function_name not in QUEUE_OF:
            return None  # periodic work, as an earlier version did it
        task, argument = Task(execution.function_name), str(execution.args[0])
        with job_context(_job_of(task, argument)):
            if takeovers > MAX_TAKEOVERS:
                await self._give_up(task, argument, execution.key, takeovers)
                return None
            return await self._try(task, argument, execution.key, execution.attempt)

    async def _try(self, task: Task, argument: str, key: str, attempt: int) -> PutOff | None:
        try:
            async with asyncio.timeout(TASK_TIMEOUT_S):
                await self._handlers[task](argument)
            self._tracebacks.forget(key)
        except TryLater as error:
            pause_s = min(max(error.after_s, 0.1), LONGEST_PAUSE_S)
            log.info("task %s waits %.0f s: %s", key, pause_s, error)
            return PutOff(pause_s, printable(_JOB_ID.sub("", str(error)))[:100])
        except Exception as error:
            pause_s = min(2.0 ** min(attempt, 10), LONGEST_PAUSE_S)
            log.error(
                *("task %s failed, again in %.0f s: %s: %s", key, pause_s, type(error).__name__, error),
                exc_info=self._tracebacks.select(key, error),
            )
            return PutOff(pause_s, type(error).__name__, is_failure=True)
        return None

    async def _give_up(self, task: Task, argument: str, key: str, takeovers: int) -> None:
        log.error("task %s given up: %d workers died while running it", key, takeovers)
        self._tracebacks.forget(key)
        notify = self._given_up.get(task)
        # Do not notify again if the notification itself killed a worker.
        if notify is None or takeovers > MAX_TAKEOVERS + 1:
            return
        try:
            await notify(argument)
        except Exception as error:  # this must not make a task that was given up run again
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


def _job_of(task: Task, argument: str) -> str:
    """Return the job id in a task's argument; handlers of updates, albums and remixes find it later."""
    return "" if task in (Task.UPDATE, Task.ALBUM, Task.RENDER) else argument.partition(":")[0]


async def _stop(worker: "TaskWorker", running: asyncio.Task[None], beside: list[asyncio.Task[Any]]) -> None:
    """Stop the worker, and then what ran beside it, such as the renewal of its leases."""
    try:
        await worker.stop(running)
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
