"""The day's credits: held by a pick, then settled or returned exactly once, however the job ends."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from builders import CHAT, TASK, Clock, make_job, make_result
from redis.asyncio import Redis

from stemdrop.domain.allowance import Allowance, day_of, renews_in
from stemdrop.domain.jobs import CREDITS, FINAL, Charge, Failure, Job, JobState, Mode
from stemdrop.domain.outcomes import Credits, Picked, Receipt
from stemdrop.domain.results import Result
from stemdrop.storage.job_store import MAX_IN_FLIGHT, JobStore
from stemdrop.storage.keys import SPENT, SPENT_LIFETIME_S

VOCALS, ALL, ONE = Mode.SEPARATE_VOCAL, Mode.SPLIT_STEM, Mode.SPLIT_STEM_ADVANCED
WAITING = (JobState.SUBMITTING, JobState.SEPARATING)
DAY_S = 86_400


async def add(store: JobStore, account: int = CHAT) -> Job:
    job = make_job(account=account, mode=None)
    await store.add(job, once=f"song:{job.id}")
    return job


async def picked(store: JobStore, mode: Mode = VOCALS, account: int = CHAT) -> Job:
    """Make a job that was picked and may be submitted."""
    job = await add(store, account)
    outcome, _ = await store.pick(job, mode, "", limit=0)
    assert outcome is Picked.STARTED
    return job


async def asked(store: JobStore) -> Job:
    """Make a job whose create call has begun."""
    job = await picked(store)
    assert await store.begin_create(job.id)
    return job


async def accepted(store: JobStore) -> Job:
    job = await asked(store)
    assert await store.accept(job.id, TASK) is Receipt.STORED
    return job


async def charge_of(store: JobStore, job: Job) -> Charge:
    found = await store.get(job.id)
    assert found
    return found.charge


async def spent(store: JobStore, account: int = CHAT) -> int:
    return (await store.allowance(account, 0)).spent


# Days


@pytest.mark.parametrize(
    ("moment", "day", "left_s"),
    [
        (datetime(2026, 2, 28, 0, 0, 0, tzinfo=UTC), "2026-02-28", DAY_S),
        (datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC), "2026-02-28", 1),
        (datetime(2028, 2, 29, 12, 0, 0, tzinfo=UTC), "2028-02-29", DAY_S / 2),
        (datetime(2026, 12, 31, 23, 0, 0, tzinfo=UTC), "2026-12-31", 3600),
    ],
)
def test_a_day_is_a_utc_day(moment: datetime, day: str, left_s: float) -> None:
    assert day_of(moment.timestamp()) == day
    assert renews_in(moment.timestamp()) == left_s


@pytest.mark.parametrize(("of_day", "limit", "left"), [(0, 50, 50), (30, 50, 20), (50, 50, 0), (70, 50, 0)])
def test_the_rest_of_the_allowance(of_day: int, limit: int, left: int) -> None:
    assert Allowance(of_day, limit, 1).left == left


# Picking


@pytest.mark.parametrize("mode", Mode)
async def test_a_pick_holds_the_price(store: JobStore, clock: Clock, mode: Mode) -> None:
    job = await add(store)
    assert await store.pick(job, mode, "Bass" if mode is ONE else "", limit=0) == (
        Picked.STARTED,
        CREDITS[mode],
    )
    found = await store.get(job.id)
    assert found
    assert (found.price, found.charge, found.account_day) == (CREDITS[mode], Charge.HELD, day_of(clock.now))
    assert (found.mode, found.picked_at) == (mode, clock.now)
    assert found.instrument == ("Bass" if mode is ONE else "")
    allowance = await store.allowance(CHAT, 100)
    assert allowance == Allowance(CREDITS[mode], 100, renews_in(clock.now))


async def test_of_50_picks_of_one_job_one_pays(store: JobStore) -> None:
    job = await add(store)
    outcomes = await asyncio.gather(*(store.pick(job, mode, "", 0) for mode in [VOCALS, ALL] * 25))
    assert [outcome for outcome, _ in outcomes].count(Picked.STARTED) == 1
    assert {outcome for outcome, _ in outcomes} == {Picked.STARTED, Picked.LATE}
    found = await store.get(job.id)
    assert found
    assert await spent(store) == found.price == CREDITS[found.mode or ONE]


async def test_a_pick_and_a_cancel_at_once_hold_nothing_or_the_price(store: JobStore) -> None:
    job = await add(store)
    (outcome, _), cancelled = await asyncio.gather(store.pick(job, VOCALS, "", 0), store.cancel(job.id))
    assert cancelled
    assert outcome in (Picked.STARTED, Picked.LATE)
    assert await spent(store) == 0
    assert await charge_of(store, job) in (Charge.NONE, Charge.RETURNED)


async def test_over_the_limit_changes_nothing(store: JobStore) -> None:
    first, second = await add(store), await add(store)
    assert await store.pick(first, ALL, "", limit=55) == (Picked.STARTED, 50)
    before = await store.get(second.id)
    assert await store.pick(second, VOCALS, "", limit=55) == (Picked.OVER, 50)
    assert await store.get(second.id) == before
    assert await spent(store) == 50
    assert [job.id for job in await store.open_jobs()] == [first.id]


async def test_the_limit_may_be_used_up_to_the_last_credit(store: JobStore) -> None:
    outcomes = [await store.pick(await add(store), VOCALS, "", limit=20) for _ in range(3)]
    assert outcomes == [(Picked.STARTED, 10), (Picked.STARTED, 20), (Picked.OVER, 20)]


async def test_of_20_picks_at_once_no_more_than_the_limit_allows(store: JobStore) -> None:
    jobs = [await add(store) for _ in range(20)]
    outcomes = await asyncio.gather(*(store.pick(job, VOCALS, "", limit=50) for job in jobs))
    found = [outcome for outcome, _ in outcomes]
    assert found.count(Picked.OVER) == 15
    assert (found.count(Picked.STARTED), found.count(Picked.QUEUED)) == (MAX_IN_FLIGHT, 5 - MAX_IN_FLIGHT)
    assert await spent(store) == 50


async def test_returned_credits_may_be_spent_again(store: JobStore) -> None:
    first, second = await picked(store, ALL), await add(store)
    assert (await store.pick(second, VOCALS, "", limit=50))[0] is Picked.OVER
    await store.cancel(first.id)
    assert await store.pick(second, VOCALS, "", limit=50) == (Picked.STARTED, 10)


async def test_accounts_do_not_pay_for_each_other(store: JobStore) -> None:
    await picked(store, ALL)
    other = await add(store, CHAT + 1)
    assert await store.pick(other, ALL, "", limit=50) == (Picked.STARTED, 50)
    assert (await spent(store), await spent(store, CHAT + 1), await spent(store, CHAT + 2)) == (50, 50, 0)


# Every way to end, and where it leaves the 10 credits

End = Callable[[JobStore], Awaitable[Job]]
Step = Callable[[JobStore, Job], Awaitable[object]]


def way(begin: End, *steps: Step) -> End:
    """Take these steps in turn with a job that `begin` makes."""

    async def walk(store: JobStore) -> Job:
        job = await begin(store)
        for step in steps:
            await step(store, job)
        return job

    return walk


def fails(code: str, *, charged: bool | None = False) -> Step:
    return lambda store, job: store.fail(job.id, WAITING, Failure(code, charged))


def receives(result: Result) -> Step:
    return lambda store, job: store.receive(job.id, CHAT, TASK, result)


def explains(code: int) -> Step:
    """Fail the job as the delivery of a provider's failure does."""
    failure = Failure(str(code), charged=code != 531)

    async def step(store: JobStore, job: Job) -> None:
        assert await store.receive(job.id, CHAT, TASK, Result(code)) is Receipt.STORED
        assert await store.fail(job.id, [JobState.DELIVERING], failure)

    return step


