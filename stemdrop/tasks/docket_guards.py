"""Replaces those parts of the library pydocket 0.27 (pinned) that were measured to be wrong or wasteful.

The library's worker takes tasks from the stream of a queue, and from workers that died. This module and
`stemdrop.storage.task_scripts` run, end and put off the tasks. Only `stemdrop.tasks.engine` uses this module,
and no other module uses the library.
"""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, cast
from urllib.parse import urlsplit

from docket import Docket, Execution, StrikeList, Worker
from docket._redis import RedisConnection
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from redis.exceptions import AuthenticationError, AuthorizationError, RedisError, ResponseError

from stemdrop.domain.queues import Queue
from stemdrop.storage.connection import CONNECTION_OPTIONS, finish, is_refused_for_now
from stemdrop.storage.keys import TASK_PARKED, TASK_RECORD
from stemdrop.storage.task_scripts import END, MOVE_DUE, PUT_OFF, PutOff, message

log = logging.getLogger(__name__)

# A worker that has not renewed its lease for this long is dead; others take over its tasks within about 14 s.
LEASE_S = 10
# No task is put off for longer. If one seems to be, a clock was set back since it was put off: it is due.
LONGEST_AHEAD_S = 900
# A worker waits this long for a new task, which it takes at once, and then looks for those of dead workers.
_READ_BLOCK = timedelta(seconds=1)
# A worker that runs as many tasks as it may looks this often for ended ones, without asking Redis.
_CHECK_INTERVAL = timedelta(milliseconds=50)
# A worker knows when the tasks that it has put off are due; this often it looks for those of other workers.
_LOOK_EVERY_S = 5.0
_LOOK_AT_MOST_EVERY_S = 0.1
_CANCEL_AGAIN_S = 5
_RECONNECT_AFTER = timedelta(seconds=1)
_TRY_AGAIN_S = 0.5


# Runs a task; the number is how often it was taken over from dead workers.
TaskRunner = Callable[[Execution, int], Awaitable[PutOff | None]]


class _Patience(Retry):
    """Repeats a command until Redis is there and no longer refuses it because of its own state."""

    def __init__(self) -> None:
        super().__init__(ConstantBackoff(_TRY_AGAIN_S), retries=-1)
        self.update_supported_errors([ResponseError])

    async def call_with_retry(self, do: Any, fail: Any, *_: Any, with_failure_count: bool = False) -> Any:
        return await super().call_with_retry(do, fail, _is_passing, with_failure_count)


def _is_passing(error: Exception) -> bool:
    if isinstance(error, ResponseError):
        return is_refused_for_now(error)
    return not isinstance(error, AuthenticationError | AuthorizationError)


@asynccontextmanager
async def connection(redis_url: str) -> AsyncIterator[RedisConnection]:
    """Open the connections of all queues; the library would open two pools for each.

    `retry_on_timeout` gives each connection one more try after a restart of Redis; without it, finished tasks
    run again. The pool must be larger than the number of tasks that run at once (redis-py's default is 100).
    Each command waits for Redis, for which the library has no setting: otherwise a worker leaves its loop and
    takes no new task until the last running one has ended.
    """
    separator = "&" if urlsplit(redis_url).query else "?"
    url = f"{redis_url}{separator}retry_on_timeout=true&max_connections=500"
    opened = await RedisConnection(url).__aenter__()
    try:
        if opened._connection_pool is not None:
            options = opened._connection_pool.connection_kwargs
            options |= {"retry": _Patience(), **CONNECTION_OPTIONS}
            options.pop("maint_notifications_pool_handler", None)
        yield opened
    finally:
        await finish(opened.__aexit__(None, None, None))


class TaskQueue(Docket):
    """A queue, without the library's own connections, tasks, and lists of tasks that must not run."""

    def __init__(self, queue: Queue, redis: RedisConnection) -> None:
        super().__init__(name=queue.value, url=redis.url)
        self._redis = redis
        self.strike_list = StrikeList()
        self.tasks = {}


