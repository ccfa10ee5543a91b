"""Jobs that split the same song in the same way: one pays, and nothing paid for is lost or bought twice."""

from typing import Any

import pytest
from builders import Clock, make_job, make_result
from redis.asyncio import Redis

from stemdrop.domain.failures import OVER_LIMIT
from stemdrop.domain.jobs import Charge, Failure, Job, JobState, Mode, Source
from stemdrop.domain.outcomes import Picked, Receipt
from stemdrop.domain.results import Result
from stemdrop.storage.job_store import MAX_IN_FLIGHT, JobStore
from stemdrop.storage.keys import SPLIT, SPLIT_LIFETIME_S

ANN, BEN, EVE = 11, 12, 13
TASK = "task-of-ann"
MODE = Mode.SEPARATE_VOCAL
SONG = make_job().source


class MovingClock(Clock):
    """No two steps happen at one time."""

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


@pytest.fixture
def clock() -> Clock:
    return MovingClock()


async def pick(
    store: JobStore, account: int, *, limit: int = 0, source: Source = SONG, **options: Any
) -> tuple[Job, Picked]:
    job = make_job(account=account, user_id=account, chat_id=account, mode=None, source=source)
    await store.add(job, once=f"song:{job.id}")
    picked, _ = await store.pick(job, MODE, "", limit, **options)
    return await now(store, job), picked


async def now(store: JobStore, job: Job) -> Job:
    found = await store.get(job.id)
    assert found
    return found


async def asked(store: JobStore, account: int = ANN) -> Job:
    job, picked = await pick(store, account)
    assert picked is Picked.STARTED
    assert await store.begin_create(job.id)
    return job


async def accepted(store: JobStore) -> Job:
    job = await asked(store)
    assert await store.accept(job.id, TASK) is Receipt.STORED
    return job


async def receive(store: JobStore, job: Job, result: Result | None = None, task: str = TASK) -> Receipt:
    return await store.receive(job.id, job.chat_id, task, result or make_result())


async def spent(store: JobStore, account: int) -> int:
    return (await store.allowance(account, 0)).spent


async def goes_on(store: JobStore, job: Job) -> bool:
    """Whether the job makes a create call of its own now."""
    await store.promote(job.account)
    return (await now(store, job)).state is JobState.SUBMITTING and bool(await store.begin_create(job.id))


async def test_a_pick_that_must_be_free_waits_for_no_call_and_makes_none(store: JobStore) -> None:
    assert (await pick(store, BEN, must_be_free=True))[1] is Picked.DEARER
    job = await accepted(store)
    ben, picked = await pick(store, BEN, must_be_free=True)
    assert (picked, ben.state, await spent(store, BEN)) == (Picked.DEARER, JobState.CHOOSING, 0)
    await receive(store, job)
    assert (await pick(store, BEN, must_be_free=True))[1] is Picked.SHARED
    assert await spent(store, BEN) == 0


async def test_the_same_split_in_another_format_is_not_shared(store: JobStore) -> None:
    await asked(store)
    assert (await pick(store, BEN, file_format="mp3"))[1] is Picked.WAITING
    eve, picked = await pick(store, EVE, file_format="flac")
    assert (picked, eve.file_format) == (Picked.STARTED, "flac")


async def test_the_second_waits_and_gets_the_firsts_result_free(store: JobStore) -> None:
    ann = await asked(store)
    (ben, picked), (again, _) = await pick(store, BEN), await pick(store, ANN)
    assert (picked, ben.state, ben.waits_for) == (Picked.WAITING, JobState.QUEUED, ann.id)
    assert await store.promote(BEN) == []
    assert not await store.begin_create(ben.id)
    await store.accept(ann.id, TASK)
    assert await receive(store, ann) is Receipt.STORED
    for job in (ben, again):
        got = await now(store, job)
        assert (got.state, got.paid_by, got.task_id) == (JobState.DELIVERING, ann.id, TASK)
        assert (got.result, got.charge, got.waits_for) == (make_result(), Charge.RETURNED, "")
    assert [await spent(store, account) for account in (ANN, BEN)] == [10, 0]


@pytest.mark.parametrize("has_begun", [False, True])
async def test_a_job_whose_lost_answer_has_come_is_waited_for_again(store: JobStore, has_begun: bool) -> None:
    ann = await asked(store)
    await store.fail(ann.id, [JobState.SUBMITTING], Failure("lost", charged=None))
    ben, _ = await pick(store, BEN)  # his call may already be made
    if has_begun:
        await store.begin_create(ben.id)
    await store.accept(ann.id, TASK)
    eve, picked = await pick(store, EVE)
    assert (picked, eve.waits_for) == (Picked.WAITING, ben.id if has_begun else ann.id)


