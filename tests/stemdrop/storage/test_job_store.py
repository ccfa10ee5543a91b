"""The job store's steps under concurrency, repetition and foreign input, against a real Redis."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from builders import CHAT, TASK, Clock, make_job, make_result
from redis.asyncio import Redis

from sandbox.environment.redis_server import RedisServer
from stemdrop.domain.jobs import FINAL, Failure, Job, JobState, Mode
from stemdrop.domain.outcomes import DeliveryRun, Receipt, Run, Sent
from stemdrop.domain.results import Result
from stemdrop.errors import StoreClosed, StoreRefused, StoreUnavailable, TryLater
from stemdrop.storage import record_scripts
from stemdrop.storage.connection import connect, retry_until_stored
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.keys import (
    FAILED,
    JOB,
    JOB_LIFETIME_S,
    LATE,
    OF_ACCOUNT,
    ONCE,
    OPEN,
    PACKED,
    SENDING,
    SENT,
    SPENT,
    SPENT_OF,
)
from stemdrop.storage.keys import TASK as TASK_KEY

CALLERS = 50
WAITING = (JobState.SUBMITTING, JobState.SEPARATING)


async def add(store: JobStore, state: JobState = JobState.CHOOSING, **changes: Any) -> Job:
    """Store a job in this state."""
    job = make_job(state=state, **changes)
    assert await store.add(job, once=f"message:{job.id}") == job.id
    return job


async def added_and_asked(store: JobStore, **changes: Any) -> Job:
    """Store a job whose create call has begun."""
    job = await add(store, JobState.SUBMITTING, **changes)
    assert await store.begin_create(job.id)
    return job


async def state_of(store: JobStore, job: Job) -> JobState:
    found = await store.get(job.id)
    assert found
    return found.state


async def all_at_once(*calls: Coroutine[Any, Any, Any]) -> list[Any]:
    return list(await asyncio.gather(*calls))


# Adding


async def begun(store: JobStore, job: Job) -> DeliveryRun:
    run = await store.begin_delivery(job.id)
    assert run
    return run


async def test_the_latest_delivery_run_owns_the_job(store: JobStore) -> None:
    job = await add(store, JobState.DELIVERING)
    first = await begun(store, job)
    assert await store.owns_delivery(job.id, first.token)
    second = await begun(store, job)
    assert [(run.number, run.broken) for run in (first, second)] == [(1, 1), (2, 2)]
    assert not await store.owns_delivery(job.id, first.token)
    assert await store.fail(job.id, [JobState.DELIVERING], Failure("undeliverable"))
    assert not await store.owns_delivery(job.id, second.token)
    assert await store.begin_delivery(job.id) is None
    assert await store.deliver_again(job.id)
    third = await begun(store, job)
    assert [await store.owns_delivery(job.id, run.token) for run in (first, second, third)] == [
        False,
        False,
        True,
    ]
    await store.forget(job.id)
    assert await store.begin_delivery(job.id) is None
    assert not await store.owns_delivery(job.id, third.token)


async def test_keys_that_lead_to_a_job_live_as_long_as_the_job(store: JobStore, redis: Redis) -> None:
    """Otherwise `/jobs` and `/delete` would miss the job, and its message would start another one."""
    job = make_job()
    await store.add(job, once="message")
    leading = [OF_ACCOUNT.format(job.account), ONCE.format("message")]
    for key in (*leading, JOB.format(job.id)):
        await redis.expire(key, 100)
    await store.set(job.id, message_id=5)
    assert [await redis.ttl(key) for key in (*leading, JOB.format(job.id))] == [JOB_LIFETIME_S] * 3


@pytest.mark.parametrize("step", ["set", "tick", "tick_packed"])
async def test_the_records_of_what_was_sent_live_as_long_as_the_job(
    store: JobStore, redis: Redis, step: str
) -> None:
    """Otherwise a delivered song would be one of which no stem has arrived."""
    job, sent = await add(store), {"vocals": Sent(1, "a", "b")}
    steps = {
        "set": lambda: store.set(job.id, message_id=5),
        "tick": lambda: store.tick(job.id, sent),
        "tick_packed": lambda: store.tick_packed(job.id, sent),
    }
    keys = [key.format(job.id) for key in (JOB, SENT, PACKED)]
    await redis.expire(JOB.format(job.id), JOB_LIFETIME_S - 100)
    await store.tick(job.id, sent)
    await store.tick_packed(job.id, sent)
    assert max([await redis.ttl(key) for key in keys]) <= JOB_LIFETIME_S - 100
    for key in keys:
        await redis.expire(key, 100)
    await steps[step]()
    assert min([await redis.ttl(key) for key in keys]) > JOB_LIFETIME_S - 100


async def test_a_new_job_is_stored_with_its_times(store: JobStore, clock: Clock) -> None:
    job = await add(store)
    assert await store.get(job.id) == replace(job, created_at=clock.now, moved_at=clock.now)


async def test_an_unknown_job_is_none(store: JobStore) -> None:
    assert await store.get("0123456789abcdef") is None
    assert await store.sent("0123456789abcdef") == {}
    assert await store.open_jobs() == []
    assert await store.jobs_of(CHAT) == []


async def test_only_one_of_50_jobs_for_one_message_is_stored(store: JobStore) -> None:
    jobs = [make_job(state=JobState.SUBMITTING) for _ in range(CALLERS)]
    holders = await all_at_once(*(store.add(job, once="message:1") for job in jobs))
    assert len(set(holders)) == 1
    assert [job.id for job in await store.open_jobs()] == [holders[0]]
    assert [job.id for job in await store.jobs_of(CHAT)] == [holders[0]]
    assert [job.id for job in jobs if await store.get(job.id)] == [holders[0]]


async def test_other_messages_make_other_jobs(store: JobStore) -> None:
    jobs = [make_job() for _ in range(5)]
    assert [await store.add(job, once=f"message:{job.id}") for job in jobs] == [job.id for job in jobs]


async def test_every_key_expires(store: JobStore, redis: Redis) -> None:
    job = await added_and_asked(store)
    await store.receive(job.id, CHAT, TASK, make_result())
    await store.tick(job.id, {"vocals": Sent(1, "a", "b")})
    cached = {key async for key in redis.scan_iter("stemdrop:job:*")} | {TASK_KEY.format(TASK)}
    cached |= {key async for key in redis.scan_iter("stemdrop:once:*")}
    cached |= {key async for key in redis.scan_iter("stemdrop:account:*:jobs")}
    assert len(cached) == 5
    for key in cached:
        assert 0 < await redis.ttl(key) <= JOB_LIFETIME_S, key


# Moving


async def test_only_one_of_50_moves_succeeds(store: JobStore) -> None:
    job = await add(store)
    moves = await all_at_once(
        *(
            store.move(job.id, [JobState.CHOOSING], JobState.SUBMITTING, mode=Mode.SPLIT_STEM)
            for _ in range(CALLERS)
        )
    )
    assert moves.count(True) == 1
    assert await state_of(store, job) is JobState.SUBMITTING


async def test_only_one_of_a_pick_and_a_cancel_succeeds(store: JobStore) -> None:
    job = await add(store)
    picks = [store.move(job.id, [JobState.CHOOSING], JobState.SUBMITTING) for _ in range(CALLERS // 2)]
    cancels = [store.move(job.id, [JobState.CHOOSING], JobState.CANCELLED) for _ in range(CALLERS // 2)]
    won = await all_at_once(*(call for pair in zip(cancels, picks, strict=True) for call in pair))
    assert won.count(True) == 1
    assert (await state_of(store, job) is JobState.CANCELLED) is any(won[::2])


async def test_changes_are_written_with_the_move_or_not_at_all(store: JobStore, clock: Clock) -> None:
    job = await add(store)
    clock.advance(5)
    assert await store.move(job.id, [JobState.CHOOSING], JobState.SUBMITTING, mode=Mode.SPLIT_STEM)
    assert not await store.move(job.id, [JobState.CHOOSING], JobState.SUBMITTING, mode=Mode.SEPARATE_VOCAL)
    found = await store.get(job.id)
    assert found
    assert (found.mode, found.moved_at) == (Mode.SPLIT_STEM, clock.now)


@pytest.mark.parametrize("state", sorted(FINAL))
async def test_a_job_that_has_ended_is_not_moved(store: JobStore, state: JobState) -> None:
    job = await add(store, state, failure=Failure("500"))
    assert not await store.move(job.id, set(JobState) - FINAL, JobState.SUBMITTING)
    assert await state_of(store, job) is state


async def test_states_are_compared_as_whole_words(store: JobStore) -> None:
    job = await add(store, JobState.DELIVERED)
    assert not await store.move(job.id, [JobState.DELIVERING], JobState.FAILED)
    assert not await store.move(job.id, [], JobState.FAILED)


async def test_no_step_creates_an_unknown_job(store: JobStore, redis: Redis) -> None:
    assert not await store.move("unknown", list(JobState), JobState.FAILED)
    assert not await store.begin_create("unknown")
    assert await store.accept("unknown", TASK) is Receipt.UNKNOWN
    assert await store.receive("unknown", CHAT, TASK, make_result()) is Receipt.UNKNOWN
    await store.set("unknown", message_id=1)
    assert not await redis.exists(JOB.format("unknown"), TASK_KEY.format(TASK), OPEN)


async def test_a_failure_is_stored_with_its_reason(store: JobStore) -> None:
    job = await added_and_asked(store)
    wins = await all_at_once(*(store.fail(job.id, WAITING, Failure(str(n), None)) for n in range(CALLERS)))
    found = await store.get(job.id)
    assert wins.count(True) == 1
    assert found
    assert found.failure == Failure(str(wins.index(True)), None)


# The create call


async def test_the_create_call_is_begun_once(store: JobStore) -> None:
    """Not even two callers at the same moment (the clock stands still) may call: each call is paid."""
    job = await add(store, JobState.SUBMITTING)
    begun = await all_at_once(*(store.begin_create(job.id) for _ in range(CALLERS)))
    assert len([call for call in begun if call]) == 1
    assert not await store.begin_create(job.id)


@pytest.mark.parametrize("state", sorted(set(JobState) - {JobState.SUBMITTING}))
async def test_only_a_submitted_job_may_begin_the_create_call(store: JobStore, state: JobState) -> None:
    job = await add(store, state, failure=Failure("500"))
    assert not await store.begin_create(job.id)


async def test_a_cancel_and_a_create_call_at_once_are_both_stored(store: JobStore) -> None:
    job = await add(store, JobState.SUBMITTING)
    cancelled, begun = await all_at_once(
        store.move(job.id, [JobState.SUBMITTING], JobState.CANCELLED), store.begin_create(job.id)
    )
    assert cancelled
    found = await store.get(job.id)
    assert found
    assert bool(found.create_started_at) is bool(begun)


async def test_accepting_moves_the_job_once(store: JobStore) -> None:
    job = await added_and_asked(store)
    receipts = await all_at_once(*(store.accept(job.id, TASK) for _ in range(CALLERS)))
    assert receipts.count(Receipt.STORED) == 1
    assert set(receipts) == {Receipt.STORED, Receipt.REPEATED}
    assert await state_of(store, job) is JobState.SEPARATING


async def test_a_second_task_is_foreign(store: JobStore) -> None:
    job = await added_and_asked(store)
    await store.accept(job.id, TASK)
    assert await store.accept(job.id, "other") is Receipt.FOREIGN


# Receiving


async def test_a_result_after_the_answer_is_stored(store: JobStore) -> None:
    job = await added_and_asked(store)
    assert await store.accept(job.id, TASK) is Receipt.STORED
    assert await store.receive(job.id, CHAT, TASK, make_result()) is Receipt.STORED
    found = await store.get(job.id)
    assert found
    assert (found.state, found.task_id, found.result) == (JobState.DELIVERING, TASK, make_result())


async def test_a_result_before_the_answer_is_stored(store: JobStore) -> None:
    """The callback is quicker than the create call's answer."""
    job = await added_and_asked(store)
    assert await store.receive(job.id, CHAT, TASK, make_result()) is Receipt.STORED
    assert await store.accept(job.id, TASK) is Receipt.REPEATED
    assert await state_of(store, job) is JobState.DELIVERING


