"""A create call's answer is lost: a fetch of the source decides, else the user; one result is delivered."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from product import Product, open_product, result_of
from provider import Provider

from sandbox.telegram.app import run_telegram
from sandbox.telegram.chats import Message
from sandbox.telegram.person_actions import Telegram
from stemdrop.chat.callback_data import Action, Tap
from stemdrop.domain.abilities import Abilities, Ability
from stemdrop.domain.allowance import day_of
from stemdrop.domain.jobs import Charge, Failure, Job, JobState, Mode
from stemdrop.domain.outcomes import Receipt, Run
from stemdrop.domain.results import Result
from stemdrop.domain.taps import Ordered, Tapped
from stemdrop.errors import TryLater
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.keys import DAY_S, SPENT, TASK
from worker.submission import LOST_AFTER_S, MAX_SUBMISSION_RUNS

ASK_AGAIN, CANCEL = "🔁 Ask again · 50 credits", "✖️ Cancel"
STEMS = result_of({"vocals": "https://files.example/v.mp3"})
AFTER_TWO_MINUTES_S = 121
REFUNDED = Result(531)


@pytest.fixture
async def product(redis_url: str, telegram: Telegram, provider: Provider) -> AsyncIterator[Product]:
    """The parts, with a provider that accepts orders, loses its answers, and fetches nothing."""
    provider.fetches_source = provider.answers_by_itself = False
    provider.lose_answer = True
    async with (
        run_telegram(telegram) as url,
        open_product(redis_url, telegram, url, api_url=provider.url) as opened,
    ):
        yield opened


@pytest.fixture
async def job(product: Product, sent: Message) -> Job:
    """A job whose create call has just lost its answer."""
    job = await product.at(JobState.CHOOSING, sent)
    await product.store.pick(job, Mode.SPLIT_STEM, "", 0)
    await product.submission().run(job.id)
    return await product.job(job.id)


async def wait_two_minutes(product: Product) -> None:
    product.clock.advance(AFTER_TWO_MINUTES_S)
    await product.progress_updates().run()


async def ask_again(product: Product, job: Job, tap: str = "tap-1") -> Ordered:
    now = product.clock()
    return await product.orders.ask_again(await product.job(job.id), Tapped(tap, now))


async def asked_twice(product: Product, provider: Provider, job: Job, *, is_answered: bool) -> None:
    """The second create call is made; `is_answered`: the provider confirms it."""
    await wait_two_minutes(product)
    await ask_again(product, job)
    provider.lose_answer = not is_answered
    await product.submission().run(job.id)
    assert len(provider.creates) == 2


async def receive(product: Product, job: Job, number: int, result: Result = STEMS) -> Receipt:
    return await product.store.receive(job.id, job.chat_id, f"task-{number:04d}", result)


async def spent(product: Product, job: Job) -> int:
    """Return what the account has spent on the job's day, which may have ended since."""
    picked_at = (await product.job(job.id)).picked_at
    store = JobStore(product.store._redis, lambda: picked_at)
    return (await store.allowance(job.account, 0)).spent


def shown(product: Product, job: Job) -> tuple[str, list[str]]:
    """The job's only message: its text and the labels of its buttons."""
    (message,) = product.telegram.bot_messages(job.chat_id)
    return message.text, [button["text"] for button in message.buttons]


async def test_without_a_fetch_the_user_may_ask_again_after_two_minutes(product: Product, job: Job) -> None:
    assert (await ask_again(product, job)).note == "tap.too_late"
    await wait_two_minutes(product)
    text, buttons = shown(product, job)
    assert "has not fetched your song, so most likely nothing was charged" in text
    assert buttons == [ASK_AGAIN, CANCEL]


async def test_asking_again_never_costs_more_than_its_button_shows(product: Product, job: Job) -> None:
    await wait_two_minutes(product)
    (message,) = product.telegram.bot_messages(job.chat_id)
    tap = Tap.from_data(message.buttons[0]["callback_data"])
    assert tap == Tap(Action.ASK_AGAIN, job.id, credits=50)
    await product.abilities.put(Abilities({Mode.SPLIT_STEM: Ability(60)}))
    asked, tapped = await product.job(job.id), Tapped("tap-1", product.clock())
    assert (await product.orders.ask_again(asked, tapped, at_most=50)).note == "tap.dearer"
    assert (await product.orders.ask_again(asked, tapped, at_most=60)).note == "ordered"
    # the same tap, handled again after the price has risen once more
    await product.abilities.put(Abilities({Mode.SPLIT_STEM: Ability(70)}))
    assert (await product.orders.ask_again(await product.job(job.id), tapped, at_most=60)).note == "ordered"