async def cancels(store: JobStore, job: Job) -> None:
    assert await store.cancel(job.id)


async def is_refused(store: JobStore, job: Job) -> None:
    await store.not_accepted(job)


async def is_asked(store: JobStore, job: Job) -> None:
    assert await store.begin_create(job.id)


async def is_accepted(store: JobStore, job: Job) -> None:
    assert await store.accept(job.id, TASK) in (Receipt.STORED, Receipt.REPEATED)


async def is_delivered(store: JobStore, job: Job) -> None:
    assert await store.receive(job.id, CHAT, TASK, make_result()) is Receipt.STORED
    assert await store.move(job.id, [JobState.DELIVERING], JobState.DELIVERED)


TIMEOUT, LOST = fails("timeout", charged=True), fails("lost", charged=None)
ENDS: dict[str, tuple[End, Charge]] = {
    "nothing yet": (picked, Charge.HELD),
    "being asked": (asked, Charge.HELD),
    "accepted": (accepted, Charge.SETTLED),
    "cancelled before the call": (way(picked, cancels), Charge.RETURNED),
    "cancelled during the call": (way(asked, cancels), Charge.SETTLED),
    "cancelled after the call": (way(accepted, cancels), Charge.SETTLED),
    "cancelled, then accepted": (way(asked, cancels, is_accepted), Charge.SETTLED),
    "cancelled, then refused": (way(asked, cancels, is_refused), Charge.RETURNED),
    "cancelled, then refunded": (way(accepted, cancels, receives(Result(531))), Charge.RETURNED),
    "refused": (way(asked, is_refused, fails("402")), Charge.RETURNED),
    "refused, to be asked again": (way(asked, is_refused), Charge.HELD),
    "refused, then accepted": (way(asked, is_refused, is_asked, is_accepted), Charge.SETTLED),
    "unreachable": (way(asked, is_refused, fails("unreachable")), Charge.RETURNED),
    "source gone": (way(picked, fails("source_gone")), Charge.RETURNED),
    "lost": (way(asked, LOST), Charge.SETTLED),
    # recovery gave the job up while the process of the create call slept
    "lost, then refused": (way(asked, LOST, is_refused), Charge.RETURNED),
    "lost, then accepted": (way(asked, LOST, is_accepted), Charge.SETTLED),
    "timeout": (way(accepted, TIMEOUT), Charge.SETTLED),
    "timeout, then delivered": (way(accepted, TIMEOUT, is_delivered), Charge.SETTLED),
    "timeout, then failed": (way(accepted, TIMEOUT, receives(Result(500))), Charge.SETTLED),
    "timeout, then refunded": (way(accepted, TIMEOUT, receives(Result(531))), Charge.RETURNED),
    "failed": (way(accepted, explains(500)), Charge.SETTLED),
    "failed before the answer": (way(asked, explains(451), is_accepted), Charge.SETTLED),
    "refunded": (way(accepted, explains(531)), Charge.RETURNED),
    "refunded before the answer": (way(asked, explains(531), is_accepted), Charge.RETURNED),
    "refunded, then delivered": (way(accepted, explains(531), is_delivered), Charge.SETTLED),
    "delivered": (way(accepted, is_delivered), Charge.SETTLED),
    "delivered before the answer": (way(asked, is_delivered, is_accepted), Charge.SETTLED),
}


