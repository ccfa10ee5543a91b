"""Two providers are asked for one job: it is split and paid for once, for no more than its button said."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from product import Product, new_job, open_product
from provider import Provider
from starlette.responses import JSONResponse, Response

from sandbox.telegram.app import run_telegram
from sandbox.telegram.chats import Message, User
from sandbox.telegram.person_actions import Telegram
from stemdrop.domain.abilities import Abilities, Ability
from stemdrop.domain.jobs import Failure, Job, JobState, Mode
from stemdrop.domain.outcomes import Receipt
from stemdrop.domain.results import Result
from stemdrop.errors import TryLater
from worker.submission import LOST_AFTER_S, MAX_SUBMISSION_RUNS

FIRST, SECOND = "sunoapi", "selfhosted"
REFUNDED, CHARGED = Result(531), Result(500)


@pytest.fixture
async def second(tone: bytes) -> AsyncIterator[Provider]:
    async with Provider(tone).run() as running:
        yield running


@pytest.fixture
async def product(
    redis_url: str, telegram: Telegram, provider: Provider, second: Provider
) -> AsyncIterator[Product]:
    for one in (provider, second):
        one.fetches_source = one.answers_by_itself = False
    names: Any = {"PROVIDERS": f"{FIRST},{SECOND}", "SELFHOSTED_API_URL": second.url}
    async with (
        run_telegram(telegram) as url,
        open_product(redis_url, telegram, url, api_url=provider.url, **names) as opened,
    ):
        await costs(opened, 50, 30)
        yield opened


async def costs(product: Product, first: int, second: int) -> None:
    """Set the prices of all stems; only the second provider can split them off one by one."""
    one = {Mode.SPLIT_STEM: Ability(first)}
    await product.abilities.put(Abilities(one), FIRST)
    more = {Mode.SPLIT_STEM: Ability(second), Mode.SEPARATE_VOCAL: Ability(7)}
    await product.abilities.put(Abilities(more), SECOND)


def works(product: Product, name: str, **changes: Any) -> None:
    """Let a provider work in another way."""
    client: Any = product.providers[name]
    client.capabilities = replace(client.capabilities, **changes)


@pytest.fixture
async def job(product: Product, telegram: Telegram, alice: User, song: Any) -> Job:
    return await picked(product, await telegram.send_file(alice.id, song))


async def picked(product: Product, sent: Message) -> Job:
    """A song whose user has picked all stems, at the price of the first provider."""
    job = new_job(sent)
    await product.store.add(job, job.id)
    price = (await product.abilities.get(job.source.duration_s)).price(Mode.SPLIT_STEM)
    await product.orders.pick(job, Mode.SPLIT_STEM, "", at_most=price)
    return await product.job(job.id)


async def run_out(product: Product, job: Job, **options: Any) -> list[float]:
    """Run the submission as the engine does; returns the pauses that it asks for."""
    pauses: list[float] = []
    submission = product.submission(**options)
    while True:
        try:
            await submission.run(job.id)
        except TryLater as error:
            pauses.append(error.after_s)
        else:
            return pauses


async def spent(product: Product, job: Job) -> int:
    return (await product.store.allowance(job.account, 0)).spent


async def outcomes(product: Product) -> list[tuple[str, str]]:
    return [(call.provider, call.outcome.value) async for call in product.create_calls.since(0)]


def shown(product: Product, job: Job) -> Message:
    return product.telegram.bot_messages(job.chat_id)[-1]


def labels(product: Product, job: Job) -> list[str]:
    return [button["text"] for button in shown(product, job).buttons]


def busy(retry_after: str | None, code: int = 429) -> Callable[[], Awaitable[Response]]:
    async def answer() -> Response:
        headers = {"Retry-After": retry_after} if retry_after else {}
        return JSONResponse({"code": code, "msg": "busy"}, code, headers)

    return answer


@pytest.mark.parametrize("code", [401, 402, 413, 422, 455, 500])
async def test_a_refused_job_goes_to_the_next_provider_at_its_price(
    product: Product, provider: Provider, second: Provider, job: Job, code: int
) -> None:
    provider.refusal = (code, "no")
    assert await spent(product, job) == 50
    assert await run_out(product, job) == []
    now = await product.job(job.id)
    assert (now.state, now.provider, now.task_id) == (JobState.SEPARATING, SECOND, f"{SECOND}:task-0001")
    assert await outcomes(product) == [(FIRST, "refused"), (SECOND, "accepted")]
    assert (len(provider.creates), len(second.creates), await spent(product, job)) == (0, 1, 30)


@pytest.mark.parametrize(
    ("first", "other", "told"), [(422, 402, "422"), (402, 422, "422"), (402, 500, "500"), (402, 429, "429")]
)
async def test_of_all_refusals_the_most_helpful_is_told(
    product: Product, provider: Provider, second: Provider, job: Job, first: int, other: int, told: str
) -> None:
    provider.refusal, second.refusal = (first, "no"), (other, "no")
    await run_out(product, job)
    assert (await product.job(job.id)).failure == Failure(told, charged=False)
    assert await spent(product, job) == 0


@pytest.mark.parametrize("how", ["refuses", "fails"])
async def test_a_dearer_provider_is_asked_only_by_its_user(
    product: Product, provider: Provider, second: Provider, job: Job, how: str
) -> None:
    await costs(product, 50, 60)
    provider.refusal = (402, "no credits") if how == "refuses" else None
    await run_out(product, job)
    if how == "fails":
        await product.store.receive(job.id, job.chat_id, "task-0001", REFUNDED, FIRST)
        await product.delivery().run(job.id)
    failed = await product.job(job.id)
    assert failed.failure == Failure("dearer", charged=False)
    assert (second.creates, await spent(product, job)) == ([], 0)
    assert labels(product, job)[0] == "🔁 Try again · 60 credits"
    ordered = await product.orders.retry(failed, at_most=60)
    assert ordered.note == "retried"
    await run_out(product, await product.job(ordered.job_id))
    assert (len(provider.creates), len(second.creates)) == (how == "fails", 1)
    assert await spent(product, job) == 60


@pytest.mark.parametrize(("price", "dearer", "limit"), [(10, 80, 79), (10, 80, 80), (0, 32, 5), (0, 32, 0)])
async def test_a_dearer_button_does_not_exceed_the_days_credits(
    product: Product,
    telegram: Telegram,
    alice: User,
    song: Any,
    provider: Provider,
    second: Provider,
    price: int,
    dearer: int,
    limit: int,
) -> None:
    """Its user has agreed to the dearer price, but the limit was compared with the price of now."""
    await costs(product, price, dearer)
    await product.users.set_daily_credits(alice.id, limit)
    job = new_job(await telegram.send_file(alice.id, song))
    await product.store.add(job, job.id)
    assert (await product.orders.pick(job, Mode.SPLIT_STEM, "", at_most=dearer)).over is None
    assert await spent(product, job) == price
    provider.refusal = (500, "no")
    await run_out(product, job)
    is_within = not limit or dearer <= limit
    failure = None if is_within else Failure("over_limit", charged=False)
    assert (await product.job(job.id)).failure == failure
    assert (len(second.creates), await spent(product, job)) == ((1, dearer) if is_within else (0, 0))
    assert is_within or "today's credits don't cover another try" in shown(product, job).text


@pytest.mark.parametrize(
    ("retry_after", "pauses", "is_back"),
    [(None, [2.0, 4.0], False), ("600", [60.0, 60.0], False), ("600", [], True)],
)
async def test_a_provider_beyond_the_days_credits_does_not_hide_that_the_first_one_is_busy(
    product: Product,
    telegram: Telegram,
    alice: User,
    song: Any,
    provider: Provider,
    second: Provider,
    retry_after: str | None,
    pauses: list[float],
    *,
    is_back: bool,
) -> None:
    await costs(product, 10, 80)
    await product.users.set_daily_credits(alice.id, 79)
    job = new_job(await telegram.send_file(alice.id, song))
    await product.store.add(job, job.id)
    await product.orders.pick(job, Mode.SPLIT_STEM, "", at_most=80)
    provider.odd_create = busy(retry_after)
    if is_back:
        with pytest.raises(TryLater):
            await product.submission().run(job.id)
        provider.odd_create = None
    assert await run_out(product, job) == pauses
    now = await product.job(job.id)
    assert (now.state is JobState.SEPARATING, second.creates) == (is_back, [])
    assert now.failure == (None if is_back else Failure("over_limit", charged=False))
    assert await spent(product, job) == (10 if is_back else 0)


async def test_a_free_provider_as_the_last_one_costs_nothing(
    product: Product, provider: Provider, second: Provider, job: Job
) -> None:
    await costs(product, 50, 0)
    provider.refusal = (402, "no credits")
    await run_out(product, job)
    assert (len(second.creates), await spent(product, job)) == (1, 0)


async def test_a_charged_failure_is_retried_elsewhere_at_the_price_on_the_button(
    product: Product, provider: Provider, second: Provider, job: Job
) -> None:
    await run_out(product, job)
    await product.store.receive(job.id, job.chat_id, "task-0001", CHARGED, FIRST)
    await product.delivery().run(job.id)
    failed = await product.job(job.id)
    assert (failed.failure, second.creates) == (Failure("500", charged=True), [])
    assert labels(product, job)[0] == "🔁 Try again · 30 credits"
    new = await product.job((await product.orders.retry(failed, at_most=30)).job_id)
    await run_out(product, new)
    assert (len(provider.creates), len(second.creates)) == (1, 1)
    assert await spent(product, job) == 50 + 30
    # where all have failed, the first one is asked again
    task = (await product.job(new.id)).task_id
    await product.store.receive(new.id, new.chat_id, task, CHARGED, SECOND)
    works(product, SECOND, charges_failures=True)
    await product.delivery().run(new.id)
    assert labels(product, job)[0] == "🔁 Try again · 50 credits"
    last = await product.orders.retry(await product.job(new.id), at_most=50)
    await run_out(product, await product.job(last.job_id))
    assert (len(provider.creates), len(second.creates)) == (2, 1)


@pytest.mark.parametrize("is_killed", [False, True])
async def test_a_task_that_failed_at_no_cost_is_replaced_once(
    product: Product, provider: Provider, second: Provider, job: Job, *, is_killed: bool
) -> None:
    await run_out(product, job)
    await product.store.receive(job.id, job.chat_id, "task-0001", REFUNDED, FIRST)
    await product.ordered()
    if is_killed:
        # a worker was killed before it added the task
        assert await product.store.fail_over(await product.job(job.id), "531")
        product.clock.advance(60)
        await product.recovery().run()
    else:
        await product.delivery().run(job.id)
    assert await product.ordered() == [("submit", job.id)]
    await run_out(product, job)
    await product.delivery().run(job.id)  # the rest of the killed run
    now = await product.job(job.id)
    assert (now.state, now.provider, now.tried) == (JobState.SEPARATING, SECOND, FIRST)
    assert await outcomes(product) == [(FIRST, "refunded"), (SECOND, "accepted")]
    assert (len(second.creates), await spent(product, job)) == (1, 30)
    # what the first one says again is known
    receipt = await product.store.receive(job.id, job.chat_id, "task-0001", REFUNDED, FIRST)
    assert receipt is Receipt.REPEATED
    assert (await product.job(job.id)).state is JobState.SEPARATING


async def test_a_failure_of_a_provider_that_charges_none_is_replaced(
    product: Product, provider: Provider, second: Provider, job: Job
) -> None:
    works(product, FIRST, charges_failures=False)
    await run_out(product, job)
    await product.store.receive(job.id, job.chat_id, "task-0001", CHARGED, FIRST)
    await product.delivery().run(job.id)
    await run_out(product, job)
    assert (len(second.creates), await spent(product, job)) == (1, 30)


async def test_a_job_whose_task_another_one_has_paid_for_is_not_ordered_anew(
    product: Product, job: Job
) -> None:
    fail_over = product.delivery().fail_over
    shared = replace(job, paid_by="another", provider=FIRST, task_id="task-1")
    failure = Failure("531", charged=False)
    assert await fail_over.run(shared, failure) == failure
    # a job that has moved on is looked at again
    with pytest.raises(TryLater):
        await fail_over.run(replace(job, provider=FIRST, task_id="task-1"), failure)


@pytest.mark.parametrize("refusal", [(402, "no credits"), (409, "in progress"), (422, "key was used")])
async def test_a_lost_answer_is_asked_for_again_with_the_same_key(
    product: Product,
    provider: Provider,
    second: Provider,
    job: Job,
    refusal: tuple[int, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A refusal of the repetition does not say that the first call was refused, too."""
    monkeypatch.setattr("worker.call_sender.MAX_REPEATS", 4)
    works(product, FIRST, has_idempotency_key=True)
    provider.lose_answer = True
    with pytest.raises(TryLater):
        await product.submission().run(job.id)
    provider.refusal = refusal
    assert len(await run_out(product, job)) == 2  # the last one loses the answer
    assert (len(provider.creates), second.creates) == (1, [])
    assert (await product.job(job.id)).state is JobState.SUBMITTING
    assert await outcomes(product) == [(FIRST, "lost")]
    receipt = await product.store.receive(job.id, job.chat_id, "task-0001", CHARGED, FIRST)
    assert (receipt, await spent(product, job)) == (Receipt.STORED, 50)