async def test_asking_again_does_not_exceed_the_days_credits(product: Product, job: Job) -> None:
    await wait_two_minutes(product)
    await product.abilities.put(Abilities({Mode.SPLIT_STEM: Ability(60)}))
    asked, tapped = await product.job(job.id), Tapped("tap-1", product.clock())
    await product.users.set_daily_credits(job.account, 59)
    ordered = await product.orders.ask_again(asked, tapped, at_most=60)
    assert ordered.over is not None
    assert (ordered.over.spent, ordered.over.limit, ordered.over.price) == (50, 59, 60)
    assert not (await product.job(job.id)).is_asking_again
    # the price of the call whose answer is lost is held already
    await product.users.set_daily_credits(job.account, 60)
    assert (await product.orders.ask_again(asked, tapped, at_most=60)).note == "ordered"


@pytest.mark.parametrize(
    ("yesterday", "today", "price", "is_within"),
    [(50, 0, 60, True), (50, 40, 60, True), (0, 41, 60, False), (50, 50, 50, True), (0, 51, 50, False)],
)
async def test_asking_again_after_midnight_spends_the_credits_of_the_new_day(
    product: Product,
    provider: Provider,
    sent: Message,
    yesterday: int,
    today: int,
    price: int,
    *,
    is_within: bool,
) -> None:
    product.clock.advance(DAY_S - product.clock() % DAY_S - 60)
    job = await product.at(JobState.CHOOSING, sent)
    first_day = SPENT.format(job.account, day_of(product.clock()))
    second_day = SPENT.format(job.account, day_of(product.clock() + DAY_S))
    for day, credits in ((first_day, yesterday), (second_day, today)):
        await product.redis.hset(day, "another", credits)
    await product.users.set_daily_credits(job.account, 100)
    await product.store.pick(job, Mode.SPLIT_STEM, "", 100)
    await product.submission().run(job.id)
    await wait_two_minutes(product)
    await product.abilities.put(Abilities({Mode.SPLIT_STEM: Ability(price)}))
    tapped = Tapped("tap-1", product.clock())
    ordered = await product.orders.ask_again(await product.job(job.id), tapped, at_most=price)
    assert (ordered.over is None) is is_within
    assert ordered.over is None or (ordered.over.spent, ordered.over.price) == (today, price)
    await product.submission().run(job.id)
    assert len(provider.creates) == 1 + is_within
    held = [await product.redis.hget(day, job.id) for day in (first_day, second_day)]
    assert held == ([None, str(price)] if is_within else ["50", None])
    # if both calls fail without a charge, nothing stays spent
    assert await receive(product, job, 1, REFUNDED) is (Receipt.REPEATED if is_within else Receipt.STORED)
    if is_within:
        assert await receive(product, job, 2, REFUNDED) is Receipt.STORED
    await deliver(product, job)
    assert await product.redis.hvals(first_day) == [str(yesterday)]
    assert await product.redis.hvals(second_day) == [str(today)]


async def test_what_a_call_has_cost_stays_on_its_day(
    product: Product, provider: Provider, sent: Message
) -> None:
    product.clock.advance(DAY_S - product.clock() % DAY_S - 600)
    job = await product.at(JobState.CHOOSING, sent)
    days = [SPENT.format(job.account, day_of(product.clock() + late_s)) for late_s in (0, DAY_S)]
    await product.store.pick(job, Mode.SPLIT_STEM, "", 100)
    await product.submission().run(job.id)
    await wait_two_minutes(product)
    await ask_again(product, job)
    await product.submission().run(job.id)
    await receive(product, job, 2, Result(500))
    assert await product.redis.hget(days[0], job.id) == "100"
    product.clock.advance(600)
    assert (await ask_again(product, job, "tap-2")).note == "ordered"
    assert [await product.redis.hget(day, job.id) for day in days] == ["50", "50"]
    await product.submission().run(job.id)
    for number in (1, 3, 2):  # the credits of the second call come back after all
        await receive(product, job, number, REFUNDED)
    await deliver(product, job)
    assert [await product.redis.hget(day, job.id) for day in days] == [None, None]