async def test_another_way_of_splitting_does_not_wait(store: JobStore) -> None:
    await asked(store)
    job = make_job(account=BEN, mode=None, source=SONG)
    await store.add(job, once=job.id)
    assert (await store.pick(job, Mode.SPLIT_STEM, "", 0))[0] is Picked.STARTED


async def test_after_a_failure_one_of_those_who_wait_pays_and_the_other_waits_for_that(
    store: JobStore, clock: Clock
) -> None:
    ann = await accepted(store)
    ben, _ = await pick(store, BEN)
    eve, _ = await pick(store, EVE)
    await receive(store, ann, Result(500))
    assert (await now(store, ben)).waits_for == ann.id  # until the failure is final
    await store.fail(ann.id, [JobState.DELIVERING], Failure("500", charged=True))
    assert await goes_on(store, ben)
    assert not await goes_on(store, eve)
    assert (await now(store, eve)).waits_for == ben.id
    assert [await spent(store, account) for account in (ANN, BEN, EVE)] == [10, 10, 10]
    await receive(store, ben, task="task-of-ben")
    assert [await spent(store, account) for account in (ANN, BEN, EVE)] == [10, 10, 0]


async def test_a_cancelled_jobs_result_is_kept_for_the_next(store: JobStore, redis: Redis) -> None:
    ann = await accepted(store)
    assert await store.cancel(ann.id)
    assert await receive(store, ann) is Receipt.REPEATED
    assert (await now(store, ann)).state is JobState.CANCELLED
    ben, picked = await pick(store, BEN, limit=5)  # even beyond the day's credits
    assert (picked, ben.state, ben.charge) == (Picked.SHARED, JobState.DELIVERING, Charge.NONE)
    assert await spent(store, BEN) == 0
    assert 0 < await redis.ttl(SPLIT.format(SONG.split_id(MODE, ""))) <= SPLIT_LIFETIME_S


@pytest.mark.parametrize("comes", ["stems", "a failure", "a refund"])
async def test_beyond_the_days_credits_a_job_waits_for_what_is_paid_for_and_pays_for_nothing(
    store: JobStore, comes: str
) -> None:
    ann = await accepted(store)
    await store.cancel(ann.id)
    again, picked = await pick(store, ANN, limit=15)
    assert (picked, await spent(store, ANN)) == (Picked.WAITING, 10)
    await receive(store, ann, {"stems": None, "a failure": Result(500), "a refund": Result(531)}[comes])
    assert not await goes_on(store, again)
    end = await now(store, again)
    assert end.state is (JobState.DELIVERING if comes == "stems" else JobState.FAILED)
    assert end.failure == (None if comes == "stems" else OVER_LIMIT)
    assert end.id in [job.id for job in await store.open_jobs()]  # recovery shows its end
    assert await spent(store, ANN) == (0 if comes == "a refund" else 10)


async def test_those_who_wait_get_what_a_cancelled_job_paid_for(store: JobStore) -> None:
    ann = await asked(store)
    ben, _ = await pick(store, BEN)
    await store.cancel(ann.id)
    eve, picked = await pick(store, EVE)
    assert picked is Picked.WAITING
    await store.accept(ann.id, TASK)
    await receive(store, ann)
    assert [(await now(store, job)).state for job in (ben, eve)] == [JobState.DELIVERING] * 2


@pytest.mark.parametrize("is_begun", [False, True], ids=["before the call", "before it is refused"])
async def test_a_job_that_is_cancelled_unpaid_lets_the_others_go_on(store: JobStore, is_begun: bool) -> None:
    ann, _ = await pick(store, ANN)
    call = await store.begin_create(ann.id) if is_begun else ""
    ben, _ = await pick(store, BEN)
    await store.cancel(ann.id)
    if is_begun:
        assert not await goes_on(store, ben)
        await store.not_accepted(ann, call)
    assert await goes_on(store, ben)