class TaskWorker(Worker):
    """Runs the tasks of one queue with `run`, which may return that a task is put off.

    The library's own way to run a task takes three times as many commands and five times as much
    processor time: states and progress that nothing reads, traces, metrics, and dependencies of functions.
    """

    def __init__(self, queue: TaskQueue, run: TaskRunner, concurrency: int) -> None:
        super().__init__(
            queue,
            concurrency=concurrency,
            redelivery_timeout=timedelta(seconds=LEASE_S),
            reconnection_delay=_RECONNECT_AFTER,
            schedule_automatic_tasks=False,
        )
        self._run_task = run
        self._held: set[bytes] = set()  # the messages of the running tasks
        self._look_at = 0.0
        self._look_sooner = asyncio.Event()

    @property
    def minimum_check_interval(self) -> timedelta:
        """The library has one setting for how long a read blocks and for how long a full worker sleeps."""
        return _CHECK_INTERVAL if len(self._tasks_by_key) >= self.concurrency else _READ_BLOCK

    @minimum_check_interval.setter
    def minimum_check_interval(self, value: timedelta) -> None:
        pass

    async def _execute(self, execution: Execution, session: Any) -> None:
        execution._acked = True  # the scripts below acknowledge it, not the library
        held = bytes(execution.message_id or b"")
        if held in self._held:  # after an outage of Redis a worker may take over its own tasks
            return
        self._held.add(held)
        try:
            put_off = await self._run_task(execution, await self._takeovers(execution))
            if put_off:
                await self._put_off(execution, put_off)
            else:
                keys = [self.docket.stream_key, self._record_of(execution)]
                await self._script(END, keys, [self.docket.worker_group_name, held])
        finally:
            self._held.discard(held)

    async def _takeovers(self, execution: Execution) -> int:
        """Return how often a task was taken over: the library has no limit for one that kills its workers."""
        if not execution.redelivered or execution.message_id is None:
            return 0
        stream, group, held = self.docket.stream_key, self.docket.worker_group_name, execution.message_id
        async with self.docket.redis() as redis:
            pending = await redis.xpending_range(stream, group, held, held, 1)
        return int(pending[0]["times_delivered"]) - 1 if pending else 0

    async def _put_off(self, execution: Execution, put_off: PutOff) -> None:
        queue, key, due_at = self.docket, execution.key, time.time() + put_off.after_s
        parked = TASK_PARKED.format(queue.name, key)
        attempt = execution.attempt + 1 if put_off.is_failure else 1
        fields = message(key, execution.function_name, execution.args[0], due_at, attempt)
        args = [queue.worker_group_name, execution.message_id, key, due_at, put_off.why, *fields]
        await self._script(
            PUT_OFF, [queue.stream_key, self._record_of(execution), queue.queue_key, parked], args
        )
        if due_at < self._look_at:
            self._look_sooner.set()

    def _record_of(self, execution: Execution) -> str:
        return TASK_RECORD.format(self.docket.name, execution.key)

    async def _script(self, text: str, keys: list[str], args: list[Any]) -> None:
        async with self.docket.redis() as redis:
            await cast(Redis, redis).register_script(text)(keys, args)

    async def renew_leases(self) -> None:
        """Renew the leases of running tasks until cancelled; the library stops renewing them at SIGTERM."""
        while True:
            await asyncio.sleep(LEASE_S / 4)
            if held := list(self._held):
                # a lost answer must not end this loop: the library would wait for it without a limit
                with suppress(RedisError, OSError):
                    async with asyncio.timeout(LEASE_S / 4), self.docket.redis() as redis:
                        await redis.xclaim(
                            *(self.docket.stream_key, self.docket.worker_group_name, self.name, 0, held),
                            idle=0,
                            justid=True,
                        )

    async def move_due_tasks(self) -> None:
        """Let tasks that were put off run when they are due; the library would ask Redis twice a second."""
        while True:
            self._look_sooner.clear()
            self._look_at = math.inf  # a task that is put off during this look may have been missed by it
            wait_s = _LOOK_EVERY_S
            with suppress(RedisError, OSError):
                async with asyncio.timeout(LEASE_S):  # as for leases
                    wait_s = await self._move_due()
            wait_s = min(max(wait_s, _LOOK_AT_MOST_EVERY_S), _LOOK_EVERY_S)
            self._look_at = time.time() + wait_s
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._look_sooner.wait()

    async def _move_due(self) -> float:
        """Move the tasks that are due to the stream; returns the seconds until the next one is due."""
        queue_key, now = self.docket.queue_key, time.time()
        async with self.docket.redis() as redis:
            first = await redis.zrange(queue_key, 0, 0, withscores=True)
            if not first:
                return _LOOK_EVERY_S
            if (due_at := float(first[0][1])) > now:
                await self._reschedule_after_clock_rollback(redis, now)
                return due_at - now
        parked = TASK_PARKED.format(self.docket.name, "")
        await self._script(MOVE_DUE, [queue_key, self.docket.stream_key], [now, parked])
        return 0.0

    async def _reschedule_after_clock_rollback(self, redis: Any, now: float) -> None:
        """Run tasks that were put off before a clock was set back: they would wait until it catches up."""
        late = await redis.zrangebyscore(self.docket.queue_key, now + LONGEST_AHEAD_S, "+inf")
        if late:
            log.warning("a clock was set back: %d tasks that would have to wait for it run now", len(late))
            await redis.zadd(self.docket.queue_key, dict.fromkeys(late, now), xx=True)

    async def stop(self, running: asyncio.Task[None]) -> None:
        """Cancel `running`, which runs this worker, and its running tasks, which are left for redelivery.

        The library cancels them only while it waits for them; otherwise they would outlive their worker and
        keep their lease.
        """
        while not running.done():  # a cancellation that comes while another is handled may be lost
            running.cancel()
            left = list(self._tasks_by_key.values())
            for task in left:
                task.cancel()
            await asyncio.wait({running, *left}, timeout=_CANCEL_AGAIN_S)
        with suppress(asyncio.CancelledError):
            await running

    # The library's other loops would cost 40 commands a second in an idle process with five queues:

    async def _cancellation_listener(self) -> None:
        """Only report ready: no task is cancelled, and the library would listen ten times a second."""
        if self._processing_session:
            self._processing_session.cancellation_ready.set()

    async def _heartbeat(self) -> None:
        """Do nothing: `stemdrop.storage.heartbeats` does this."""

    async def _remove_heartbeat(self) -> None:
        """Do nothing: there is no heartbeat of the library."""

    async def _scheduler_loop(self, redis: Redis) -> None:
        """Do nothing: `move_due_tasks` does this."""

    async def _renew_leases(self, redis: Redis, active_messages: Any) -> None:
        """Do nothing: `renew_leases` does this."""