async def test_a_fetch_proves_that_the_order_was_accepted(
    product: Product, provider: Provider, job: Job
) -> None:
    await product.store.note_source_fetched(job.id)
    await wait_two_minutes(product)
    text, buttons = shown(product, job)
    assert "so it took the order" in text
    assert buttons == [CANCEL]
    assert (await ask_again(product, job)).note == "tap.too_late"
    await product.recovery().run()
    assert await product.ordered() == []
    assert len(provider.creates) == 1
    assert await receive(product, job, 1) is Receipt.STORED


async def test_one_tap_makes_one_call_and_another_loss_offers_it_again(
    product: Product, provider: Provider, job: Job
) -> None:
    await wait_two_minutes(product)
    old = await product.job(job.id)
    taps = [product.orders.ask_again(old, Tapped(f"tap-{number}", product.clock())) for number in range(5)]
    notes = [ordered.note for ordered in await asyncio.gather(*taps)]
    assert sorted(map(str, notes)) == ["ordered"] + ["tap.too_late"] * 4
    await asyncio.gather(*(product.submission().run(job.id) for _ in range(3)))
    assert len(provider.creates) == 2
    text, buttons = shown(product, job)
    assert "it will fetch your song now" in text
    assert buttons == [CANCEL]
    late = Tapped("late", old.create_started_at + AFTER_TWO_MINUTES_S)
    assert (await product.orders.ask_again(old, late)).note == "tap.too_late"
    await wait_two_minutes(product)
    assert (await product.orders.ask_again(await product.job(job.id), late)).note == "tap.too_late"
    assert shown(product, job)[1] == [ASK_AGAIN, CANCEL]
    assert (await ask_again(product, job, "tap-9")).note == "ordered"
    await product.submission().run(job.id)
    assert len(provider.creates) == 3


async def test_a_tap_that_is_handled_again_makes_no_further_call(
    product: Product, provider: Provider, job: Job
) -> None:
    await asked_twice(product, provider, job, is_answered=False)
    await ask_again(product, job)
    await product.submission().run(job.id)
    assert len(provider.creates) == 2


async def test_recovery_makes_the_call_when_the_bot_died_before_ordering_it(
    product: Product, provider: Provider, job: Job
) -> None:
    await wait_two_minutes(product)
    assert await product.store.ask_again(await product.job(job.id), "tap-1")
    await product.ordered()
    await product.recovery().run()
    assert await product.ordered() == [("submit", job.id)]
    await product.submission().run(job.id)
    await product.recovery().run()
    assert await product.ordered() == []
    assert len(provider.creates) == 2


async def test_a_process_that_dies_in_the_second_call_does_not_repeat_it(
    product: Product, provider: Provider, job: Job
) -> None:
    await wait_two_minutes(product)
    await ask_again(product, job)
    assert await product.store.begin_create(job.id)
    product.clock.advance(LOST_AFTER_S)
    await product.submission().run(job.id)
    assert len(provider.creates) == 1
    assert "did not confirm the order" in shown(product, job)[0]


async def test_a_fetch_between_the_tap_and_the_call_withdraws_the_call(
    product: Product, provider: Provider, job: Job
) -> None:
    await wait_two_minutes(product)
    await ask_again(product, job)
    await product.store.note_source_fetched(job.id)
    await product.submission().run(job.id)
    assert len(provider.creates) == 1
    await wait_two_minutes(product)
    assert "so it took the order" in shown(product, job)[0]


@pytest.mark.parametrize("is_answered", [True, False])
@pytest.mark.parametrize("first", [1, 2])
async def test_the_first_of_two_results_is_delivered_and_both_calls_are_counted(
    product: Product, provider: Provider, job: Job, first: int, *, is_answered: bool
) -> None:
    await asked_twice(product, provider, job, is_answered=is_answered)
    assert await receive(product, job, first) is Receipt.STORED
    now = await product.job(job.id)
    assert (now.state, now.task_id) == (JobState.DELIVERING, f"task-{first:04d}")
    for _ in range(2):
        for number in (1, 2):
            assert await receive(product, job, number) is Receipt.REPEATED
    assert (await product.job(job.id)).task_id == f"task-{first:04d}"
    assert await spent(product, job) == 100
    assert await product.store.forget(job.id)
    assert not await product.redis.exists(TASK.format("task-0001"), TASK.format("task-0002"))