@pytest.mark.parametrize("has_key", [False, True])
async def test_a_process_killed_before_it_sent_the_call(
    product: Product, provider: Provider, second: Provider, job: Job, *, has_key: bool
) -> None:
    works(product, FIRST, has_idempotency_key=has_key)
    (candidate, _) = await product.abilities.candidates(Mode.SPLIT_STEM, "", 30)
    call = await product.submission().sender.prepare(job, candidate)
    assert await product.store.begin_create(job.id, call)
    if not has_key:
        with pytest.raises(TryLater):
            await product.submission().run(job.id)
        product.clock.advance(LOST_AFTER_S)
    assert await run_out(product, job) == []
    now = await product.job(job.id)
    assert (len(provider.creates), second.creates, len(await outcomes(product))) == (has_key, [], 1)
    assert (now.state is JobState.SEPARATING, bool(now.answer_lost_at)) == (has_key, not has_key)


async def test_a_lost_answer_at_the_second_provider_is_judged_by_how_that_one_works(
    product: Product, provider: Provider, second: Provider, job: Job
) -> None:
    """It calls nothing back, so that no result can come."""
    works(product, SECOND, has_callbacks=False)
    provider.refusal, second.lose_answer = (402, "no credits"), True
    await run_out(product, job)
    assert (await product.job(job.id)).failure == Failure("lost", charged=None)
    assert await spent(product, job) == 30


