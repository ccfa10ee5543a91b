"""Guards against faults that were measured in pydocket 0.27 (pinned); each names its fault.

`stemdrop.tasks.engine` uses them; no other module uses the library.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

from docket import Docket, Worker
from docket.dependencies import current_docket, current_execution, current_worker
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

# A worker that does not renew its lease for this long is dead; its tasks are taken over within about 14 s.
LEASE_S = 10
# No task is put off for longer. One that is was put off by a clock that was set back since, and is due.
LONGEST_AHEAD_S = 900
_CLOCK_CHECK_S = 2
_CANCEL_AGAIN_S = 5


@asynccontextmanager
async def renewed_lease() -> AsyncIterator[int]:
    """Renew this task's lease while it runs; yields how often it was taken over from a dead worker.

    The library stops renewing at SIGTERM, so tasks that then run longer than the lease would run twice; and
    it redelivers a task that kills its workers without end.
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


async def reschedule_after_clock_rollback(docket: Docket) -> None:
    """Run tasks that were put off by a clock that has been set back since: they would wait for it."""
    while True:
        await asyncio.sleep(_CLOCK_CHECK_S)
        now = time.time()
        with suppress(RedisError, OSError):
            async with docket.redis() as redis:
                late = await redis.zrangebyscore(docket.queue_key, now + LONGEST_AHEAD_S, "+inf")
                if late:
                    log.warning(
                        "a clock was set back: %d tasks that would have to wait for it run now", len(late)
                    )
                    await redis.zadd(docket.queue_key, dict.fromkeys(late, now), xx=True)


def extend_redis_retries(docket: Docket) -> None:
    """Let each command wait up to a minute for a Redis that is away.

    Otherwise a worker leaves its loop and takes no new task until the last running one has ended. The library
    has no setting for it.
    """
    pool = docket._redis._connection_pool
    if pool is not None:
        pool.connection_kwargs["retry"] = Retry(ExponentialBackoff(cap=1, base=0.05), 60)


def docket_url(redis_url: str) -> str:
    """Add the options of the connection pool.

    `retry_on_timeout` gives each connection one more try after a restart of Redis; without it, finished tasks
    run again. The pool must be larger than the number of tasks that run at once (redis-py's default is 100).
    """
    separator = "&" if urlsplit(redis_url).query else "?"
    return f"{redis_url}{separator}retry_on_timeout=true&max_connections=500"


async def stop_worker(worker: Worker, running: asyncio.Task[None]) -> None:
    """Cancel `running`, which runs the worker, and the tasks that still run: they are left for redelivery.

    The library cancels them only while it waits for them; otherwise they would outlive their worker and keep
    their lease.
    """
    while not running.done():  # a cancellation that comes while another is handled may be lost
        running.cancel()
        left = list(worker._tasks_by_key.values())
        for task in left:
            task.cancel()
        await asyncio.wait({running, *left}, timeout=_CANCEL_AGAIN_S)
    with suppress(asyncio.CancelledError):
        await running
