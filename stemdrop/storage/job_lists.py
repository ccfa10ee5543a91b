"""`JobLists`: reads jobs and the lists of jobs; `job_store.py` has the steps that change them."""

import json
import logging
from typing import Any, cast

from stemdrop.domain.allowance import Allowance, day_of, renews_in
from stemdrop.domain.job_fields import from_fields
from stemdrop.domain.jobs import Job, JobState
from stemdrop.domain.outcomes import History, Run, Sent
from stemdrop.storage import keys
from stemdrop.storage.connection import RedisStore

log = logging.getLogger(__name__)

# How many jobs are read in one step, which blocks the process for about 20 ms.
_JOBS_A_STEP = 100

# Fields of a job's hash beside those of `domain.job_fields.encode`.
RUNS = "runs:{}"  # how often each kind of task was begun; with the suffix ":by", the last caller that counted
DELIVERY_OWNER = "delivery_token"  # the token of the run that delivers the job
RETRIED_AS = "retried_as"  # the job that 'try again' made of this one
_MORE_HISTORY = (RETRIED_AS, "further_calls", "failed_task_ids")
# Scripts use further fields: `once` is the key under which the job was added. If a provider was asked again,
# `further_calls` counts the create calls after the first that were not refused, and `failed_task_ids` and
# `other_task_ids` list tasks, each after a line break.


