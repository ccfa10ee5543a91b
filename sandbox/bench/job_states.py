"""Follows the jobs in stemdrop's Redis: its events name the jobs that change, and `JobLists` reads them."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import TypeVar

from redis.asyncio import Redis
from redis.exceptions import RedisError

from sandbox.bench.records import RecordKind, Records
from stemdrop.errors import StoreUnavailable
from stemdrop.storage.connection import connect
from stemdrop.storage.job_lists import JobLists
from stemdrop.storage.keys import JOB

_T = TypeVar("_T")
_MOST_JOBS = 200
_PAUSE_S = 2.0
_WAIT_S = 3.0  # less than the client's timeout
# Events of hashes, by key (redis.io/docs/latest/develop/pubsub/keyspace-notifications).
_SETTING, _EVENTS, _CHANNELS = "notify-keyspace-events", "Kh", "__keyspace@*__:"


@dataclass
class ShownJob:
    """A job and its messages, as the bench shows them. `number` is that of the last change, see `Records`.

    `states` are the job's states since the sandbox follows it, the present one at the end.
    """

    id: str
    number: int = 0
    chat_id: int = 0
    message_id: int = 0
    title: str = ""
    mode: str = ""
    failure: str = ""
    task_ids: list[str] = field(default_factory=list)
    message_ids: list[int] = field(default_factory=list)
    states: list[str] = field(default_factory=list)


class JobStates:
    """Records each state of the jobs, and keeps the latest jobs. `problem` says why that fails."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._jobs: OrderedDict[str, ShownJob] = OrderedDict()
        self.problem = ""
        self.is_following = asyncio.Event()

    def after(self, number: int) -> list[ShownJob]:
        """Return the jobs that have changed since that number, the last one at the end."""
        return [job for job in self._jobs.values() if job.number > number]

    async def follow(self, redis_url: str) -> None:
        """Follow the jobs until cancelled; a Redis that cannot be reached is tried again."""
        while True:
            try:
                async with connect(redis_url) as redis:
                    # the whole server has one setting, so the events that others have asked for are kept
                    others = (await redis.config_get(_SETTING)).get(_SETTING, "")
                    await redis.config_set(_SETTING, f"{others}{_EVENTS}")
                    await self._listen(redis)
            except (RedisError, StoreUnavailable, OSError) as error:
                self.is_following.clear()
                self._tell(str(error) or type(error).__name__)
                await asyncio.sleep(_PAUSE_S)

    async def _listen(self, redis: Redis) -> None:
        jobs, prefix = JobLists(redis), JOB.format("")
        async with redis.pubsub() as events:
            await events.psubscribe(f"{_CHANNELS}{prefix}*")
            for job in await jobs.open_jobs():
                await self._read(jobs, job.id)
            while True:
                event = await events.get_message(timeout=_WAIT_S)
                if event is None:
                    continue
                if event["type"] == "psubscribe":
                    self._tell("")
                    self.is_following.set()
                else:
                    await self._read(jobs, str(event["channel"]).partition(prefix)[2].partition(":")[0])

    def _tell(self, problem: str) -> None:
        if problem != self.problem:
            self.problem = problem
            self._records.advance()

    async def _read(self, jobs: JobLists, job_id: str) -> None:
        try:
            job = await jobs.get(job_id)
        except ValueError:  # a job of another version
            return
        if job is None:
            return
        sent = [message.message_id for message in (await jobs.sent(job_id)).values()]
        known = self._jobs.get(job_id) or ShownJob(job_id)
        now = ShownJob(
            job_id,
            known.number,
            job.chat_id,
            job.message_id,
            job.source.title,
            job.mode or "",
            job.failure.code if job.failure else "",
            _with(known.task_ids, [job.task_id]),
            _with(known.message_ids, [job.source_message_id, job.message_id, *sent]),
            known.states if known.states[-1:] == [job.state] else [*known.states, job.state.value],
        )
        if now != known:
            self._keep(now, has_moved=now.states != known.states)

    def _keep(self, job: ShownJob, *, has_moved: bool) -> None:
        if has_moved:
            shown = {"chat_id", "message_id", "title", "mode", "failure"}
            parameters = {name: value for name, value in asdict(job).items() if name in shown}
            last_task = (job.task_ids or [""])[-1]
            self._records.add(
                RecordKind.JOB, job.states[-1], parameters=parameters, job_id=job.id, task_id=last_task
            )
        job.number = self._records.advance()
        self._jobs[job.id] = job
        self._jobs.move_to_end(job.id)
        while len(self._jobs) > _MOST_JOBS:
            self._jobs.popitem(last=False)


def _with(known: list[_T], found: Iterable[_T]) -> list[_T]:
    """Return `known` with the values of `found` that are new and not empty."""
    return list(dict.fromkeys([*known, *filter(None, found)]))