async def test_answers_and_results_at_once_are_stored_once(store: JobStore) -> None:
    job = await added_and_asked(store)
    calls = [
        call
        for _ in range(CALLERS // 2)
        for call in (store.accept(job.id, TASK), store.receive(job.id, CHAT, TASK, make_result()))
    ]
    receipts = await all_at_once(*calls)
    assert receipts[1::2].count(Receipt.STORED) == 1
    assert receipts[::2].count(Receipt.STORED) <= 1
    assert await state_of(store, job) is JobState.DELIVERING


async def test_a_callback_100_times_is_stored_once(store: JobStore) -> None:
    job = await added_and_asked(store)
    receipts = await all_at_once(*(store.receive(job.id, CHAT, TASK, make_result()) for _ in range(100)))
    assert (receipts.count(Receipt.STORED), receipts.count(Receipt.REPEATED)) == (1, 99)


async def test_a_known_result_costs_no_write(store: JobStore, redis: Redis) -> None:
    job = await added_and_asked(store)
    await store.accept(job.id, TASK)

    async def receive(chat_id: int = CHAT, task_id: str = TASK, result: Result | None = None) -> Receipt:
        return await store.receive(job.id, chat_id, task_id, result or make_result(), adds_delivery=True)

    assert await receive() is Receipt.STORED
    for state in (JobState.DELIVERING, JobState.DELIVERED):
        before = await changes(redis)
        assert await receive() is Receipt.REPEATED
        assert await changes(redis) == before
        assert await receive(chat_id=CHAT + 1) is Receipt.FOREIGN
        assert await receive(task_id="other") is Receipt.FOREIGN
        assert await receive(result=make_result("drums")) is Receipt.REPEATED
        assert await receive(result=Result(500)) is Receipt.REPEATED
        found = await store.get(job.id)
        assert found
        assert (found.state, found.result) == (state, make_result())
        await store.move(job.id, [JobState.DELIVERING], JobState.DELIVERED)


async def changes(redis: Redis) -> int:
    """Return how many writes there were."""
    return int((await redis.info("persistence"))["rdb_changes_since_last_save"])


async def test_only_one_of_many_results_is_stored(store: JobStore) -> None:
    job = await added_and_asked(store)
    results = [make_result(f"stem{number}") for number in range(CALLERS)]
    receipts = await all_at_once(*(store.receive(job.id, CHAT, TASK, result) for result in results))
    found = await store.get(job.id)
    assert found
    assert receipts.count(Receipt.STORED) == 1
    assert found.result == results[receipts.index(Receipt.STORED)]


@pytest.mark.parametrize("chat_id", [CHAT + 1, -CHAT, 0])
async def test_a_result_for_another_chat_is_foreign(store: JobStore, chat_id: int) -> None:
    job = await added_and_asked(store)
    assert await store.receive(job.id, chat_id, TASK, make_result()) is Receipt.FOREIGN
    await assert_untouched(store, job)


async def test_a_result_of_another_task_is_foreign(store: JobStore) -> None:
    job = await added_and_asked(store)
    await store.accept(job.id, TASK)
    assert await store.receive(job.id, CHAT, "other", make_result()) is Receipt.FOREIGN
    assert await state_of(store, job) is JobState.SEPARATING


async def test_a_result_of_another_jobs_task_is_foreign(store: JobStore) -> None:
    theirs, mine = await added_and_asked(store), await added_and_asked(store)
    await store.accept(theirs.id, TASK)
    assert await store.receive(mine.id, CHAT, TASK, make_result()) is Receipt.FOREIGN
    await assert_untouched(store, mine)


@pytest.mark.parametrize("state", [JobState.CHOOSING, JobState.SUBMITTING])
async def test_a_result_before_the_create_call_is_foreign(store: JobStore, state: JobState) -> None:
    job = await add(store, state)
    assert await store.receive(job.id, CHAT, TASK, make_result()) is Receipt.FOREIGN
    await assert_untouched(store, job, state)


async def assert_untouched(store: JobStore, job: Job, state: JobState = JobState.SUBMITTING) -> None:
    found = await store.get(job.id)
    assert found
    assert (found.state, found.task_id, found.result) == (state, "", None)


@pytest.mark.parametrize("state", [JobState.DELIVERED, JobState.CANCELLED])
async def test_a_callback_after_the_end_changes_nothing(store: JobStore, state: JobState) -> None:
    job = await added_and_asked(store)
    await store.move(job.id, WAITING, state)
    assert await store.receive(job.id, CHAT, TASK, make_result()) is Receipt.REPEATED
    assert await state_of(store, job) is state


async def test_a_success_after_the_failure_is_delivered(store: JobStore) -> None:
    job = await added_and_asked(store)
    await store.accept(job.id, TASK)
    await store.fail(job.id, WAITING, Failure("timeout", None))
    await store.close(job.id)
    assert await store.receive(job.id, CHAT, TASK, make_result()) is Receipt.STORED
    assert await state_of(store, job) is JobState.DELIVERING
    assert [found.id for found in await store.open_jobs()] == [job.id]


async def test_a_failure_after_the_failure_changes_nothing(store: JobStore) -> None:
    job = await added_and_asked(store)
    await store.fail(job.id, WAITING, Failure("timeout", None))
    assert await store.receive(job.id, CHAT, TASK, Result(500)) is Receipt.REPEATED
    assert await state_of(store, job) is JobState.FAILED


async def test_a_success_after_a_retry_changes_nothing(store: JobStore) -> None:
    job = await added_and_asked(store)
    await store.fail(job.id, WAITING, Failure("timeout", None))
    await store.mark_retried(job.id, Job.new_id())
    assert await store.receive(job.id, CHAT, TASK, make_result()) is Receipt.REPEATED
    assert await state_of(store, job) is JobState.FAILED


async def test_stems_of_a_retried_job_do_not_wait_for_their_chat(store: JobStore) -> None:
    """Those of the new job are sent; otherwise the chat would get both when it takes stems again."""
    job = await added_and_asked(store)
    await store.receive(job.id, CHAT, TASK, make_result())
    await store.fail(job.id, [JobState.DELIVERING], Failure("no_rights", charged=True))
    assert [it.id for it in await store.obstructed_jobs(CHAT)] == [job.id]
    await store.mark_retried(job.id, Job.new_id())
    assert await store.obstructed_jobs(CHAT) == []


async def test_a_failure_is_received_as_a_result(store: JobStore) -> None:
    job = await added_and_asked(store)
    assert await store.receive(job.id, CHAT, TASK, Result(531)) is Receipt.STORED
    found = await store.get(job.id)
    assert found
    assert (found.state, found.result) == (JobState.DELIVERING, Result(531))


async def test_a_group_that_migrated_still_receives_by_its_old_link(store: JobStore) -> None:
    old, new = -1_000_001, -1_001_000_002
    job = await added_and_asked(store, chat_id=old)
    await store.migrate(job, new)
    assert await store.receive(job.id, -1_000_002, TASK, make_result()) is Receipt.FOREIGN
    assert await store.receive(job.id, old, TASK, make_result()) is Receipt.STORED
    found = await store.get(job.id)
    assert found
    assert (found.chat_id, found.state) == (new, JobState.DELIVERING)
    assert await store.receive(job.id, new, TASK, make_result()) is Receipt.REPEATED


async def test_messages_of_a_group_that_migrated_are_not_those_of_the_new_one(store: JobStore) -> None:
    new = -1_001_000_002
    job = await added_and_asked(store, chat_id=-1_000_001, message_id=7)
    assert job.source_message_id
    moved = await store.migrate(job, new)
    assert (moved.chat_id, moved.message_id, moved.source_message_id) == (new, 0, 0)
    # the job has a message in the new chat when a second task migrates it
    await store.set(job.id, message_id=3)
    moved = await store.migrate(job, new)
    assert (moved.chat_id, moved.message_id) == (new, 3)


@pytest.mark.parametrize("code", ["empty", "undeliverable"])
async def test_a_repeated_success_does_not_restart_a_failed_delivery(store: JobStore, code: str) -> None:
    """The success had no stems, its chat is gone, or the operator has dropped the job."""
    job = await added_and_asked(store)
    result = Result(200) if code == "empty" else make_result()
    await store.receive(job.id, CHAT, TASK, result)
    assert await store.fail(job.id, [JobState.DELIVERING], Failure(code, charged=True))
    assert await store.receive(job.id, CHAT, TASK, result) is Receipt.REPEATED
    assert await state_of(store, job) is JobState.FAILED


async def test_stems_that_come_after_a_success_without_any_are_delivered(store: JobStore) -> None:
    job = await added_and_asked(store)
    await store.receive(job.id, CHAT, TASK, Result(200))
    assert await store.fail(job.id, [JobState.DELIVERING], Failure("empty", charged=True))
    assert await store.receive(job.id, CHAT, TASK, make_result()) is Receipt.STORED
    found = await store.get(job.id)
    assert found
    assert (found.state, found.result) == (JobState.DELIVERING, make_result())


async def test_a_result_that_comes_before_a_retry_is_delivered(store: JobStore, redis: Redis) -> None:
    job = await added_and_asked(store)
    await store.accept(job.id, TASK)
    await store.fail(job.id, WAITING, Failure("timeout", charged=True))
    assert await redis.zscore(LATE, job.id)
    assert await store.receive(job.id, CHAT, TASK, make_result()) is Receipt.STORED
    await store.mark_retried(job.id, "another")
    assert [found.id for found in await store.open_jobs()] == [job.id]
    assert (await store.history(job.id)).retried_as == ""


async def test_a_success_replaces_a_failure_that_is_being_explained(store: JobStore) -> None:
    job = await added_and_asked(store)
    await store.receive(job.id, CHAT, TASK, Result(500))
    assert await store.receive(job.id, CHAT, TASK, Result(501)) is Receipt.REPEATED
    assert await store.receive(job.id, CHAT, TASK, make_result()) is Receipt.STORED
    found = await store.get(job.id)
    assert found
    assert (found.state, found.result) == (JobState.DELIVERING, make_result())
    for late in (Result(500), make_result("drums")):
        assert await store.receive(job.id, CHAT, TASK, late) is Receipt.REPEATED
    assert await store.get(job.id) == found


@pytest.mark.parametrize("code", [2, 20, 531])
async def test_only_200_is_a_success(store: JobStore, code: int) -> None:
    job = await added_and_asked(store)
    await store.receive(job.id, CHAT, TASK, Result(code))
    assert await store.receive(job.id, CHAT, TASK, make_result()) is Receipt.STORED


# Delivering again


@pytest.mark.parametrize("state", [JobState.DELIVERED, JobState.FAILED])
async def test_delivering_again_resets_runs_and_keeps_sent_stems(
    store: JobStore, clock: Clock, state: JobState
) -> None:
    changes = {"result": make_result(), "missing": ("Bass",), "failure": Failure("undeliverable")}
    job = await add(store, state, refused=("Drums",), links=(("Piano", "https://a.b/c"),), **changes)
    await store.close(job.id)
    await store.tick(job.id, {"vocals": Sent(1, "a", "b")})
    for kind in Run:
        await store.count_run(job.id, kind)
    clock.advance(1)
    assert (await all_at_once(*(store.deliver_again(job.id) for _ in range(CALLERS)))).count(True) == 1
    found = await store.get(job.id)
    assert found
    assert (found.state, found.missing, found.failure) == (JobState.DELIVERING, (), None)
    assert (found.result, found.refused, found.links) == (job.result, job.refused, job.links)
    assert found.moved_at == clock.now
    assert [await store.count_run(job.id, kind) for kind in Run] == [1] * len(Run)
    assert await store.sent(job.id) == {"vocals": Sent(1, "a", "b")}
    assert [found.id for found in await store.open_jobs()] == [job.id]


@pytest.mark.parametrize("state", sorted(set(JobState) - {JobState.DELIVERED, JobState.FAILED}))
async def test_only_a_job_that_has_ended_is_delivered_again(store: JobStore, state: JobState) -> None:
    job = await add(store, state, missing=("Bass",))
    before = await store.get(job.id)
    assert not await store.deliver_again(job.id)
    assert await store.get(job.id) == before
    assert not await store.deliver_again("unknown")


# Delivery's memory


async def test_sent_stems_are_stored_one_by_one(store: JobStore) -> None:
    job = await add(store)
    first, second = Sent(1, "file-1", "unique-1"), Sent(2, "file-2", "unique-2")
    await all_at_once(store.tick(job.id, {"vocals": first}), store.tick(job.id, {"鼓 {x}": second}))
    await store.tick(job.id, {"vocals": first})
    assert await store.sent(job.id) == {"vocals": first, "鼓 {x}": second}


async def test_runs_are_counted_per_kind(store: JobStore) -> None:
    job = await add(store)
    counters = await all_at_once(*(store.count_run(job.id, Run.DELIVER) for _ in range(CALLERS)))
    assert sorted(counters) == list(range(1, CALLERS + 1))
    assert await store.count_run(job.id, Run.SUBMIT) == 1


async def test_a_run_can_be_uncounted(store: JobStore) -> None:
    job = await add(store)
    assert await store.count_run(job.id, Run.BROKEN_DELIVERY) == 1
    assert await store.count_run(job.id, Run.BROKEN_DELIVERY) == 2
    assert await store.count_run(job.id, Run.BROKEN_DELIVERY, by=-1) == 1
    assert await store.count_run(job.id, Run.DELIVER) == 1


async def test_counting_a_run_does_not_create_an_expired_job(store: JobStore, redis: Redis) -> None:
    await store.count_run("expired", Run.DELIVER)
    key = JOB.format("expired")
    assert not await redis.exists(key) or await redis.ttl(key) > 0


# Lists


async def test_open_jobs_are_those_longest_unmoved_first(store: JobStore, clock: Clock) -> None:
    jobs = []
    for _ in range(3):
        clock.advance(1)
        jobs.append(await add(store, JobState.SUBMITTING))
    clock.advance(1)
    await store.move(jobs[0].id, [JobState.SUBMITTING], JobState.SEPARATING)
    await store.cancel(jobs[1].id)
    await store.close(jobs[1].id)
    assert [job.id for job in await store.open_jobs()] == [jobs[2].id, jobs[0].id]


async def test_many_jobs_are_read_in_steps(
    store: JobStore, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stemdrop.storage.job_lists._JOBS_A_STEP", 10)
    jobs = [await add(store, JobState.SUBMITTING) for _ in range(25)]
    await redis.delete(JOB.format(jobs[-1].id))
    assert {job.id for job in await store.open_jobs()} == {job.id for job in jobs[:-1]}
    assert await redis.zcard(OPEN) == 24


async def test_a_job_that_has_moved_on_since_its_end_was_shown_stays_open(store: JobStore) -> None:
    job = await add(store, JobState.SEPARATING)
    assert await store.fail(job.id, [JobState.SEPARATING], Failure("500", charged=True))
    assert await store.deliver_again(job.id)
    await store.close(job.id)
    assert [found.id for found in await store.open_jobs()] == [job.id]


@pytest.mark.parametrize("state", [JobState.SUBMITTING, JobState.CANCELLED])
async def test_a_job_that_was_not_picked_is_not_open(store: JobStore, state: JobState) -> None:
    """It waits for its user, and is open from its first move on."""
    job = await add(store)
    assert await store.open_jobs() == []
    assert [found.id for found in await store.jobs_of(CHAT)] == [job.id]
    await store.move(job.id, [JobState.CHOOSING], state)
    assert [found.id for found in await store.open_jobs()] == [job.id]


async def test_expired_jobs_are_removed_from_the_open_jobs(store: JobStore, redis: Redis) -> None:
    gone, here = await add(store, JobState.SUBMITTING), await add(store, JobState.SUBMITTING)
    await redis.delete(JOB.format(gone.id))
    assert [job.id for job in await store.open_jobs()] == [here.id]
    assert await redis.zrange(OPEN, 0, -1) == [here.id]


async def test_an_accounts_jobs_are_newest_first_and_only_theirs(
    store: JobStore, clock: Clock, redis: Redis
) -> None:
    jobs = []
    for _ in range(3):
        clock.advance(1)
        jobs.append(await add(store))
    await add(store, account=CHAT + 1)
    await redis.delete(JOB.format(jobs[1].id))
    assert [job.id for job in await store.jobs_of(CHAT)] == [jobs[2].id, jobs[0].id]


async def test_expired_jobs_are_removed_from_the_list_of_an_active_account(
    store: JobStore, clock: Clock, redis: Redis
) -> None:
    gone, written = await add(store), await add(store)
    await redis.delete(JOB.format(gone.id))
    clock.advance(JOB_LIFETIME_S - 1)
    young = await add(store)
    index = OF_ACCOUNT.format(CHAT)
    assert await redis.zcard(index) == 3
    clock.advance(2)
    new = await add(store)
    # a job that was written to since has not expired and stays in the list
    assert set(await redis.zrange(index, 0, -1)) == {written.id, young.id, new.id}


async def test_an_account_with_many_jobs_gets_the_newest(store: JobStore, clock: Clock) -> None:
    jobs = []
    for _ in range(5):
        clock.advance(1)
        jobs.append(await add(store))
    assert [job.id for job in await store.jobs_of(CHAT, limit=2)] == [jobs[4].id, jobs[3].id]


@pytest.mark.parametrize(
    ("field", "value"),
    [("state", "dreaming"), ("source", "{}"), ("source", "no JSON"), ("moved_at", "soon"), ("links", "[1]")],
)
async def test_an_unreadable_job_is_skipped_and_not_deleted(
    store: JobStore, redis: Redis, caplog: pytest.LogCaptureFixture, field: str, value: str
) -> None:
    """A newer version may be able to read it, and the other jobs must be listed."""
    odd, good = await add(store, JobState.SUBMITTING), await add(store, JobState.SUBMITTING)
    await redis.hset(JOB.format(odd.id), field, value)
    assert [job.id for job in await store.open_jobs()] == [good.id]
    assert [job.id for job in await store.jobs_of(CHAT)] == [good.id]
    assert caplog.text.count(f"job {odd.id} cannot be read") == 2
    assert set(await redis.zrange(OPEN, 0, -1)) == {odd.id, good.id}


async def test_failed_jobs_of_all_accounts_are_listed_newest_first(
    store: JobStore, clock: Clock, redis: Redis
) -> None:
    jobs = []
    for number in range(4):
        clock.advance(1)
        job = await added_and_asked(store, account=CHAT + number)
        await store.fail(job.id, WAITING, Failure("timeout", charged=True))
        jobs.append(job)
    await redis.delete(JOB.format(jobs[3].id))
    assert await store.receive(jobs[1].id, CHAT, TASK, make_result()) is Receipt.STORED
    assert [job.id for job in await store.failed_jobs()] == [jobs[2].id, jobs[0].id]
    assert [job.id for job in await store.failed_jobs(limit=1)] == [jobs[2].id]
    assert set(await redis.zrange(FAILED, 0, -1)) == {jobs[2].id, jobs[0].id}


async def test_the_last_200_failed_jobs_are_listed(store: JobStore, clock: Clock, redis: Redis) -> None:
    for _ in range(205):
        clock.advance(1)
        job = await add(store, JobState.SUBMITTING)
        await store.fail(job.id, WAITING, Failure("500"))
    assert await redis.zcard(FAILED) == 200
    assert (await store.failed_jobs(limit=1))[0].id == job.id


# Forgetting


async def test_a_retried_count_counts_once(store: JobStore) -> None:
    job = await add(store)
    assert await store.count_run(job.id, Run.SUBMIT) == 1
    for caller, count in (("one", 2), ("one", 2), ("another", 3)):
        keys, args = [JOB.format(job.id)], ["runs:submit", 1, caller]
        assert await store._run(record_scripts.COUNT, keys, args) == count


async def everything(redis: Redis) -> str:
    """Return all keys and values in Redis as one text, except the counters."""
    found = []
    async for key in redis.scan_iter("*"):
        if key.startswith("stemdrop:counts"):
            continue
        match await redis.type(key):
            case "string":
                value: object = await redis.get(key)
            case "hash":
                value = await redis.hgetall(key)
            case "zset":
                value = await redis.zrange(key, 0, -1, withscores=True)
            case _:
                value = await redis.smembers(key)
        found.append(f"{key} = {value}")
    return "\n".join(sorted(found))


CHAT_OF_ITS_OWN = 77_665_544_332


@pytest.mark.parametrize("state", JobState)
async def test_a_deleted_job_leaves_nothing(store: JobStore, redis: Redis, state: JobState) -> None:
    neighbour = await added_and_asked(store)
    before = await everything(redis)
    job = make_job(state=state, chat_id=CHAT_OF_ITS_OWN, user_id=CHAT_OF_ITS_OWN, account=CHAT_OF_ITS_OWN)
    await store.add(replace(job, failure=Failure("500")), once=f"song:{CHAT_OF_ITS_OWN}:{job.id}")
    await store.tick(job.id, {"vocals": Sent(1, "a", "b")})
    await store.count_run(job.id, Run.SUBMIT)
    await store.accept(job.id, TASK)
    assert job.id in await everything(redis)
    assert await store.forget(job.id)
    assert not await store.forget(job.id)
    assert await everything(redis) == before
    assert await store.get(neighbour.id)


@pytest.mark.parametrize(("before", "is_asked", "spent"), [(0, False, 0), (0, True, 10), (3, False, 0)])
async def test_a_deleted_job_keeps_only_credits_that_may_be_charged(
    store: JobStore, redis: Redis, before: int, *, is_asked: bool, spent: int
) -> None:
    """Otherwise deleting everything would renew the day's credits; the account expires by itself."""
    for _ in range(before):  # with three under way the job waits in line
        await store.pick(await add(store, mode=None), Mode.SEPARATE_VOCAL, "", 0)
    others = (await store.allowance(CHAT, 0)).spent
    job = await add(store, mode=None)
    await store.pick(job, Mode.SEPARATE_VOCAL, "", 0)
    if is_asked:
        await store.begin_create(job.id)
    await store.forget(job.id)
    assert (await store.allowance(CHAT, 0)).spent == others + spent
    left = [line for line in (await everything(redis)).split("\n") if job.id in line]
    assert len(left) == 2 * is_asked
    assert all(line.startswith((SPENT.format(CHAT, ""), SPENT_OF.format(job.id))) for line in left)


async def test_no_step_recreates_a_deleted_job(store: JobStore, redis: Redis, clock: Clock) -> None:
    job = await add(store, mode=None)
    await store.pick(job, Mode.SEPARATE_VOCAL, "", 0)
    await store.forget(job.id)
    empty = await everything(redis)
    await store.set(job.id, message_id=5, shown_at=clock.now)
    await store.migrate(job, -1_001_000_000_001)
    await store.tick(job.id, {"vocals": Sent(1, "a", "b")})
    await store.mark_retried(job.id, "0123456789abcdef")
    assert [await store.count_run(job.id, kind) for kind in Run] == [0] * len(Run)
    await store.close(job.id)
    await store.not_accepted(job)
    assert not await store.begin_create(job.id)
    assert not await store.cancel(job.id)
    assert not await store.fail(job.id, list(JobState), Failure("500"))
    assert not await store.move(job.id, list(JobState), JobState.DELIVERED)
    assert not await store.deliver_again(job.id)
    assert await store.accept(job.id, TASK) is Receipt.UNKNOWN
    assert await store.receive(job.id, CHAT, TASK, make_result()) is Receipt.UNKNOWN
    assert await store.promote(CHAT) == []
    assert await everything(redis) == empty
    assert job.id not in empty
    assert await store.place(job) == 0


async def test_credits_of_a_deleted_job_return_when_the_api_refuses_it(store: JobStore) -> None:
    job = await add(store, mode=None)
    await store.pick(job, Mode.SEPARATE_VOCAL, "", 0)
    assert await store.begin_create(job.id)
    now = await store.get(job.id)
    assert now
    await store.cancel(job.id)
    await store.forget(job.id)
    assert (await store.allowance(CHAT, 0)).spent == 10
    await store.not_accepted(now)
    assert (await store.allowance(CHAT, 0)).spent == 0


async def test_the_task_of_a_deleted_job_is_free(store: JobStore, redis: Redis) -> None:
    job = await added_and_asked(store)
    await store.accept(job.id, TASK)
    await store.forget(job.id)
    assert not await redis.exists(TASK_KEY.format(TASK))
    other = await added_and_asked(store)
    assert await store.accept(other.id, TASK) is Receipt.STORED


async def test_the_song_of_a_deleted_job_may_be_sent_again(store: JobStore) -> None:
    first, second = make_job(), make_job()
    await store.add(first, once="song:1")
    await store.forget(first.id)
    assert await store.add(second, once="song:1") == second.id


# Redis goes away


async def every_step(store: JobStore, job: Job) -> list[object]:
    calls = (
        store.ping(),
        store.add(job, once="x"),
        store.get(job.id),
        store.set(job.id, message_id=1),
        store.move(job.id, [JobState.CHOOSING], JobState.CANCELLED),
        store.close(job.id),
        store.pick(job, Mode.SPLIT_STEM, "", limit=0),
        store.promote(CHAT),
        store.place(job),
        store.allowance(CHAT, 0),
        store.fail(job.id, [JobState.SUBMITTING], Failure("500")),
        store.cancel(job.id),
        store.mark_retried(job.id, "0123456789abcdef"),
        store.not_accepted(job),
        store.begin_create(job.id),
        store.accept(job.id, TASK),
        store.receive(job.id, CHAT, TASK, make_result()),
        store.migrate(job, 1),
        store.tick(job.id, {"vocals": Sent(1, "a", "b")}),
        store.sent(job.id),
        store.count_run(job.id, Run.DELIVER),
        store.deliver_again(job.id),
        store.open_jobs(),
        store.failed_jobs(),
        store.jobs_of(CHAT),
        store.forget(job.id),
    )
    return list(await asyncio.gather(*calls, return_exceptions=True))


async def test_every_step_raises_while_redis_is_away(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis") as server:
        async with connect(server.url) as redis:
            await redis.config_set("appendfsync", "always")  # else a busy disk loses the last moment
            store = JobStore(redis)
            job = await added_and_asked(store)
            server.kill()
            assert {type(answer) for answer in await every_step(store, job)} == {StoreUnavailable}
            server.start()
            assert await store.receive(job.id, CHAT, TASK, make_result()) is Receipt.STORED
            assert await state_of(store, job) is JobState.DELIVERING


async def test_a_full_redis_is_unavailable(tmp_path: Path) -> None:
    """A full Redis refuses writes (noeviction) and answers reads."""
    with RedisServer(tmp_path / "redis") as server:
        async with connect(server.url) as redis:
            store = JobStore(redis)
            job = await add(store)
            await redis.config_set("maxmemory", 1)
            with pytest.raises(StoreUnavailable):
                await store.ping()
            with pytest.raises(StoreUnavailable):
                await store.move(job.id, [JobState.CHOOSING], JobState.SUBMITTING)
            assert await state_of(store, job) is JobState.CHOOSING


async def test_a_temporary_refusal_is_told_from_a_permanent_one(
    tmp_path: Path,
) -> None:
    with RedisServer(tmp_path / "redis") as server:
        async with connect(server.url) as redis:
            store = JobStore(redis)
            job = await add(store)
            for setting, closed, opened in (("maxmemory", "1", "0"), ("min-replicas-to-write", "1", "0")):
                await redis.config_set(setting, closed)
                for step in (lambda: store.set(job.id, message_id=1), lambda: add(store), store.ping):
                    with pytest.raises(StoreClosed, match="Redis refused"):
                        await step()
                await redis.config_set(setting, opened)
            await redis.set(OPEN, "not a sorted set")
            with pytest.raises(StoreRefused) as met:
                await store.open_jobs()
            assert not isinstance(met.value, StoreClosed)


async def test_the_password_is_in_no_exception(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis") as server:
        password = server.url.partition("@")[0].rpartition(":")[2]
        for url in (
            server.url.replace(password, "wrong-password"),
            server.url.replace("127.0.0.1", "127.0.0.2"),
        ):
            async with connect(url) as redis:
                with pytest.raises(StoreUnavailable) as met:
                    await JobStore(redis).ping()
                assert password not in str(met.value)
                assert "wrong-password" not in str(met.value)


async def test_a_wrong_password_is_refused(tmp_path: Path) -> None:
    """It must not look like a Redis that is away, for which processes wait."""
    with RedisServer(tmp_path / "redis") as server:
        password = server.url.partition("@")[0].rpartition(":")[2]
        for url in (server.url.replace(password, "wrong"), server.url.replace(f":{password}@", "")):
            async with connect(url) as redis:
                with pytest.raises(StoreRefused):
                    await JobStore(redis).ping()


class Failing:
    """A step that fails so many times; records the time waited."""

    def __init__(self, times: int, error: type[Exception] = StoreUnavailable) -> None:
        self.calls, self.waited_s = 0, 0.0
        self._times, self._error = times, error

    async def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self._times:
            raise self._error("away")
        return "done"

    async def sleep(self, seconds: float) -> None:
        self.waited_s += seconds


@pytest.mark.parametrize("times", [0, 1, 30])
async def test_retrying_outlasts_an_outage(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, times: int
) -> None:
    step = Failing(times)
    monkeypatch.setattr("stemdrop.storage.connection.sleep", step.sleep)
    assert await retry_until_stored(step, "the answer cannot be stored") == "done"
    assert (step.calls, step.waited_s) == (times + 1, 2 * times)
    assert caplog.text.count("the answer cannot be stored; waiting: away") == times


@pytest.mark.parametrize(("error", "calls"), [(StoreUnavailable, 4), (LookupError, 1)])
async def test_retrying_ends(monkeypatch: pytest.MonkeyPatch, error: type[Exception], calls: int) -> None:
    step = Failing(100, error)
    monkeypatch.setattr("stemdrop.storage.connection.sleep", step.sleep)
    with pytest.raises(error):
        await retry_until_stored(step, "never", tries=3)
    assert step.calls == calls


# What two processes believe at once


async def test_a_lost_answer_that_comes_late_is_accepted(store: JobStore) -> None:
    job = await add(store, JobState.SUBMITTING)
    assert await store.begin_create(job.id)
    assert await store.fail(job.id, [JobState.SUBMITTING], Failure("lost", charged=None))
    assert await store.accept(job.id, TASK) is Receipt.STORED
    now = await store.get(job.id)
    assert now
    assert (now.state, now.failure, now.task_id) == (JobState.SEPARATING, None, TASK)
    assert [found.id for found in await store.open_jobs()] == [job.id]


async def test_a_job_fails_as_uncharged_only_without_a_create_call(store: JobStore) -> None:
    job = await added_and_asked(store)
    assert not await store.fail(job.id, [JobState.SUBMITTING], Failure("unreachable", charged=False))
    assert await state_of(store, job) is JobState.SUBMITTING
    await store.not_accepted(job)
    assert not await store.fail(job.id, [JobState.SUBMITTING], Failure("lost", charged=None))
    assert await state_of(store, job) is JobState.SUBMITTING
    assert await store.fail(job.id, [JobState.SUBMITTING], Failure("unreachable", charged=False))


@pytest.mark.parametrize(
    ("end", "is_tried_again"),
    [(JobState.FAILED, False), (JobState.FAILED, True), (JobState.CANCELLED, False)],
)
async def test_a_refusal_after_the_end_returns_credits_and_shows_it(
    store: JobStore, end: JobState, is_tried_again: bool
) -> None:
    job = await add(store, mode=None)
    await store.pick(job, Mode.SEPARATE_VOCAL, "", 0)
    assert await store.begin_create(job.id)
    if end is JobState.FAILED:
        assert await store.fail(job.id, [JobState.SUBMITTING], Failure("lost", charged=None))
    else:
        assert await store.cancel(job.id)
    assert (await store.allowance(CHAT, 0)).spent == 10
    await store.close(job.id)
    if is_tried_again:
        await store.mark_retried(job.id, "another")
    await store.not_accepted(job)
    now = await store.get(job.id)
    assert now
    assert (await store.allowance(CHAT, 0)).spent == 0
    assert now.failure == (Failure("lost", charged=False) if end is JobState.FAILED else None)
    assert [found.id for found in await store.open_jobs()] == ([] if is_tried_again else [job.id])


@pytest.mark.parametrize("failure", [Failure("timeout", charged=True), Failure("lost", charged=None)])
async def test_an_answer_after_another_end_or_a_retry_moves_nothing(
    store: JobStore, failure: Failure
) -> None:
    job = await add(store, JobState.SUBMITTING)
    assert await store.begin_create(job.id)
    assert await store.fail(job.id, [JobState.SUBMITTING], failure)
    await store.mark_retried(job.id, "another")
    assert await store.accept(job.id, TASK) is Receipt.REPEATED
    now = await store.get(job.id)
    assert now
    assert (now.state, now.failure) == (JobState.FAILED, failure)


async def test_a_task_belongs_to_one_job(store: JobStore) -> None:
    first, second = await add(store, JobState.SUBMITTING), await add(store, JobState.SUBMITTING)
    assert await store.accept(first.id, TASK) is Receipt.STORED
    assert await store.accept(second.id, TASK) is Receipt.FOREIGN
    now = await store.get(second.id)
    assert now
    assert (now.state, now.task_id) == (JobState.SUBMITTING, "")


async def test_the_sending_lock_is_held_by_one(store: JobStore) -> None:
    async with store.sending("job"):
        for _ in range(2):
            with pytest.raises(TryLater):
                async with store.sending("job"):
                    pass
    async with store.sending("job"):
        pass


async def test_the_sending_lock_is_renewed(
    store: JobStore, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stemdrop.storage.job_store.SENDING_LIFETIME_S", 1)
    key = SENDING.format("job")
    async with store.sending("job"):
        await redis.expire(key, 30)
        while await redis.ttl(key) > 1:  # until it is renewed  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert not await redis.exists(key)


async def test_a_group_job_is_claimed_by_one_user(store: JobStore) -> None:
    job = make_job(user_id=0, account=-7)
    await store.add(job, once="song")
    assert await store.claim(job, 1)
    assert not await store.claim(job, 2)
    assert await store.claim(job, 1)  # by the second of two quick taps
    now = await store.get(job.id)
    assert now
    assert (now.user_id, now.account) == (1, 1)
    assert [[found.id for found in await store.jobs_of(account)] for account in (1, 2, -7)] == [
        [job.id],
        [],
        [],
    ]