@pytest.mark.parametrize(
    ("retry_after", "is_alone", "pauses"),
    [
        (None, False, []),
        ("600", False, []),
        ("30", False, [30.0, 30.0]),
        ("30", True, [30.0, 30.0]),
        ("600", True, [60.0, 60.0]),
        (None, True, [2.0, 4.0]),
    ],
)
async def test_a_busy_provider_is_waited_for_as_long_as_it_says(
    product: Product,
    provider: Provider,
    second: Provider,
    job: Job,
    retry_after: str | None,
    *,
    is_alone: bool,
    pauses: list[float],
) -> None:
    provider.odd_create = busy(retry_after)
    if is_alone:
        second.refusal = (402, "no credits")
        await costs(product, 50, 60)
    assert await run_out(product, job) == pauses
    now = await product.job(job.id)
    assert (now.state, len(second.creates)) == (
        (JobState.FAILED, 0) if is_alone else (JobState.SEPARATING, 1)
    )
    assert len(provider.requests) == (1 if not pauses else MAX_SUBMISSION_RUNS)
    assert await spent(product, job) == (0 if is_alone else 30)


async def test_a_provider_in_maintenance_is_not_waited_for_whatever_pause_it_asks_for(
    product: Product, provider: Provider, second: Provider, job: Job
) -> None:
    provider.odd_create = busy("30", 455)
    assert await run_out(product, job) == []
    assert await outcomes(product) == [(FIRST, "refused"), (SECOND, "accepted")]