async def test_an_answer_after_the_first_calls_result_changes_nothing(
    product: Product, provider: Provider, job: Job
) -> None:
    await wait_two_minutes(product)
    await ask_again(product, job)
    call = await product.store.begin_create(job.id)
    assert call
    assert await receive(product, job, 1) is Receipt.STORED
    assert await product.store.accept(job.id, "task-0002") is Receipt.REPEATED
    now = await product.job(job.id)
    assert (now.state, now.task_id) == (JobState.DELIVERING, "task-0001")
    assert await spent(product, job) == 100


async def test_a_failure_of_the_first_call_does_not_end_a_job_whose_second_call_was_accepted(
    product: Product, provider: Provider, job: Job
) -> None:
    await asked_twice(product, provider, job, is_answered=True)
    for _ in range(2):
        assert await receive(product, job, 1, REFUNDED) is Receipt.REPEATED
    assert (await product.job(job.id)).state is JobState.SEPARATING
    assert await receive(product, job, 2) is Receipt.STORED
    assert await spent(product, job) == 50


async def deliver(product: Product, job: Job) -> Job:
    await product.delivery().run(job.id)
    return await product.job(job.id)


@pytest.mark.parametrize("first", [1, 2])
async def test_a_failure_of_one_call_leaves_the_job_waiting_for_the_other(
    product: Product, provider: Provider, job: Job, first: int
) -> None:
    """Both answers are lost: the stems of the other call are paid for."""
    await asked_twice(product, provider, job, is_answered=False)
    for _ in range(2):
        assert await receive(product, job, first, REFUNDED) is Receipt.REPEATED
    assert (await product.job(job.id)).state is JobState.SUBMITTING
    assert await spent(product, job) == 50
    assert await receive(product, job, 3 - first) is Receipt.STORED
    assert (await product.job(job.id)).state is JobState.DELIVERING
    assert await spent(product, job) == 50


async def test_an_answer_after_the_failure_of_the_first_call_is_accepted(
    product: Product, provider: Provider, job: Job
) -> None:
    await wait_two_minutes(product)
    await ask_again(product, job)
    assert await product.store.begin_create(job.id)
    assert await receive(product, job, 1, REFUNDED) is Receipt.REPEATED
    assert await product.store.accept(job.id, "task-0002") is Receipt.STORED
    now = await product.job(job.id)
    assert (now.state, now.task_id) == (JobState.SEPARATING, "task-0002")
    assert await spent(product, job) == 50
    assert await receive(product, job, 2, REFUNDED) is Receipt.STORED
    failed = await deliver(product, job)
    assert failed.failure == Failure("531", charged=False)
    assert await receive(product, job, 1, REFUNDED) is Receipt.REPEATED
    assert await spent(product, job) == 0


async def test_a_failure_of_the_second_call_leaves_the_job_waiting_for_the_first(
    product: Product, provider: Provider, job: Job
) -> None:
    await asked_twice(product, provider, job, is_answered=True)
    await product.store.note_source_fetched(job.id)
    for _ in range(2):
        assert await receive(product, job, 2, REFUNDED) is Receipt.REPEATED
    now = await product.job(job.id)
    assert (now.state, now.task_id) == (JobState.SUBMITTING, "")
    assert await product.store.accept(job.id, "task-0002") is Receipt.REPEATED
    assert await spent(product, job) == 50
    await wait_two_minutes(product)
    assert shown(product, job)[1] == [ASK_AGAIN, CANCEL]
    assert await receive(product, job, 1) is Receipt.STORED
    assert await spent(product, job) == 50


async def test_a_failed_task_gives_way_to_the_other_accepted_task(
    product: Product, provider: Provider, job: Job
) -> None:
    await asked_twice(product, provider, job, is_answered=True)
    assert await product.store.accept(job.id, "task-0001") is Receipt.REPEATED
    assert await spent(product, job) == 100
    assert await receive(product, job, 2, REFUNDED) is Receipt.REPEATED
    now = await product.job(job.id)
    assert (now.state, now.task_id) == (JobState.SEPARATING, "task-0001")
    assert await spent(product, job) == 50
    assert await receive(product, job, 1, REFUNDED) is Receipt.STORED
    assert (await deliver(product, job)).failure == Failure("531", charged=False)
    assert await spent(product, job) == 0


async def test_a_refund_of_one_call_leaves_what_the_other_has_cost(
    product: Product, provider: Provider, job: Job
) -> None:
    await asked_twice(product, provider, job, is_answered=False)
    assert await receive(product, job, 1, Result(500)) is Receipt.REPEATED
    assert await receive(product, job, 2, REFUNDED) is Receipt.STORED
    assert (await deliver(product, job)).failure == Failure("531", charged=True)
    assert await spent(product, job) == 50


