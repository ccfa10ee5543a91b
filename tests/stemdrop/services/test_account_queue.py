"""An account's queue: a few jobs run, the others wait in order, and every end starts the next."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from builders import CHAT, TASK, Clock, make_job, make_result
from redis.asyncio import Redis

from stemdrop.domain.jobs import Failure, Job, JobState, Mode
from stemdrop.domain.outcomes import Picked
from stemdrop.domain.results import Result
from stemdrop.services.account_queue import AccountQueue
from stemdrop.storage.job_store import MAX_IN_FLIGHT, JobStore
from stemdrop.storage.keys import FLIGHT, JOB, QUEUE
from stemdrop.tasks.engine import Engine, Queue, Task

WAITING = (JobState.SUBMITTING, JobState.SEPARATING)


@pytest.fixture
async def engine(redis_url: str) -> AsyncIterator[Engine]:
    async with Engine(redis_url) as running:
        yield running


async def pick(store: JobStore, clock: Clock, account: int = CHAT) -> Job:
    job = make_job(account=account, mode=None)
    await store.add(job, once=f"song:{job.id}")
    clock.advance(1)
    await store.pick(job, Mode.SEPARATE_VOCAL, "", limit=0)
    return job


async def line(store: JobStore, clock: Clock, count: int, account: int = CHAT) -> list[Job]:
    """Pick this many jobs one after the other."""
    return [await pick(store, clock, account) for _ in range(count)]


async def states(store: JobStore, jobs: list[Job]) -> list[str]:
    found = [await store.get(job.id) for job in jobs]
    return [job.state if job else "gone" for job in found]


async def test_three_jobs_run_and_the_others_wait_in_order(store: JobStore, clock: Clock) -> None:
    jobs = await line(store, clock, MAX_IN_FLIGHT + 3)
    assert await states(store, jobs) == ["submitting"] * MAX_IN_FLIGHT + ["queued"] * 3
    assert [await store.place(job) for job in jobs] == [0] * MAX_IN_FLIGHT + [1, 2, 3]
    assert await store.promote(CHAT) == []
    for expected in jobs[MAX_IN_FLIGHT:]:
        await store.cancel(jobs.pop(0).id)
        assert await store.promote(CHAT) == [expected.id]
        assert await store.promote(CHAT) == []


async def test_of_50_songs_at_once_three_begin(store: JobStore, clock: Clock) -> None:
    jobs = [make_job(mode=None) for _ in range(50)]
    await asyncio.gather(*(store.add(job, once=job.id) for job in jobs))
    outcomes = await asyncio.gather(*(store.pick(job, Mode.SPLIT_STEM, "", 0) for job in jobs))
    assert [outcome for outcome, _ in outcomes].count(Picked.STARTED) == MAX_IN_FLIGHT
    assert sorted([await store.place(job) for job in jobs])[MAX_IN_FLIGHT:] == list(
        range(1, 51 - MAX_IN_FLIGHT)
    )


async def test_a_new_job_does_not_overtake_waiting_ones(store: JobStore, clock: Clock) -> None:
    """There is room, but the queued job was first."""
    jobs = await line(store, clock, MAX_IN_FLIGHT + 1)
    await store.cancel(jobs[0].id)
    late = await pick(store, clock)
    assert await store.place(late) == 2
    assert await store.promote(CHAT) == [jobs[-1].id]
    assert await store.place(late) == 1


async def test_two_accounts_do_not_wait_for_each_other(store: JobStore, clock: Clock) -> None:
    await line(store, clock, 10)
    others = await line(store, clock, MAX_IN_FLIGHT + 1, account=CHAT + 1)
    assert (await states(store, others)).count("submitting") == MAX_IN_FLIGHT
    await store.cancel(others[0].id)
    assert await store.promote(CHAT) == []
    assert await store.promote(CHAT + 1) == [others[-1].id]


End = Callable[[JobStore, Job], Awaitable[object]]


async def is_delivered(store: JobStore, job: Job) -> None:
    await store.begin_create(job.id)
    await store.accept(job.id, TASK)
    await store.receive(job.id, CHAT, TASK, make_result())
    await store.move(job.id, [JobState.DELIVERING], JobState.DELIVERED)


async def is_explained(store: JobStore, job: Job) -> None:
    await store.begin_create(job.id)
    await store.receive(job.id, CHAT, TASK, Result(500))
    await store.fail(job.id, [JobState.DELIVERING], Failure("500", charged=True))


async def is_timed_out(store: JobStore, job: Job) -> None:
    await store.begin_create(job.id)
    await store.accept(job.id, TASK)
    await store.fail(job.id, WAITING, Failure("timeout", charged=True))


ENDS: dict[str, End] = {
    "cancelled": lambda store, job: store.cancel(job.id),
    "refused": lambda store, job: store.fail(job.id, WAITING, Failure("402")),
    "timed out": is_timed_out,
    "delivered": is_delivered,
    "explained": is_explained,
    "forgotten": lambda store, job: store.forget(job.id),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
async def test_after_every_end_the_next_begins(store: JobStore, clock: Clock, end: End) -> None:
    jobs = await line(store, clock, MAX_IN_FLIGHT + 2)
    await end(store, jobs[1])
    assert await store.promote(CHAT) == [jobs[MAX_IN_FLIGHT].id]
    assert await states(store, jobs[MAX_IN_FLIGHT:]) == ["submitting", "queued"]


async def test_an_expired_job_does_not_block_the_queue(store: JobStore, clock: Clock, redis: Redis) -> None:
    jobs = await line(store, clock, MAX_IN_FLIGHT + 3)
    for gone in (jobs[0], jobs[1], jobs[MAX_IN_FLIGHT]):
        await redis.delete(JOB.format(gone.id))
    assert await store.promote(CHAT) == [job.id for job in jobs[-2:]]


@pytest.mark.parametrize("end", [ENDS["cancelled"], ENDS["forgotten"]])
async def test_a_job_that_leaves_the_queue_does_not_block_it(store: JobStore, clock: Clock, end: End) -> None:
    jobs = await line(store, clock, MAX_IN_FLIGHT + 3)
    first, second, third = jobs[MAX_IN_FLIGHT:]
    await end(store, first)
    await end(store, second)
    await store.cancel(jobs[0].id)
    assert await store.promote(CHAT) == [third.id]


async def test_a_job_cancelled_in_the_queue_costs_nothing(store: JobStore, clock: Clock) -> None:
    jobs = await line(store, clock, MAX_IN_FLIGHT + 1)
    assert await store.cancel(jobs[-1].id)
    assert (await store.allowance(CHAT, 0)).spent == 10 * MAX_IN_FLIGHT
    assert await store.place(jobs[-1]) == 0


async def test_a_delivering_job_counts_as_running(store: JobStore, clock: Clock) -> None:
    jobs = await line(store, clock, MAX_IN_FLIGHT + 1)
    await store.begin_create(jobs[0].id)
    await store.accept(jobs[0].id, TASK)
    assert await store.promote(CHAT) == []
    await store.receive(jobs[0].id, CHAT, TASK, make_result())
    assert await store.promote(CHAT) == []


async def test_a_late_success_counts_as_running_again(store: JobStore, clock: Clock) -> None:
    jobs = await line(store, clock, MAX_IN_FLIGHT)
    await store.begin_create(jobs[0].id)
    await store.accept(jobs[0].id, TASK)
    await store.fail(jobs[0].id, WAITING, Failure("timeout", charged=True))
    await store.receive(jobs[0].id, CHAT, TASK, make_result())
    assert await store.place(await pick(store, clock)) == 1


async def test_an_empty_queue_leaves_no_keys(store: JobStore, clock: Clock, redis: Redis) -> None:
    for job in await line(store, clock, MAX_IN_FLIGHT + 1):
        await store.cancel(job.id)
    assert await store.promote(CHAT) == []
    assert not await redis.exists(FLIGHT.format(CHAT), QUEUE.format(CHAT))


async def test_fifty_calls_for_one_end_start_one_job(store: JobStore, clock: Clock) -> None:
    jobs = await line(store, clock, MAX_IN_FLIGHT + 5)
    await store.cancel(jobs[0].id)
    begun = await asyncio.gather(*(store.promote(CHAT) for _ in range(50)))
    assert [ids for ids in begun if ids] == [[jobs[MAX_IN_FLIGHT].id]]


async def test_a_promoted_job_is_submitted_once(store: JobStore, clock: Clock, engine: Engine) -> None:
    jobs = await line(store, clock, MAX_IN_FLIGHT + 2)
    for job in jobs[:2]:
        await store.cancel(job.id)
    account_queue = AccountQueue(store, engine)
    for account in (CHAT, CHAT, CHAT + 1):
        await account_queue.next(account)
    last = Job.new_id()
    await engine.add(Task.SUBMIT, last, last)
    submitted, stop = [], asyncio.Event()

    async def submit(job_id: str) -> None:
        submitted.append(job_id)
        if job_id == last:
            stop.set()

    async with asyncio.timeout(120):
        await engine.work(Queue.SUBMISSIONS, {Task.SUBMIT: submit}, stop, concurrency=1)
    assert submitted == [job.id for job in jobs[MAX_IN_FLIGHT:]] + [last]