@pytest.mark.parametrize("is_back", [True, False])
async def test_a_provider_that_is_first_asked_in_the_last_run_is_waited_for(
    product: Product, provider: Provider, second: Provider, job: Job, *, is_back: bool
) -> None:
    provider.odd_create, second.odd_create = busy("30"), busy("20")
    for pause_s in (30, 30, 20):
        with pytest.raises(TryLater) as asked:
            await product.submission().run(job.id)
        assert asked.value.after_s == pause_s
    if is_back:
        second.odd_create = None
    assert await run_out(product, job) == []
    now = await product.job(job.id)
    if is_back:
        assert (now.state, now.provider) == (JobState.SEPARATING, SECOND)
    else:
        assert now.failure == Failure("429", charged=False)
    assert await spent(product, job) == (30 if is_back else 0)


@pytest.mark.parametrize(
    ("trouble", "refusal", "told"),
    [
        *(("busy", 402, "429"), ("long busy", 402, "429"), ("unreachable", 402, "unreachable")),
        *(("busy", 422, "422"), ("unreachable", 422, "422")),
        *(("busy", 402, ""), ("long busy", 402, ""), ("unreachable", 422, "")),
    ],
)
async def test_a_refusal_of_the_last_provider_does_not_hide_that_the_first_one_may_be_back_soon(
    product: Product,
    provider: Provider,
    second: Provider,
    job: Job,
    monkeypatch: pytest.MonkeyPatch,
    trouble: str,
    refusal: int,
    told: str,
) -> None:
    """No failure is told if the first one, which was busy or unreachable, is back at last."""
    is_back = not told
    client: Any = product.providers[FIRST]
    second.refusal = (refusal, "no")
    with monkeypatch.context() as meanwhile:
        if trouble == "unreachable":
            meanwhile.setattr(client, "_api_url", "http://127.0.0.1:9")
        else:
            meanwhile.setattr(provider, "odd_create", busy("600" if trouble == "long busy" else None))
        for _ in range(MAX_SUBMISSION_RUNS - 1):
            with pytest.raises(TryLater):
                await product.submission().run(job.id)
        if not is_back:
            await product.submission().run(job.id)
    if is_back:
        await product.submission().run(job.id)
    now = await product.job(job.id)
    assert (now.state is JobState.SEPARATING, len(provider.creates)) == (is_back, is_back)
    assert len(second.requests) == 1  # its answer is final
    assert now.failure == (None if is_back else Failure(told, charged=False))
    assert await spent(product, job) == (50 if is_back else 0)


