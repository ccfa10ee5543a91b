"""Several providers are asked for one job: who is noted as paid, and what the job's account pays."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from builders import CHAT, Clock, make_job, make_result
from redis.asyncio import Redis

from stemdrop.domain.jobs import Job, JobState, Mode
from stemdrop.domain.outcomes import Receipt
from stemdrop.domain.results import Result
from stemdrop.errors import OverLimit
from stemdrop.storage.connection import connect
from stemdrop.storage.create_calls import CreateCall, CreateCalls
from stemdrop.storage.job_store import JobStore

REFUNDED, STEMS = Result(531), make_result()


class Story:
    """One job, and the calls that are made for it; a task is named by its provider."""

    def __init__(self, redis: Redis) -> None:
        self.redis, self.clock = redis, Clock()
        self.store, self.calls = JobStore(redis, self.clock), CreateCalls(redis, self.clock)

    async def begin(self, price: int, limit: int = 0, *, is_unlimited: bool = False) -> None:
        self.id = await self.pick(make_job(), price, limit, is_unlimited=is_unlimited)

    async def pick(self, job: Job, price: int, limit: int = 0, *, is_unlimited: bool = False) -> str:
        await self.store.add(job, job.id)
        held = 0 if is_unlimited else price
        options = {"agreed_price": price, "is_unlimited": is_unlimited}
        await self.store.pick(job, Mode.SEPARATE_VOCAL, "", limit, held, **options)  # type: ignore[arg-type]
        return job.id

    async def ask(self, provider: str, price: int) -> str:
        self.clock.advance(1000)
        call = CreateCall(
            id=f"{provider}-{price}",
            job_id=self.id,
            provider=provider,
            mode="separate_vocal",
            instrument="",
            duration_s=30,
            price=price,
            source="https://example.com/song",
            is_uploaded=False,
            asked_at=self.clock(),
        )
        return await self.store.begin_create(self.id, call)

    async def refuse(self, call: str) -> None:
        await self.store.not_accepted(await self.job(), call, code="402", avoid=call, told="402")

    async def lose(self, call: str) -> None:
        assert await self.store.lose_answer(self.id, call)

    async def ask_again(self, price: int) -> None:
        assert await self.store.ask_again(await self.job(), f"tap-{price}", price)

    async def receive(self, provider: str, result: Result) -> Receipt:
        return await self.store.receive(self.id, CHAT, f"{provider}:1", result, provider)

    async def replace(self) -> None:
        assert await self.store.fail_over(await self.job(), "531")

    async def job(self) -> Job:
        job = await self.store.get(self.id)
        assert job is not None
        return job

    async def spent(self) -> int:
        return (await self.store.allowance(CHAT, 0)).spent

    async def outcomes(self) -> dict[str, str]:
        return {call.provider: call.outcome.value async for call in self.calls.since(0)}


@pytest.fixture
async def story(redis_url: str) -> AsyncIterator[Story]:
    async with connect(redis_url) as redis:
        yield Story(redis)


@pytest.mark.parametrize(("is_unlimited", "paid"), [(False, 30), (True, 0)])
async def test_a_job_pays_for_the_provider_that_accepts_it(
    story: Story, *, is_unlimited: bool, paid: int
) -> None:
    await story.begin(50, is_unlimited=is_unlimited)
    held = []
    for provider, price in (("a", 50), ("own", 0), ("c", 30)):
        call = await story.ask(provider, price)
        held.append(await story.spent())
        if provider != "c":
            await story.refuse(call)
    await story.store.accept(story.id, "c:1", call)
    assert held == ([0, 0, 0] if is_unlimited else [50, 0, 30])
    assert await story.spent() == paid
    assert await story.outcomes() == {"a": "refused", "own": "refused", "c": "accepted"}
    assert (await story.job()).tried == "a-50,own-0"


async def test_a_call_that_costs_more_than_the_last_one_stays_within_the_days_credits(story: Story) -> None:
    await story.begin(50, limit=100)
    for provider, price in (("a", 50), ("b", 30)):
        await story.refuse(await story.ask(provider, price))
    await story.ask("c", 40)
    await story.refuse("c-40")
    other = Story(story.redis)
    await other.begin(60, limit=100)
    with pytest.raises(OverLimit):
        await story.ask("d", 50)
    assert (await story.outcomes(), await story.spent()) == (dict.fromkeys("abc", "refused"), 100)
    assert await story.ask("e", 40)


@pytest.mark.parametrize("first", ["a", "b"])
async def test_a_callback_is_for_the_call_of_its_provider(story: Story, first: str) -> None:
    """The answer of the first one is lost, and the callback comes before the second one has answered."""
    await story.begin(50)
    await story.lose(await story.ask("a", 50))
    await story.ask_again(30)
    second = await story.ask("b", 30)
    assert await story.receive(first, STEMS) is Receipt.STORED
    other = "b" if first == "a" else "a"
    assert await story.outcomes() == {first: "succeeded", other: "asked" if first == "a" else "lost"}
    assert await story.spent() == (50 if first == "a" else 30)
    assert (await story.job()).provider == first
    await story.store.accept(story.id, "b:1", second)
    if first == "b":
        assert await story.receive("a", Result(500)) is Receipt.REPEATED
    # its user has agreed to pay for both
    assert await story.spent() == 80
    assert await story.outcomes() == (
        {"a": "succeeded", "b": "accepted"} if first == "a" else {"a": "failed", "b": "succeeded"}
    )


async def test_the_price_of_a_failed_call_makes_room_for_that_of_the_lost_one(story: Story) -> None:
    await story.begin(50)
    await story.lose(await story.ask("a", 50))
    await story.ask_again(30)
    await story.store.accept(story.id, "b:1", await story.ask("b", 30))
    await story.receive("b", REFUNDED)
    job = await story.job()
    assert (job.state, job.provider, await story.spent()) == (JobState.SUBMITTING, "a", 50)
    await story.receive("a", STEMS)
    assert await story.spent() == 50


@pytest.mark.parametrize("is_stored", [False, True], ids=["before the answer", "after it"])
async def test_late_stems_of_a_replaced_task_are_sent_once_and_paid_once(
    story: Story, *, is_stored: bool
) -> None:
    """Its provider had said that it failed and cost nothing."""
    await story.begin(50)
    await story.store.accept(story.id, "a:1", await story.ask("a", 50))
    assert await story.receive("a", REFUNDED) is Receipt.STORED
    await story.replace()
    second = await story.ask("b", 30)
    if is_stored:
        await story.store.accept(story.id, "b:1", second)
    assert await story.receive("a", STEMS) is Receipt.STORED
    if not is_stored:
        await story.store.accept(story.id, "b:1", second)
    assert await story.receive("b", STEMS) is Receipt.REPEATED
    assert (await story.job()).state is JobState.DELIVERING
    assert await story.outcomes() == {"a": "succeeded", "b": "succeeded"}
    assert await story.spent() == 30


async def test_an_acceptance_that_is_stored_late_leaves_the_result_in_the_ledger(story: Story) -> None:
    await story.begin(50)
    call = await story.ask("a", 50)
    await story.receive("a", STEMS)
    await story.store.accept(story.id, "a:1", call)
    (noted,) = [call async for call in story.calls.since(0)]
    assert (noted.outcome, noted.task_id, noted.is_paid) == ("succeeded", "a:1", True)


async def test_a_provider_that_was_not_asked_brings_no_result(story: Story) -> None:
    await story.begin(50)
    await story.ask("a", 50)
    assert await story.receive("b", STEMS) is Receipt.FOREIGN
    assert await story.outcomes() == {"a": "asked"}
    # nor a task that another job has
    other, story.id = story.id, await story.pick(make_job(), 50)
    await story.ask("b", 40)
    await story.receive("b", Result(200))
    story.id = other
    assert await story.store.receive(other, CHAT, "b:1", STEMS, "a") is Receipt.FOREIGN


async def test_the_heir_of_a_deleted_job_takes_the_result_of_its_provider(story: Story) -> None:
    """It had asked another provider itself, which refused, before it waited for the same song."""
    await story.begin(50)
    heir = await story.job()
    await story.refuse(await story.ask("b", 30))
    assert await story.store.cancel(heir.id)
    payer = replace(make_job(), source=heir.source)
    story.id = await story.pick(payer, 50)
    call = await story.ask("a", 50)
    assert await story.store.resume(heir.id) is JobState.CHOOSING
    await story.store.pick(heir, Mode.SEPARATE_VOCAL, "", 0, 50, agreed_price=50)
    await story.store.accept(payer.id, "a:1", call)
    await story.store.forget(payer.id)
    assert await story.receive("a", STEMS) is Receipt.STORED
    story.id = heir.id
    job = await story.job()
    assert (job.state, job.paid_by, job.provider) == (JobState.DELIVERING, payer.id, "a")
    assert await story.outcomes() == {"b": "refused", "a": "succeeded"}
    assert await story.spent() == 50


@pytest.mark.parametrize("has_heir", [False, True])
@pytest.mark.parametrize("before", ["asked", "lost", "accepted"])
@pytest.mark.parametrize(
    ("result", "outcome", "paid"),
    [(STEMS, "succeeded", 50), (Result(500), "failed", 50), (REFUNDED, "refunded", 0)],
)
async def test_the_ledger_and_the_account_learn_what_came_of_a_deleted_jobs_call(
    story: Story, result: Result, outcome: str, paid: int, before: str, *, has_heir: bool
) -> None:
    await story.begin(50)
    call = await story.ask("a", 50)
    if before == "lost":
        await story.lose(call)
    elif before == "accepted":
        await story.store.accept(story.id, "a:1", call)
    if has_heir:
        heir = replace(make_job(), source=(await story.job()).source, account=7)
        await story.pick(heir, 50)
    await story.store.forget(story.id)
    if not has_heir:  # another provider cannot know it
        await story.store.receive(story.id, CHAT, "a:1", result, "b")
        assert await story.outcomes() == {"a": before}
    for _ in range(2):  # a callback may come twice
        await story.receive("a", result)
        assert (await story.outcomes(), await story.spent()) == ({"a": outcome}, paid)


@pytest.mark.parametrize("second", ["asked", "accepted"])
@pytest.mark.parametrize(("result", "paid"), [(STEMS, 50), (REFUNDED, 0)])
async def test_of_two_calls_of_a_deleted_job_both_must_cost_nothing(
    story: Story, second: str, result: Result, paid: int
) -> None:
    """Only one of them is held, for it is not known whether the other was accepted."""
    await story.begin(50)
    await story.lose(await story.ask("a", 50))
    await story.ask_again(50)
    call = await story.ask("b", 50)
    if second == "accepted":
        await story.store.accept(story.id, "b:1", call)
    await story.store.forget(story.id)
    await story.receive("a", REFUNDED)
    assert (await story.outcomes(), await story.spent()) == ({"a": "refunded", "b": second}, 50)
    await story.receive("b", result)
    assert await story.spent() == paid


@pytest.mark.parametrize(
    ("results", "paid"),
    [
        (["b refused"], 50),
        (["b refused", "a succeeded"], 50),
        (["b refused", "a refunded"], 0),
        (["b refunded", "a succeeded"], 50),
        (["b failed", "a refunded"], 30),
        (["b failed", "a failed"], 80),
        (["a succeeded", "b refunded"], 50),
    ],
)
async def test_a_deleted_job_pays_for_the_calls_that_are_charged(
    story: Story, results: list[str], paid: int
) -> None:
    await story.begin(50)
    await story.lose(await story.ask("a", 50))
    await story.ask_again(50)
    call = await story.ask("b", 30)
    if results[0] != "b refused":
        await story.store.accept(story.id, "b:1", call)
    job = await story.job()
    await story.store.forget(story.id)
    kinds = {"refunded": REFUNDED, "failed": Result(500), "succeeded": STEMS}
    for provider, outcome in map(str.split, results):
        if outcome == "refused":
            await story.store.not_accepted(job, call, code="402", avoid="", told="402")
        else:
            await story.receive(provider, kinds[outcome])
    assert await story.spent() == paid


async def test_a_replaced_call_of_a_deleted_job_costs_nothing(story: Story) -> None:
    await story.begin(50)
    await story.store.accept(story.id, "own:1", await story.ask("own", 10))
    await story.receive("own", Result(500))
    await story.replace()
    await story.lose(await story.ask("b", 50))
    await story.store.forget(story.id)
    await story.receive("b", REFUNDED)
    assert await story.spent() == 0


@pytest.mark.parametrize("began", [False, True])
async def test_a_cancelled_replacement_costs_what_its_call_may_cost(story: Story, *, began: bool) -> None:
    await story.begin(50)
    await story.store.accept(story.id, "a:1", await story.ask("a", 50))
    await story.receive("a", REFUNDED)
    await story.replace()
    if began:
        await story.ask("b", 30)
    assert await story.store.cancel(story.id)
    assert await story.spent() == (30 if began else 0)
    assert await story.ask("c", 10) == ""


async def test_who_asks_again_agrees_to_the_price_of_that_button_alone(story: Story) -> None:
    await story.begin(50)
    await story.lose(await story.ask("a", 50))
    await story.ask_again(30)
    job = await story.job()
    assert [job.may_cost(price) for price in (30, 31, 50)] == [True, False, False]


async def test_a_job_of_an_earlier_version_costs_no_more_than_it_holds() -> None:
    job = make_job(price=10, agreed_price=None)
    assert [job.may_cost(price) for price in (10, 11)] == [True, False]