@pytest.mark.parametrize(("end", "charge"), ENDS.values(), ids=ENDS)
async def test_the_credits_of_every_end(store: JobStore, clock: Clock, end: End, charge: Charge) -> None:
    """Also when the job ends after midnight: the credits count on the day of the pick."""
    job = await end(store)
    of_job = 0 if charge is Charge.RETURNED else CREDITS[VOCALS]
    assert (await charge_of(store, job), await spent(store)) == (charge, of_job)
    clock.advance(DAY_S)
    assert await spent(store) == 0


@pytest.mark.parametrize(("end", "charge"), ENDS.values(), ids=ENDS)
async def test_repeated_steps_move_no_credits(store: JobStore, end: End, charge: Charge) -> None:
    """Repeat every step, as after a broken connection or by a process that woke up late."""
    neighbour = await picked(store, ALL)
    job = await end(store)
    of_job = 0 if charge is Charge.RETURNED else CREDITS[VOCALS]
    before = await store.get(job.id)
    assert before
    assert (await store.pick(job, ALL, "", limit=0))[0] is Picked.LATE
    if before.state in FINAL:
        assert not await store.cancel(job.id)
        assert not await store.fail(job.id, WAITING, Failure("500"))
        assert not await store.begin_create(job.id)
        if before.task_id:
            assert await store.accept(job.id, TASK) is Receipt.REPEATED
            assert await store.receive(job.id, CHAT, TASK, Result(500)) is Receipt.REPEATED
    after = await store.get(job.id)
    # a cancelled job keeps what its task has become
    assert after
    assert replace(after, result=before.result) == before
    assert (await charge_of(store, job), await spent(store)) == (charge, CREDITS[ALL] + of_job)
    assert await charge_of(store, neighbour) is Charge.HELD