async def test_the_pause_that_the_last_provider_asks_for_is_kept(
    product: Product, provider: Provider, second: Provider, job: Job
) -> None:
    provider.odd_create, second.odd_create = busy(None), busy("30")
    with pytest.raises(TryLater) as asked:
        await product.submission().run(job.id)
    assert asked.value.after_s == 30
    second.odd_create = None
    assert await run_out(product, job) == []
    assert (await product.job(job.id)).provider == SECOND


async def test_a_provider_that_refuses_is_asked_once_after_try_again(
    product: Product, provider: Provider, second: Provider, job: Job
) -> None:
    """Both were asked before, so that neither can be left out for that."""
    provider.odd_create, second.refusal = busy(None), (422, "no")
    for times in (1, 2):
        assert await run_out(product, job) == [2.0, 4.0]
        assert len(second.requests) == times
        failed = await product.job(job.id)
        assert failed.failure == Failure("422", charged=False)
        job = await product.job((await product.orders.retry(failed, at_most=50)).job_id)


async def test_after_a_fail_over_a_busy_provider_is_waited_for(
    redis_url: str, telegram: Telegram, provider: Provider, second: Provider, alice: User, song: Any
) -> None:
    """The third one cannot be reached, which took the next run for itself."""
    for one in (provider, second):
        one.fetches_source = one.answers_by_itself = False
    third = {"FAL_API_KEY": f"id:{'x' * 40}", "FAL_API_URL": "http://127.0.0.1:9"}
    names: Any = {"PROVIDERS": f"{FIRST},{SECOND},fal", "SELFHOSTED_API_URL": second.url, **third}
    async with (
        run_telegram(telegram) as url,
        open_product(redis_url, telegram, url, api_url=provider.url, **names) as product,
    ):
        await costs(product, 50, 30)
        await product.abilities.put(Abilities({Mode.SPLIT_STEM: Ability(30)}), "fal")
        job = await picked(product, await telegram.send_file(alice.id, song))
        await run_out(product, job)
        await product.store.receive(job.id, job.chat_id, "task-0001", REFUNDED, FIRST)
        await product.delivery().run(job.id)
        second.odd_create = busy("30")
        with pytest.raises(TryLater):
            await product.submission().run(job.id)
        second.odd_create = None
        assert await run_out(product, job) == []
        assert await outcomes(product) == [(FIRST, "refunded"), (SECOND, "refused"), (SECOND, "accepted")]


async def test_a_provider_is_left_out_only_where_another_one_can_do_the_same(
    product: Product, job: Job
) -> None:
    for avoid, open_at, prices in (
        ([], "", (50, 7)),
        ([FIRST], "", (30, 7)),
        ([SECOND], "", (50, 7)),
        ([FIRST, SECOND], "", (50, 7)),
        ([], SECOND, (50, 7)),
        ([], FIRST, (30, 7)),
    ):
        if open_at:
            await product.circuits.failed(open_at, "away", at_once=True)
        found = await product.abilities.get(30, avoid)
        assert (found.price(Mode.SPLIT_STEM), found.price(Mode.SEPARATE_VOCAL)) == prices
        for name in (FIRST, SECOND):
            await product.circuits.succeeded(name)


async def test_an_open_circuit_sends_jobs_to_the_next_provider_and_closes_again(
    product: Product, provider: Provider, second: Provider, job: Job
) -> None:
    provider.refusal = (455, "maintenance")
    await run_out(product, job)
    assert (await product.circuits.get(FIRST)).is_open
    assert len(provider.requests) == 1
    (candidate,) = await product.abilities.candidates(Mode.SPLIT_STEM, "", 30)
    assert candidate.provider == SECOND
    # its time is over: the next failure opens it for twice as long, an acceptance closes it
    await product.redis.delete(f"stemdrop:circuit:{FIRST}:open")
    assert await product.circuits.failed(FIRST, "away", at_once=True) == 60
    await product.circuits.succeeded(FIRST)
    assert await product.circuits.failed(FIRST, "away") == 0