async def test_a_failed_task_of_a_cancelled_job_lets_the_others_go_on(store: JobStore) -> None:
    ann = await accepted(store)
    ben, _ = await pick(store, BEN)
    await store.cancel(ann.id)
    await receive(store, ann, Result(500))
    assert await goes_on(store, ben)


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_stems_that_come_after_a_success_are_waited_for(store: JobStore, is_cancelled: bool) -> None:
    ann = await accepted(store)
    ben, _ = await pick(store, BEN)
    if is_cancelled:
        await store.cancel(ann.id)
    await receive(store, ann, Result(200))
    assert not await goes_on(store, ben)
    eve, picked = await pick(store, EVE)
    assert picked is Picked.WAITING
    await receive(store, ann)
    assert [(await now(store, job)).state for job in (ben, eve)] == [JobState.DELIVERING] * 2
    assert [await spent(store, account) for account in (ANN, BEN, EVE)] == [10, 0, 0]


async def test_who_waits_can_cancel_or_be_deleted(store: JobStore) -> None:
    ann = await accepted(store)
    ben, _ = await pick(store, BEN)
    eve, _ = await pick(store, EVE)
    await store.cancel(ben.id)
    await store.forget(eve.id)
    assert [await spent(store, account) for account in (BEN, EVE)] == [0, 0]
    await receive(store, ann)
    assert (await now(store, ben)).state is JobState.CANCELLED
    assert await store.get(eve.id) is None


async def test_a_deleted_jobs_task_is_handed_to_who_waits(store: JobStore) -> None:
    ann = await accepted(store)
    ben, _ = await pick(store, BEN)
    eve, _ = await pick(store, EVE)
    await store.forget(ann.id)
    heir = await now(store, ben)
    assert (heir.state, heir.task_id, heir.price) == (JobState.SEPARATING, TASK, 0)
    assert await store.fail(eve.id, [JobState.SEPARATING], Failure("x")) is False
    assert await receive(store, heir) is Receipt.STORED
    assert (await now(store, eve)).state is JobState.DELIVERING
    assert [await spent(store, account) for account in (BEN, EVE)] == [0, 0]


async def test_a_deleted_jobs_success_whose_stems_come_later_is_handed_to_who_waits(store: JobStore) -> None:
    ann = await accepted(store)
    ben, _ = await pick(store, BEN)
    await receive(store, ann, Result(200))
    await store.forget(ann.id)
    heir = await now(store, ben)
    assert (heir.state, heir.task_id, heir.price) == (JobState.SEPARATING, TASK, 0)
    assert await receive(store, ann) is Receipt.STORED  # the provider knows the deleted job's link
    assert (await now(store, ben)).state is JobState.DELIVERING
    assert await receive(store, ann) is Receipt.REPEATED


async def test_a_deleted_jobs_failure_is_not_handed_on(store: JobStore) -> None:
    ann = await accepted(store)
    ben, _ = await pick(store, BEN)
    await receive(store, ann, Result(500))
    await store.forget(ann.id)
    assert await goes_on(store, ben)


@pytest.mark.parametrize("is_accepted", [False, True])
async def test_a_deleted_jobs_source_is_that_of_who_waits(store: JobStore, is_accepted: bool) -> None:
    ann = await (accepted(store) if is_accepted else asked(store))
    ben, _ = await pick(store, BEN)
    eve, _ = await pick(store, EVE)
    await store.note_source_fetched(ann.id)
    await store.forget(ann.id)
    for heir in (ben, eve):
        source = await store.source_job(ann.id)
        assert source == await now(store, heir)
        assert source.needs_source
        assert source.source_fetched_at or is_accepted
        await store.forget(heir.id)
    assert await store.source_job(ann.id) is None


@pytest.mark.parametrize(
    "comes", ["the answer", "the callback", "a success without stems", "a failure", "a refusal"]
)
async def test_a_job_deleted_during_its_call_leaves_the_task_to_who_waits(
    store: JobStore, comes: str
) -> None:
    ann = await asked(store)
    ben, _ = await pick(store, BEN)
    await store.forget(ann.id)
    assert not await goes_on(store, ben)
    if comes == "the answer":
        await store.accept(ann.id, TASK)
        assert (await now(store, ben)).state is JobState.SEPARATING
    elif comes == "a refusal":
        await store.not_accepted(ann)
        assert await goes_on(store, ben)
    else:
        result, state = {
            "the callback": (None, JobState.DELIVERING),
            "a success without stems": (Result(200), JobState.DELIVERING),
            "a failure": (Result(500), JobState.QUEUED),
        }[comes]
        await receive(store, ann, result)
        assert (await now(store, ben)).state is state
        assert await spent(store, BEN) == (10 if state is JobState.QUEUED else 0)