async def test_many_ends_at_once_count_once(store: JobStore) -> None:
    job = await picked(store)
    ends = [store.cancel(job.id) for _ in range(25)]
    ends += [store.fail(job.id, WAITING, Failure("unreachable")) for _ in range(25)]
    assert (await asyncio.gather(*ends)).count(True) == 1
    assert (await charge_of(store, job), await spent(store)) == (Charge.RETURNED, 0)


async def test_a_cancel_and_a_refusal_at_once_cost_nothing(store: JobStore) -> None:
    for _ in range(10):
        job = await asked(store)
        await asyncio.gather(store.cancel(job.id), store.not_accepted(job))
        assert (await charge_of(store, job), await spent(store)) == (Charge.RETURNED, 0)


async def test_a_cancel_and_the_call_at_once_cost_what_was_asked_for(store: JobStore) -> None:
    for _ in range(10):
        job = await picked(store)
        _, begun = await asyncio.gather(store.cancel(job.id), store.begin_create(job.id))
        assert await charge_of(store, job) is (Charge.SETTLED if begun else Charge.RETURNED)


async def test_a_call_and_its_callback_at_once_are_settled_once(store: JobStore) -> None:
    job = await asked(store)
    callbacks = [store.receive(job.id, CHAT, TASK, make_result()) for _ in range(20)]
    await asyncio.gather(store.accept(job.id, TASK), *callbacks)
    assert (await charge_of(store, job), await spent(store)) == (Charge.SETTLED, 10)


# Free, tried again, over midnight


async def test_cached_stems_cost_nothing(store: JobStore) -> None:
    job = await add(store)
    assert await store.move(
        job.id, [JobState.CHOOSING], JobState.DELIVERING, mode=VOCALS, result=make_result()
    )
    assert await store.move(job.id, [JobState.DELIVERING], JobState.DELIVERED, Credits.SETTLE)
    assert (await charge_of(store, job), await spent(store)) == (Charge.NONE, 0)


async def test_a_retry_is_held_beside_the_first_jobs_credits(store: JobStore) -> None:
    first = await way(accepted, TIMEOUT)(store)
    second = make_job(mode=None)
    assert await store.add(second, once=f"retry:{first.id}") == second.id
    assert await store.pick(second, VOCALS, "", limit=20) == (Picked.STARTED, 20)
    await store.mark_retried(first.id, second.id)
    await store.receive(first.id, CHAT, TASK, make_result())
    assert [await charge_of(store, job) for job in (first, second)] == [Charge.SETTLED, Charge.HELD]
    assert await spent(store) == 20


async def test_a_retry_over_the_limit_holds_nothing(store: JobStore, clock: Clock) -> None:
    first = await way(accepted, TIMEOUT)(store)
    second = make_job(mode=None)
    await store.add(second, once=f"retry:{first.id}")
    assert await store.pick(second, VOCALS, "", limit=15) == (Picked.OVER, 10)
    clock.advance(DAY_S)
    assert await store.pick(second, VOCALS, "", limit=15) == (Picked.STARTED, 10)


async def test_a_new_day_starts_with_a_fresh_account(store: JobStore, clock: Clock) -> None:
    clock.advance(renews_in(clock.now) - 1)
    before = await picked(store, ALL)
    assert (await store.allowance(CHAT, 50)).left == 0
    clock.advance(1)
    assert (await store.allowance(CHAT, 50)).left == 50
    today = await picked(store)
    await store.cancel(before.id)
    assert await spent(store) == 10
    clock.advance(-1)
    assert await spent(store) == 0
    assert await charge_of(store, today) is Charge.HELD


async def test_an_accounts_day_expires(store: JobStore, redis: Redis, clock: Clock) -> None:
    await accepted(store)
    assert 0 < await redis.ttl(SPENT.format(CHAT, day_of(clock.now))) <= SPENT_LIFETIME_S


async def test_a_job_of_an_older_version_has_no_credits_to_move(store: JobStore, redis: Redis) -> None:
    job = make_job(state=JobState.SUBMITTING)
    await store.add(job, once="old")
    await redis.hdel(f"stemdrop:job:{job.id}", "account", "account_day", "price", "charge")
    assert await store.begin_create(job.id)
    assert await store.accept(job.id, TASK) is Receipt.STORED
    assert await store.cancel(job.id)
    await store.not_accepted(job)
    assert await charge_of(store, job) is Charge.NONE
    assert await spent(store) == 0