class JobLists(RedisStore):
    async def get(self, job_id: str) -> Job | None:
        stored = await self._redis.hgetall(keys.JOB.format(job_id))
        return from_fields(cast(dict[str, str], stored)) if stored.get("state") else None

    async def added_for(self, once: str) -> Job | None:
        """Return the job that was added under `once`."""
        job_id = await self._redis.get(keys.ONCE.format(once))
        return await self.get(str(job_id)) if job_id else None

    async def source_job(self, job_id: str) -> Job | None:
        """Return the job; for a deleted one, the job that waits for its result or has taken over its task."""
        while (job := await self.get(job_id)) is None:
            heirs = cast(list[str], await self._redis.zrange(keys.WAITING.format(job_id), 0, 0))
            if not heirs:
                return None
            job_id = heirs[0]
        return job

    async def beginning(self, prefix: str) -> list[str]:
        """Return the ids of all jobs that begin with these hexadecimal digits; scans all keys."""
        found: set[str] = set()
        async for key in self._redis.scan_iter(match=keys.JOB.format(f"{prefix}*"), count=1000):
            found.add(str(key).removeprefix(keys.JOB.format("")).partition(":")[0])
        return sorted(found)

    async def history(self, job_id: str) -> History:
        """Return what is stored of the job beside its attributes; the history of an unknown job is empty."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.hmget(keys.JOB.format(job_id), [*(RUNS.format(kind) for kind in Run), *_MORE_HISTORY])
            pipeline.zscore(keys.OPEN, job_id)
            (*counters, retried_as, further, failed), opened_at = await pipeline.execute()
        runs = {kind: int(count) for kind, count in zip(Run, counters, strict=True) if count}
        have_failed = (failed or "").count("\n") > int(further or 0)
        return History(runs, retried_as or "", opened_at is not None, have_failed)

    async def sent(self, job_id: str) -> dict[str, Sent]:
        """Return the stems that are in the chat already: stem key → message."""
        return await self._read_sent(keys.SENT.format(job_id))

    async def packed(self, job_id: str) -> dict[str, Sent]:
        """Return the archives and voice messages that were sent: name → message."""
        return await self._read_sent(keys.PACKED.format(job_id))

    async def runs(self, job_id: str, kind: Run) -> int:
        return int(await self._redis.hget(keys.JOB.format(job_id), RUNS.format(kind)) or 0)

    async def owns_delivery(self, job_id: str, token: str) -> bool:
        """Whether the job is still being delivered, and no later run has begun to deliver it."""
        state, owner = await self._redis.hmget(keys.JOB.format(job_id), ["state", DELIVERY_OWNER])
        return state == JobState.DELIVERING and owner == token

    async def place(self, job: Job) -> int:
        """Return the job's place in its account's queue: 1 is next; 0: the job is not in it."""
        rank = await self._redis.zrank(keys.QUEUE.format(job.account), job.id)
        return 0 if rank is None else cast(int, rank) + 1

    async def allowance(self, account: int, limit: int) -> Allowance:
        """Return what this account has spent or holds today, with its `limit` (0: none)."""
        now = self._clock()
        values = await self._redis.hvals(keys.SPENT.format(account, day_of(now)))
        return Allowance(sum(int(str(value)) for value in values), limit, renews_in(now))

    # Lists

    async def open_jobs(self) -> list[Job]:
        """Return all jobs that are not closed, longest unmoved first."""
        ids = cast(list[str], await self._redis.zrange(keys.OPEN, 0, -1))
        return await self._get_all(keys.OPEN, ids)

    async def failed_jobs(self, limit: int = 20) -> list[Job]:
        """Return the last jobs that failed and were not tried again, over all accounts, newest first."""
        return await self._last(keys.FAILED, limit)

    async def incomplete_jobs(self, limit: int = 20) -> list[Job]:
        """Return the last jobs that were delivered without some stems, over all accounts, newest first."""
        return await self._last(keys.INCOMPLETE, limit)

    async def delivered_jobs(self, limit: int = 20) -> list[Job]:
        """Return the last jobs that were delivered, over all accounts, newest first."""
        return await self._last(keys.DELIVERED, limit)

    async def obstructed_jobs(self, chat_id: int) -> list[Job]:
        """Return the jobs that failed because their stems could not be sent to this chat, the last first."""
        return await self._last(keys.OBSTRUCTED.format(chat_id), None)

    async def ids_of(self, account: int) -> list[str]:
        """Return the ids of one account's jobs, also of those that cannot be read."""
        return cast(list[str], await self._redis.zrange(keys.OF_ACCOUNT.format(account), 0, -1))

    async def jobs_of(self, account: int, limit: int | None = None) -> list[Job]:
        """Return one account's jobs, newest first, at most `limit` (default: all)."""
        return await self._last(keys.OF_ACCOUNT.format(account), limit)

    async def late_jobs(self, limit: int) -> list[Job]:
        """Return jobs that ran out of time and are to be polled now, the longest due first."""
        ids = await self._redis.zrangebyscore(keys.LATE, "-inf", self._clock(), start=0, num=limit)
        return await self._get_all(keys.LATE, cast(list[str], ids))

    async def ask_later(self, job_id: str, at: float | None) -> None:
        """Set when a late job is polled again, in Unix seconds; `None`: never."""
        if at is None:
            await self._redis.zrem(keys.LATE, job_id)
        else:
            await self._redis.zadd(keys.LATE, {job_id: at}, xx=True)

    async def dismiss(self, job_id: str) -> bool:
        """Remove a job from the lists of failed and incomplete jobs. False: it was on neither."""
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.zrem(keys.FAILED, job_id)
            pipeline.zrem(keys.INCOMPLETE, job_id)
            return any(await pipeline.execute())

    async def _read_sent(self, key: str) -> dict[str, Sent]:
        stored = await cast(Any, self._redis.hgetall(key))
        return {name: Sent(**json.loads(value)) for name, value in stored.items()}

    async def _last(self, index: str, limit: int | None) -> list[Job]:
        ids = cast(list[str], await self._redis.zrange(index, 0, (limit or 0) - 1, desc=True))
        return await self._get_all(index, ids)

    async def _get_all(self, index: str, ids: list[str]) -> list[Job]:
        """Return these jobs; remove the ids of expired jobs from `index`."""
        jobs: list[Job] = []
        for first in range(0, len(ids), _JOBS_A_STEP):
            step = ids[first : first + _JOBS_A_STEP]
            async with self._redis.pipeline(transaction=False) as pipeline:
                for job_id in step:
                    pipeline.hgetall(keys.JOB.format(job_id))
                found = cast(list[dict[str, str]], await pipeline.execute())
                if expired := [it for it, stored in zip(step, found, strict=True) if not stored.get("state")]:
                    await self._redis.zrem(index, *expired)
            jobs += [job for stored in found if stored.get("state") and (job := read_job(stored))]
        return jobs


def read_job(stored: dict[str, str]) -> Job | None:
    """Decode a job; log it and return `None` when that fails, as with a job of a newer version."""
    try:
        return from_fields(stored)
    except (KeyError, TypeError, ValueError) as error:
        log.error("job %s cannot be read: %s: %s", stored.get("id"), type(error).__name__, error)
        return None