async def test_a_job_leaves_one_that_brings_nothing(store: JobStore) -> None:
    ann = await asked(store)
    ben, _ = await pick(store, BEN)
    await store.cancel(ann.id)
    assert await store.leave(ben)
    assert not await store.leave(ben)
    assert await goes_on(store, ben)
    await receive(store, ann)  # too late for Ben, who has paid; Eve gets it
    assert (await now(store, ben)).state is JobState.SUBMITTING
    assert (await pick(store, EVE))[1] is Picked.SHARED


async def test_a_queued_job_is_not_waited_for_and_shares_when_its_turn_comes(store: JobStore) -> None:
    for _ in range(MAX_IN_FLIGHT):
        await pick(store, ANN, source=make_job().source)
    ann, picked = await pick(store, ANN)
    assert picked is Picked.QUEUED
    ben = await asked(store, BEN)
    first = (await store.jobs_of(ANN))[-1]
    await store.cancel(first.id)
    assert await store.promote(ANN) == []
    assert (await now(store, ann)).waits_for == ben.id
    # a song that is being split anyway does not wait behind the account's other songs
    assert (await pick(store, ANN))[1] is Picked.WAITING


async def test_an_incomplete_result_is_not_shared_with_the_next(store: JobStore) -> None:
    ann = await accepted(store)
    await receive(store, ann)
    assert (await pick(store, BEN))[1] is Picked.SHARED
    await store.move(ann.id, [JobState.DELIVERING], JobState.DELIVERED, missing=("Vocals",))
    assert (await pick(store, EVE))[1] is Picked.STARTED


async def test_stems_that_are_gone_for_one_are_not_shared_on(store: JobStore) -> None:
    ann = await accepted(store)
    await receive(store, ann)
    ben, _ = await pick(store, BEN)
    gone = [JobState.DELIVERING], JobState.CHOOSING
    assert await store.move(ben.id, *gone, result=None, task_id="", is_cache_lost=True)
    assert (await store.pick(ben, MODE, "", 0))[0] is Picked.STARTED
    assert await spent(store, BEN) == 10
    assert await store.begin_create(ben.id)


# Taking a cancelled job up again


async def test_a_job_cancelled_before_its_call_can_be_picked_anew(store: JobStore) -> None:
    ann, _ = await pick(store, ANN)
    await store.cancel(ann.id)
    assert await store.resume(ann.id) is JobState.CHOOSING
    assert await spent(store, ANN) == 0
    assert (await store.pick(ann, MODE, "", 0))[0] is Picked.STARTED
    assert await spent(store, ANN) == 10


@pytest.mark.parametrize(
    ("steps", "state"),
    [
        ("", JobState.SUBMITTING),
        ("accept", JobState.SEPARATING),
        ("receive", JobState.DELIVERING),
        ("fail", JobState.DELIVERING),
    ],
)
async def test_a_cancelled_job_goes_on_where_its_call_is(
    store: JobStore, steps: str, state: JobState
) -> None:
    ann = await asked(store)
    await store.cancel(ann.id)
    if steps == "accept":
        await store.accept(ann.id, TASK)
    elif steps:
        await receive(store, ann, make_result() if steps == "receive" else Result(531))
    assert await store.resume(ann.id) is state
    assert await store.resume(ann.id) is state  # a second tap moves nothing
    assert not await store.begin_create(ann.id)
    assert await spent(store, ANN) == (0 if steps == "fail" else 10)
    if state is not JobState.DELIVERING:
        assert await receive(store, ann) is Receipt.STORED
        assert await spent(store, ANN) == 10


async def test_a_resumed_job_makes_no_further_call_unless_asked(store: JobStore, clock: Clock) -> None:
    ann = await asked(store)
    await store.lose_answer(ann.id, (await now(store, ann)).create_started_by)
    clock.advance(200)
    assert await store.ask_again(await now(store, ann), "tap")
    await store.cancel(ann.id)
    assert await store.resume(ann.id) is JobState.SUBMITTING
    assert not await store.begin_create(ann.id)
    assert (await now(store, ann)).can_ask_again(clock.now)


async def test_an_unknown_or_a_running_job_is_not_resumed(store: JobStore) -> None:
    assert await store.resume("0" * 16) is None
    ann = await accepted(store)
    before = await now(store, ann)
    assert await store.resume(ann.id) is JobState.SEPARATING
    assert await now(store, ann) == before
