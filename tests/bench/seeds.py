"""Jobs by the hundred, in the state that is to be measured, made by the store's own steps."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

from builders import make_job

from stemdrop.domain.jobs import Job, Mode
from stemdrop.storage.job_store import JobStore

T = TypeVar("T")

_AT_ONCE = 32


async def each(items: Iterable[T], do: Callable[[T], Awaitable[object]]) -> None:
    """For all of them, some at once."""
    slots = asyncio.Semaphore(_AT_ONCE)

    async def one(item: T) -> None:
        async with slots:
            await do(item)

    async with asyncio.TaskGroup() as group:
        for item in items:
            group.create_task(one(item))


async def separating(store: JobStore, of: Sequence[dict[str, Any]]) -> list[Job]:
    """Jobs whose create call was accepted, of different users, with these attributes; the task of each is
    `task_of`."""
    jobs = [
        make_job(**{"chat_id": user, "user_id": user, "account": user} | attributes)
        for user, attributes in enumerate(of, 20_000_001)
    ]

    async def accept(job: Job) -> None:
        await store.add(job, job.id)
        await store.pick(job, Mode.SEPARATE_VOCAL, "", 0)
        await store.begin_create(job.id)
        await store.accept(job.id, task_of(job))

    await each(jobs, accept)
    return jobs


def task_of(job: Job) -> str:
    """As long as the provider's are."""
    return job.id * 2