async def test_a_late_failure_of_one_call_does_not_promise_that_nothing_was_charged(
    product: Product, provider: Provider, job: Job
) -> None:
    await asked_twice(product, provider, job, is_answered=False)
    product.clock.advance(1801)
    await product.recovery().run()
    assert await receive(product, job, 1, REFUNDED) is Receipt.REPEATED
    assert (await product.job(job.id)).failure == Failure("lost", charged=None)
    assert await spent(product, job) == 50
    assert await receive(product, job, 2, REFUNDED) is Receipt.REPEATED
    assert (await product.job(job.id)).failure == Failure("lost", charged=False)
    assert await spent(product, job) == 0


@pytest.mark.parametrize(("result", "is_charged", "cost"), [(REFUNDED, False, 0), (Result(500), True, 50)])
async def test_a_refusal_after_the_other_call_has_failed_tells_what_that_one_cost(
    product: Product, provider: Provider, job: Job, result: Result, is_charged: bool, cost: int
) -> None:
    await wait_two_minutes(product)
    await ask_again(product, job)
    second = await product.store.begin_create(job.id)
    assert await receive(product, job, 1, result) is Receipt.REPEATED
    await product.store.not_accepted(await product.job(job.id), second)
    provider.refusal = (422, "no such song")
    await product.submission().run(job.id)
    assert (await product.job(job.id)).failure == Failure("422", charged=is_charged)
    assert await spent(product, job) == cost


async def test_asking_again_counts_the_runs_anew(product: Product, provider: Provider, job: Job) -> None:
    await product.store.count_run(job.id, Run.SUBMIT, by=MAX_SUBMISSION_RUNS)
    await wait_two_minutes(product)
    await ask_again(product, job)
    provider.refusal = (429, "slow down")
    with pytest.raises(TryLater):
        await product.submission().run(job.id)
    assert (await product.job(job.id)).state is JobState.SUBMITTING


async def test_a_lost_answer_of_the_first_call_leaves_the_second_alone(product: Product, job: Job) -> None:
    first = (await product.job(job.id)).create_started_by
    await wait_two_minutes(product)
    await ask_again(product, job)
    assert await product.store.begin_create(job.id)
    assert not await product.store.lose_answer(job.id, first)
    assert (await product.job(job.id)).answer_lost_at == 0


async def test_a_refused_second_call_says_that_the_first_may_have_been_charged(
    product: Product, provider: Provider, job: Job
) -> None:
    await wait_two_minutes(product)
    await ask_again(product, job)
    provider.refusal = (402, "no credits")
    await product.submission().run(job.id)
    now = await product.job(job.id)
    assert (now.failure, now.charge) == (Failure("402", charged=None), Charge.SETTLED)
    assert "code 402" in shown(product, job)[0]
    assert await receive(product, job, 1) is Receipt.STORED


async def test_a_second_call_that_was_not_accepted_is_tried_again(
    product: Product, provider: Provider, job: Job
) -> None:
    await wait_two_minutes(product)
    await ask_again(product, job)
    provider.refusal = (429, "slow down")
    with pytest.raises(TryLater):
        await product.submission().run(job.id)
    provider.refusal, provider.lose_answer = None, False
    await product.submission().run(job.id)
    assert (await product.job(job.id)).task_id == "task-0002"
    assert len(provider.creates) == 2


async def test_a_late_refusal_of_the_first_call_leaves_the_second_alone(product: Product, job: Job) -> None:
    await wait_two_minutes(product)
    await ask_again(product, job)
    assert await product.store.begin_create(job.id)
    await product.store.not_accepted(job, "the first call")
    assert not await product.store.begin_create(job.id)


async def test_a_job_whose_answer_was_lost_can_be_cancelled(
    product: Product, provider: Provider, job: Job
) -> None:
    await wait_two_minutes(product)
    await ask_again(product, job)
    assert await product.orders.cancel(await product.job(job.id))
    await product.submission().run(job.id)
    assert len(provider.creates) == 1
    assert await receive(product, job, 1) is Receipt.REPEATED
    assert (await product.job(job.id)).state is JobState.CANCELLED


async def test_a_job_that_hears_nothing_more_fails_in_the_end(product: Product, job: Job) -> None:
    product.clock.advance(1801)
    await product.recovery().run()
    assert (await product.job(job.id)).failure == Failure("lost", charged=None)
