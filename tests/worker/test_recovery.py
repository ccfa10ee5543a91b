"""Recovery polls late jobs and moves on jobs whose process died, each state at its deadline."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from gettext import NullTranslations
from itertools import pairwise
from typing import Any

import pytest
from builders import make_job, make_result
from product import DEADLINES, NOBODY, Product, new_job, open_product
from provider import Provider

from sandbox.telegram.app import run_telegram
from sandbox.telegram.chats import Message
from sandbox.telegram.faults import FaultKind
from sandbox.telegram.person_actions import Telegram
from stemdrop.chat.job_message import JobMessage
from stemdrop.chat.translations import Language, Translations
from stemdrop.domain.jobs import Charge, Failure, Job, JobState, Mode
from stemdrop.domain.outcomes import Receipt
from stemdrop.domain.results import Result
from stemdrop.errors import StoreRefused, TryLater
from stemdrop.storage.due_jobs import CLOCK_SKEW_S
from stemdrop.storage.job_store import MAX_IN_FLIGHT, JobStore
from stemdrop.storage.keys import FAILED, JOB, LATE, OPEN, RECOVERY_DUE, TASK
from worker.recovery import ANSWER_OF_DELETED_S, LATE_FOR_S, LOOK_AGAIN_S, SHOW_FOR_S

AFTER_S, EVERY_S, LIMIT_S = DEADLINES.poll_after_s, DEADLINES.poll_interval_s, DEADLINES.job_timeout_s


@pytest.fixture
def product(provided_product: Product) -> Product:
    return provided_product


@pytest.fixture
async def job(product: Product, sent: Message) -> Job:
    """A job that waits for its result."""
    return await product.at(JobState.SEPARATING, sent)


def detail(flag: str, **more: Any) -> dict[str, Any]:
    return {"taskId": "task-1", "successFlag": flag, "response": None, **more}


def ready(provider: Provider) -> dict[str, Any]:
    return detail("SUCCESS", response={"vocalUrl": provider.stem_url("vocal"), "drumsUrl": None})


def polls(provider: Provider) -> int:
    return sum("record-info" in request for request in provider.requests)


def translations(product: Product, job: Job) -> list[str]:
    return [message.text for message in product.telegram.bot_messages(job.chat_id)]


async def test_a_fresh_job_is_left_alone(product: Product, provider: Provider, sent: Message) -> None:
    jobs = [
        await product.at(JobState.CHOOSING, sent, task_id="t0"),
        await product.at(JobState.SEPARATING, sent, task_id="t2"),
    ]
    asking = await product.at(JobState.SUBMITTING, sent)
    await product.store.begin_create(asking.id)
    jobs.append(await product.job(asking.id))
    await product.recovery().run()
    assert [await product.job(job.id) for job in jobs] == jobs
    assert provider.requests == []
    assert await product.ordered() == []
    assert product.telegram.bot_messages(sent.chat.id) == []


async def test_a_missing_submission_task_is_added(product: Product, sent: Message) -> None:
    job = await product.at(JobState.SUBMITTING, sent)
    for _ in range(3):
        await product.recovery().run()
    assert await product.ordered() == [("submit", job.id)]


async def test_a_missing_delivery_task_is_added(product: Product, sent: Message) -> None:
    job = await product.at(JobState.DELIVERING, sent)
    for _ in range(3):
        await product.recovery().run()
    assert await product.ordered() == [("deliver", job.id)]


async def test_polling_begins_late_and_keeps_its_interval(
    product: Product, provider: Provider, job: Job
) -> None:
    counters = []
    for advance_s in (AFTER_S - 5, 4, 2, EVERY_S - 5, 4, 2, EVERY_S - 5, 4, 2):
        product.clock.advance(advance_s)
        await product.recovery().run()
        counters.append(polls(provider))
    assert counters == [0, 0, 1, 1, 1, 2, 2, 2, 3]
    assert (await product.job(job.id)).state is JobState.SEPARATING


async def test_without_callbacks_polling_begins_after_one_interval(
    product: Product, provider: Provider, job: Job
) -> None:
    recovery = product.recovery(replace(DEADLINES, has_callbacks=False))
    counters = []
    for advance_s in (EVERY_S - 5, 6, EVERY_S - 5, 6):
        product.clock.advance(advance_s)
        await recovery.run()
        counters.append(polls(provider))
    assert counters == [0, 1, 1, 2]


async def test_a_provider_without_callbacks_is_polled_sooner_than_another(
    redis_url: str, telegram: Telegram, sent: Message
) -> None:
    """Also where we have a public URL. Without its secret StemSplit has no callbacks."""
    async with (
        run_telegram(telegram) as url,
        open_product(redis_url, telegram, url, STEMSPLIT_API_KEY="k", STEMSPLIT_API_URL=NOBODY) as product,
    ):
        tasks = {"stemsplit:1": [False, True, False, True], "task-1": [False] * 4, "lalal:1": [False] * 4}
        jobs = [await product.at(JobState.SEPARATING, sent, task_id=task_id) for task_id in tasks]
        polled: dict[str, list[bool]] = {task_id: [] for task_id in tasks}
        for advance_s in (EVERY_S - 5, 6, EVERY_S - 5, 6):
            product.clock.advance(advance_s)
            began_at = product.clock.now
            await product.recovery().run()
            for job in jobs:
                polled[job.task_id].append((await product.job(job.id)).polled_at > began_at)
        assert polled == tasks


async def test_a_polled_success_is_delivered(product: Product, provider: Provider, job: Job) -> None:
    provider.details["task-1"] = ready(provider)
    product.clock.advance(AFTER_S + 1)
    await product.recovery().run()
    now = await product.job(job.id)
    assert now.state is JobState.DELIVERING
    assert now.result
    assert [stem.key for stem in now.result.stems] == ["vocals"]
    assert await product.ordered() == [("deliver", job.id)]


async def test_a_failed_callback_may_hide_a_success(product: Product, provider: Provider, job: Job) -> None:
    provider.details["task-1"] = {**ready(provider), "successFlag": "CALLBACK_EXCEPTION"}
    product.clock.advance(AFTER_S + 1)
    await product.recovery().run()
    assert (await product.job(job.id)).state is JobState.DELIVERING


async def test_a_polled_failure_is_stored(product: Product, provider: Provider, sent: Message) -> None:
    answers = {
        "task-1": detail("GENERATE_AUDIO_FAILED", errorCode=501, errorMessage="x"),
        "task-2": detail("GENERATE_AUDIO_FAILED"),
        "task-3": detail("CREATE_TASK_FAILED", errorCode=None),
    }
    jobs = [await product.at(JobState.SEPARATING, sent, task_id=task_id) for task_id in answers]
    provider.details.update(answers)
    product.clock.advance(AFTER_S + 1)
    await product.recovery().run()
    assert await states(product, jobs) == [JobState.DELIVERING] * 3
    assert [(await product.job(job.id)).result for job in jobs] == [Result(501), Result(501), Result(500)]
    assert sorted(await product.ordered()) == sorted(("deliver", job.id) for job in jobs)


async def test_a_poll_without_a_result_changes_nothing(
    product: Product, provider: Provider, sent: Message
) -> None:
    answers = {"task-1": detail("PENDING"), "task-2": detail("CALLBACK_EXCEPTION"), "task-3": {}}
    jobs = [await product.at(JobState.SEPARATING, sent, task_id=task_id) for task_id in answers]
    provider.details.update(answers)
    product.clock.advance(LIMIT_S - 1)
    await product.recovery().run()
    assert polls(provider) == 3
    assert await states(product, jobs) == [JobState.SEPARATING] * 3


async def test_a_job_is_polled_once_more_before_it_times_out(
    product: Product, provider: Provider, job: Job
) -> None:
    product.clock.advance(LIMIT_S - 1)
    await product.recovery().run()
    product.clock.advance(2)  # before the next poll would be due
    await product.recovery().run()
    assert polls(provider) == 2
    assert (await product.job(job.id)).failure == Failure("timeout", charged=True)
    (message,) = product.telegram.bot_messages(job.chat_id)
    assert "No result came in time." in message.text
    assert "The service charged for this try." in message.text
    assert [button["text"] for button in message.buttons] == ["🔁 Try again · 50 credits"]
    assert await product.store.open_jobs() == []
    await product.recovery().run()
    assert len(translations(product, job)) == 1


async def test_a_timed_out_job_is_polled_less_often_for_a_day(
    product: Product, provider: Provider, job: Job
) -> None:
    product.clock.advance(LIMIT_S + 1)
    await product.recovery().run()
    assert (await product.job(job.id)).failure == Failure("timeout", charged=True)
    asked, waited_s = [], 0.0
    while waited_s < 1.2 * LATE_FOR_S:
        before, step_s = polls(provider), max(600, waited_s / 20)
        waited_s += step_s
        product.clock.advance(step_s)
        await product.recovery().run()
        if polls(provider) > before:
            asked.append(waited_s)
    pauses = [later - sooner for sooner, later in pairwise(asked)]
    assert pauses[:5] == [600] * 5
    assert pauses == sorted(pauses)
    assert asked[-1] < LATE_FOR_S
    assert 7200 < pauses[-1] <= LATE_FOR_S * 0.11


async def test_a_late_result_is_delivered(product: Product, provider: Provider, job: Job) -> None:
    product.clock.advance(LIMIT_S + 1)
    await product.recovery().run()
    provider.details["task-1"] = ready(provider)
    product.clock.advance(EVERY_S + 1)
    await product.recovery().run()
    assert (await product.job(job.id)).state is JobState.DELIVERING
    assert await product.ordered() == [("deliver", job.id)]
    assert await product.store.failed_jobs() == []


async def test_many_other_failures_do_not_stop_the_polling_of_timed_out_jobs(
    product: Product, provider: Provider, sent: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.recovery.LATE_AT_ONCE", 2)
    jobs = [await product.at(JobState.SEPARATING, sent, task_id=f"task-{n}") for n in range(5)]
    product.clock.advance(LIMIT_S + 1)
    await product.recovery().run()
    await product.redis.zadd(FAILED, {f"other-{number}": product.clock() for number in range(210)})
    other = make_job(state=JobState.FAILED, failure=Failure("500"))
    await product.store.add(other, once=other.id)
    assert await product.redis.zscore(FAILED, jobs[-1].id) is None  # only so many are kept
    await product.store.dismiss(jobs[0].id)
    for number in range(5):
        provider.details[f"task-{number}"] = ready(provider)
    product.clock.advance(EVERY_S + 1)
    for _ in range(3):
        await product.recovery().run()
    assert await states(product, jobs) == [JobState.DELIVERING] * 5
    assert await product.redis.zcard(LATE) == 0


async def test_a_late_result_of_a_retried_job_is_not_bought_again(
    product: Product, provider: Provider, sent: Message
) -> None:
    """It is polled, since no callback may come, until it has its stems."""
    first = await pick(product, sent, 1)
    await product.store.begin_create(first.id)
    await product.store.accept(first.id, "task-1")
    product.clock.advance(LIMIT_S + 1)
    await product.recovery().run()
    second = (await product.orders.retry(await product.job(first.id))).job_id
    assert (await product.job(second)).state is JobState.SUBMITTING
    provider.details["task-1"] = ready(provider)
    product.clock.advance(EVERY_S + 1)
    await product.recovery().run()
    assert await states(product, [first]) == [JobState.FAILED]
    new = await product.job(second)
    assert (new.state, new.paid_by, new.price) == (JobState.DELIVERING, first.id, 0)
    asked = polls(provider)
    for _ in range(2):
        product.clock.advance(EVERY_S + 1)
        await product.recovery().run()
    assert polls(provider) == asked
    assert await product.redis.zcard(LATE) == 0


async def test_a_result_at_the_last_moment_is_taken(product: Product, provider: Provider, job: Job) -> None:
    provider.details["task-1"] = ready(provider)
    product.clock.advance(LIMIT_S + 1)
    await product.recovery().run()
    assert (await product.job(job.id)).state is JobState.DELIVERING
    assert translations(product, job) == []


async def test_a_lost_answer_ends_the_job_at_its_deadline(
    product: Product, provider: Provider, sent: Message
) -> None:
    job = await product.at(JobState.SUBMITTING, sent)
    await product.store.begin_create(job.id)
    product.clock.advance(LIMIT_S - 5)
    await product.recovery().run()
    assert (await product.job(job.id)).state is JobState.SUBMITTING
    product.clock.advance(10)
    await product.recovery().run()
    assert (await product.job(job.id)).failure == Failure("lost", charged=None)
    (text,) = translations(product, job)
    assert "never confirmed the order" in text
    assert "It is not known whether this try was charged." in text
    assert provider.requests == []


async def test_a_job_without_a_create_call_fails_at_its_deadline(
    product: Product, provider: Provider, sent: Message
) -> None:
    (job,) = await picked(product, sent, 1, begun=0)
    product.clock.advance(LIMIT_S - 5)
    await product.recovery().run()
    assert (await product.job(job.id)).state is JobState.SUBMITTING
    product.clock.advance(10)
    await product.recovery().run()
    assert (await product.job(job.id)).failure == Failure("unreachable", charged=False)
    (text,) = translations(product, job)
    assert "This try cost nothing." in text
    assert (await product.store.allowance(job.account, 0)).spent == 0
    assert provider.requests == []


async def test_the_deadline_of_an_answer_counts_from_the_call(product: Product, sent: Message) -> None:
    """Not from the job's promotion: it may have waited for a worker since then."""
    job = await product.at(JobState.SUBMITTING, sent)
    product.clock.advance(LIMIT_S + 5)
    await product.store.begin_create(job.id)
    await product.recovery().run()
    assert (await product.job(job.id)).state is JobState.SUBMITTING
    product.clock.advance(LIMIT_S + 5)
    await product.recovery().run()
    assert (await product.job(job.id)).failure == Failure("lost", charged=None)


async def test_a_create_call_that_begins_during_recovery_is_not_given_up(
    product: Product, provider: Provider, sent: Message
) -> None:
    """Workers that return after a long time do both at once. The credits are not given back either."""
    (job,) = await picked(product, sent, 1, begun=0)
    product.clock.advance(LIMIT_S + 5)
    recovery = product.recovery()
    seen = await product.store.open_jobs()
    assert await product.store.begin_create(job.id)
    await recovery._recover(seen[0])
    assert (await product.job(job.id)).state is JobState.SUBMITTING
    assert await product.store.accept(job.id, "task-1") is Receipt.STORED
    assert (await product.job(job.id)).charge is Charge.SETTLED


async def test_credits_returned_after_the_end_are_shown(
    product: Product, provider: Provider, sent: Message
) -> None:
    (job,) = await picked(product, sent, 1)
    await product.store.accept(job.id, "task-1")
    product.clock.advance(LIMIT_S + 1)
    await product.recovery().run()
    (text,) = translations(product, job)
    assert "The service charged for this try." in text
    provider.details["task-1"] = detail("GENERATE_AUDIO_FAILED", errorCode=531, errorMessage="refunded")
    product.clock.advance(LIMIT_S)
    for _ in range(2):
        await product.recovery().run()
    (text,) = translations(product, job)
    assert "This try cost nothing." in text
    assert (await product.store.allowance(job.account, 0)).spent == 0
    assert await product.store.open_jobs() == []


async def test_a_job_that_was_not_picked_is_left_alone(product: Product, sent: Message) -> None:
    job = await product.at(JobState.CHOOSING, sent)
    product.clock.advance(8 * 24 * 3600)
    await product.recovery().run()
    assert await product.job(job.id) == job
    assert await product.store.open_jobs() == []
    assert translations(product, job) == []


async def test_an_end_that_was_not_shown_is_shown_once(product: Product, sent: Message) -> None:
    starts = {
        JobState.DELIVERED: "⚠️ “Morning Line” was split",
        JobState.FAILED: "⚠️ That did not work (code 500).",
        JobState.CANCELLED: "✖️ Cancelled: “Morning Line”.",
    }
    for state in starts:
        job = await product.at(JobState.CHOOSING, sent)
        await product.store.move(job.id, [JobState.CHOOSING], state, failure=Failure("500"))
    for _ in range(3):
        await product.recovery().run()
    found = sorted(translations(product, job))
    assert len(found) == 3
    assert all(text.startswith(start) for text, start in zip(found, sorted(starts.values()), strict=True))
    assert await product.store.open_jobs() == []


class Endless(NullTranslations):
    """A catalogue whose texts are all too long for Telegram."""

    def gettext(self, message: str) -> str:
        return "x" * 5000

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return self.gettext(msgid1)


async def test_an_end_that_telegram_refuses_is_closed_after_an_hour(product: Product, sent: Message) -> None:
    job = await product.at(JobState.CHOOSING, sent)
    await product.store.fail(job.id, [JobState.CHOOSING], Failure("500"))
    unsendable = Translations({"en": Language("en", Endless())})
    product.job_message = JobMessage(
        product.bot,
        product.store,
        product.stem_cache,
        product.job_statistics,
        unsendable,
        product.abilities,
    )
    for advance_s, is_open in ((0, True), (SHOW_FOR_S - 5, True), (65, False)):
        product.clock.advance(advance_s)
        await product.recovery().run()
        assert bool(await product.store.open_jobs()) is is_open
    assert translations(product, job) == []


async def test_an_end_is_shown_when_telegram_is_back(product: Product, sent: Message) -> None:
    job = await product.at(JobState.CHOOSING, sent)
    await product.store.fail(job.id, [JobState.CHOOSING], Failure("500"))
    product.telegram.faults.add(FaultKind.SERVER_ERROR, method="sendMessage", times=None)
    for _ in range(3):
        product.clock.advance(SHOW_FOR_S)
        await product.recovery().run()
    assert translations(product, job) == []
    product.telegram.faults.clear()
    product.clock.advance(24 * SHOW_FOR_S)
    await product.recovery().run()
    assert len(translations(product, job)) == 1
    assert await product.store.open_jobs() == []


async def test_a_failed_step_does_not_stop_other_jobs(
    product: Product, provider: Provider, sent: Message, telegram: Telegram
) -> None:
    blocked = telegram.add_user("Bob")
    telegram.block_bot(blocked.id)
    gone = await product.at(JobState.CHOOSING, sent, chat_id=blocked.id)
    await product.store.fail(gone.id, [JobState.CHOOSING], Failure("500"))
    jobs = [await product.at(JobState.SEPARATING, sent, task_id=f"task-{n}") for n in range(4)]
    for number in range(4):
        provider.details[f"task-{number}"] = {} if number % 2 else ready(provider)
    product.clock.advance(AFTER_S + 1)
    await product.recovery().run()
    assert await states(product, jobs) == [JobState.DELIVERING, JobState.SEPARATING] * 2


async def test_an_exception_in_one_job_does_not_stop_other_jobs(
    product: Product,
    provider: Provider,
    sent: Message,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    jobs = [await product.at(JobState.SEPARATING, sent, task_id=f"task-{n}") for n in range(6)]
    for number in range(6):
        provider.details[f"task-{number}"] = ready(provider)
    errors = (ZeroDivisionError(), TryLater(60, "why"), StoreRefused("wrong type"))
    raised = {job.id: error for job, error in zip(jobs, errors, strict=False)}
    receive = product.store.receive

    async def broken(job_id: str, *args: Any, **options: Any) -> Receipt:
        if job_id in raised:
            raise raised[job_id]
        return await receive(job_id, *args, **options)

    monkeypatch.setattr(product.store, "receive", broken)
    product.clock.advance(AFTER_S + 1)
    await product.recovery().run()
    assert await states(product, jobs) == [JobState.SEPARATING] * 3 + [JobState.DELIVERING] * 3
    for job_id, error in raised.items():
        assert f"job {job_id}: {type(error).__name__}" in caplog.text


async def picked(product: Product, sent: Message, count: int, begun: int = MAX_IN_FLIGHT) -> list[Job]:
    """Pick so many songs of one user; those beyond the limit wait in the queue."""
    jobs = [await product.at(JobState.CHOOSING, sent, source=make_job().source) for _ in range(count)]
    for job in jobs:
        await product.store.pick(job, Mode.SEPARATE_VOCAL, "", 0)
    for job in jobs[:begun]:
        await product.store.begin_create(job.id)
    return [await product.job(job.id) for job in jobs]


async def states(product: Product, jobs: list[Job]) -> list[JobState]:
    return [(await product.job(job.id)).state for job in jobs]


async def test_a_queue_moves_on_after_a_crash(product: Product, sent: Message) -> None:
    *flying, first, second = await picked(product, sent, MAX_IN_FLIGHT + 2)
    await product.recovery().run()
    assert await states(product, [first, second]) == [JobState.QUEUED] * 2
    # as if the process had died after the move: the end is shown, and the queue was not moved on
    await product.fail(flying[0].id, Failure("500"))
    await product.store.close(flying[0].id)
    for _ in range(3):
        product.clock.advance(LOOK_AGAIN_S[0])
        await product.recovery().run()
    assert await states(product, [first, second]) == [JobState.SUBMITTING, JobState.QUEUED]
    assert await product.ordered() == [("submit", first.id)]


async def test_a_promoted_job_without_a_task_is_submitted(product: Product, sent: Message) -> None:
    *flying, first = await picked(product, sent, MAX_IN_FLIGHT + 1)
    await product.store.cancel(flying[0].id)
    assert await product.store.promote(first.account) == [first.id]
    await product.recovery().run()
    assert await product.ordered() == [("submit", first.id)]


async def test_showing_an_end_starts_the_next_job(product: Product, sent: Message) -> None:
    *flying, first = await picked(product, sent, MAX_IN_FLIGHT + 1)
    await product.fail(flying[0].id, Failure("500"))
    await product.recovery().run()
    assert translations(product, first)[0].startswith("⚠️ That did not work (code 500).")
    assert (await product.job(first.id)).state is JobState.SUBMITTING
    assert await product.ordered() == [("submit", first.id)]


async def test_a_job_that_recovery_fails_starts_the_next(product: Product, sent: Message) -> None:
    *flying, first = await picked(product, sent, MAX_IN_FLIGHT + 1)
    product.clock.advance(LIMIT_S + 1)
    await product.recovery().run()
    assert await states(product, [*flying, first]) == [*[JobState.FAILED] * 3, JobState.SUBMITTING]
    assert await product.ordered() == [("submit", first.id)]


async def test_an_end_that_cannot_be_shown_starts_the_next_job(product: Product, sent: Message) -> None:
    *flying, first = await picked(product, sent, MAX_IN_FLIGHT + 1)
    await product.fail(flying[0].id, Failure("500"))
    product.telegram.faults.add(FaultKind.SERVER_ERROR, method="sendMessage", times=None)
    # only the job that ended is looked at
    await product.redis.zrem(OPEN, first.id)
    await product.recovery().run()
    assert (await product.job(first.id)).state is JobState.SUBMITTING


async def test_an_end_in_a_chat_that_is_gone_is_closed_at_once(product: Product, sent: Message) -> None:
    *flying, first = await picked(product, sent, MAX_IN_FLIGHT + 1)
    await product.fail(flying[0].id, Failure("500"))
    product.telegram.block_bot(sent.chat.id)
    await product.redis.zrem(OPEN, first.id)
    await product.recovery().run()
    assert flying[0].id not in [job.id for job in await product.store.open_jobs()]
    assert (await product.job(first.id)).state is JobState.SUBMITTING
    calls = len(product.telegram.calls)
    await product.recovery().run()
    assert len(product.telegram.calls) == calls


async def test_a_polled_result_of_another_job_is_ignored(
    product: Product, provider: Provider, sent: Message, job: Job
) -> None:
    other = await product.at(JobState.SEPARATING, sent, task_id="task-2")
    await product.redis.set(TASK.format("task-1"), other.id)
    provider.details["task-1"] = ready(provider)
    await product.store.close(other.id)
    product.clock.advance(LIMIT_S + 1)
    await product.recovery().run()
    assert (await product.job(job.id)).failure == Failure("timeout", charged=True)


async def test_a_failure_with_a_later_success_is_delivered(product: Product, sent: Message) -> None:
    job = await product.at(JobState.DELIVERING, sent, result=make_result())
    assert await product.store.fail(job.id, [JobState.DELIVERING], Failure("531", charged=False))
    product.clock.advance(SHOW_FOR_S + 1)
    await product.recovery().run()
    assert await product.ordered() == [("deliver", job.id)]
    assert [found.id for found in await product.store.open_jobs()] == [job.id]
    assert translations(product, job) == []


async def test_a_failed_delivery_is_shown(product: Product, sent: Message) -> None:
    for code in ("empty", "undeliverable"):
        job = await product.at(JobState.DELIVERING, sent, result=Result(200), task_id=code)
        assert await product.store.fail(job.id, [JobState.DELIVERING], Failure(code, charged=True))
    await product.recovery().run()
    assert await product.ordered() == []
    assert len(translations(product, job)) == 2


async def test_recovery_goes_on_while_the_api_is_away(
    redis_url: str, telegram: Telegram, sent: Message
) -> None:
    async with run_telegram(telegram) as url, open_product(redis_url, telegram, url) as product:
        job = await product.at(JobState.SEPARATING, sent)
        product.clock.advance(AFTER_S + 1)
        await product.recovery().run()
        assert (await product.job(job.id)).state is JobState.SEPARATING
        product.clock.advance(LIMIT_S)
        await product.recovery().run()
        assert (await product.job(job.id)).failure == Failure("timeout", charged=True)


async def test_a_clock_that_was_set_back_delays_no_job(
    product: Product, provider: Provider, job: Job
) -> None:
    provider.details[job.task_id] = ready(provider)
    product.clock.advance(-3600)
    await product.recovery().run()
    assert (await product.job(job.id)).moved_at == pytest.approx(product.clock.now, abs=1)
    assert polls(provider) == 0
    product.clock.advance(AFTER_S + 1)
    await product.recovery().run()
    assert polls(provider) == 1
    assert (await product.job(job.id)).state is JobState.DELIVERING


async def test_clocks_that_differ_a_little_change_nothing(product: Product, job: Job) -> None:
    product.clock.advance(-CLOCK_SKEW_S + 1)
    await product.recovery().run()
    assert (await product.job(job.id)).moved_at == job.moved_at


async def jobs_read_in(product: Product, run: Callable[[], Awaitable[None]]) -> int:
    """Return how many jobs are read from Redis during the run."""
    await product.redis.config_resetstat()
    await run()
    commands = await product.redis.info("commandstats")
    return sum(
        commands.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("hgetall", "hget", "hmget")
    )


async def test_a_run_reads_no_job_that_is_not_due(product: Product, sent: Message) -> None:
    for number in range(5):
        await product.at(JobState.SEPARATING, sent, task_id=f"task-{number}")
    assert await jobs_read_in(product, product.recovery().run) >= 5
    assert await jobs_read_in(product, product.recovery().run) == 0
    product.clock.advance(AFTER_S + 1)
    assert await jobs_read_in(product, product.recovery().run) >= 5


async def test_a_run_reads_due_jobs_in_batches(
    product: Product, sent: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.recovery.BATCH", 3)
    jobs = [await product.at(JobState.SUBMITTING, sent) for _ in range(10)]
    await product.recovery().run()
    assert sorted(await product.ordered()) == sorted(("submit", job.id) for job in jobs)


async def test_an_open_job_without_an_index_entry_is_found(product: Product, sent: Message) -> None:
    """Version 0.1 has no index."""
    job = await product.at(JobState.SUBMITTING, sent)
    await product.redis.delete(RECOVERY_DUE)
    await product.recovery().run()
    assert await product.ordered() == [("submit", job.id)]


async def test_a_job_that_cannot_be_read_does_not_stop_other_jobs(
    product: Product, sent: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.recovery.BATCH", 1)
    odd, good = [await product.at(JobState.SUBMITTING, sent) for _ in range(2)]
    await product.redis.hset(JOB.format(odd.id), "source", "[]")
    await product.recovery().run()
    assert await product.ordered() == [("submit", good.id)]


class ClockSetBack(JobStore):
    """A store during whose reading of late jobs the machine's clock is set back by an hour."""

    def __init__(self, product: Product) -> None:
        super().__init__(product.redis, product.clock)
        self._product = product

    async def late_jobs(self, limit: int) -> list[Job]:
        self._product.clock.advance(-3600)
        return await super().late_jobs(limit)


async def test_a_run_ends_when_the_clock_is_set_back_meanwhile(product: Product, sent: Message) -> None:
    await product.at(JobState.SEPARATING, sent)
    async with asyncio.timeout(120):
        await product.changed(store=ClockSetBack(product)).recovery().run()


async def pick(product: Product, sent: Message, account: int) -> Job:
    job = make_job(account=account, chat_id=sent.chat.id, mode=None, source=new_job(sent).source)
    await product.store.add(job, once=job.id)
    await product.store.pick(job, Mode.SPLIT_STEM, "", 0)
    return await product.job(job.id)


async def test_a_cancelled_job_is_polled_for_those_who_wait_for_it(
    product: Product, provider: Provider, sent: Message
) -> None:
    payer = await pick(product, sent, 1)
    await product.store.begin_create(payer.id)
    await product.store.accept(payer.id, "task-1")
    waiting = await pick(product, sent, 2)
    await product.store.cancel(payer.id)
    provider.details["task-1"] = ready(provider)
    product.clock.advance(EVERY_S + 1)
    await product.recovery().run()
    assert (await product.job(waiting.id)).state is JobState.DELIVERING
    assert polls(provider) == 1
    product.clock.advance(LOOK_AGAIN_S[1])
    await product.recovery().run()
    assert ("deliver", waiting.id) in await product.ordered()


async def test_a_failed_poll_of_a_cancelled_job_buys_nothing(
    product: Product, provider: Provider, sent: Message
) -> None:
    """Its call was accepted long ago, and nobody has asked for its result since."""
    payer = await pick(product, sent, 1)
    await product.store.begin_create(payer.id)
    await product.store.accept(payer.id, "task-1")
    await product.store.cancel(payer.id)
    product.clock.advance(LIMIT_S + 1)
    waiting = await pick(product, sent, 2)
    assert waiting.waits_for == payer.id
    for polled, seconds in ((1, LOOK_AGAIN_S[0]), (1, EVERY_S / 2), (2, EVERY_S)):
        if polled == 2:
            provider.details["task-1"] = ready(provider)
        product.clock.advance(seconds)
        await product.recovery().run()
        assert polls(provider) == polled
        state = JobState.QUEUED if polled == 1 else JobState.DELIVERING
        assert (await product.job(waiting.id)).state is state


@pytest.mark.parametrize(
    ("age_s", "state"), [(LATE_FOR_S - 60, JobState.QUEUED), (LATE_FOR_S, JobState.SUBMITTING)]
)
async def test_a_job_waits_for_no_cancelled_task_that_is_a_day_old(
    product: Product, provider: Provider, sent: Message, age_s: float, state: JobState
) -> None:
    """The task is still polled once, since its result may have come."""
    payer = await pick(product, sent, 1)
    await product.store.begin_create(payer.id)
    await product.store.accept(payer.id, "task-1")
    await product.store.cancel(payer.id)
    product.clock.advance(age_s)
    waiting = await pick(product, sent, 2)
    assert waiting.waits_for == payer.id
    product.clock.advance(LOOK_AGAIN_S[0])
    await product.recovery().run()
    assert polls(provider) == 1
    assert (await product.job(waiting.id)).state is state


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_a_job_waits_on_while_a_success_has_no_stems_yet(
    product: Product, provider: Provider, sent: Message, is_cancelled: bool
) -> None:
    payer = await pick(product, sent, 1)
    await product.store.begin_create(payer.id)
    await product.store.accept(payer.id, "task-1")
    waiting = await pick(product, sent, 2)
    if is_cancelled:
        await product.store.cancel(payer.id)
        provider.details["task-1"] = detail("SUCCESS")
    else:
        await product.store.receive(payer.id, payer.chat_id, "task-1", Result(200))
    product.clock.advance(EVERY_S + 1)
    await product.recovery().run()
    assert (await product.job(waiting.id)).waits_for == payer.id
    if is_cancelled:
        product.clock.advance(LIMIT_S)
        await product.recovery().run()
        assert (await product.job(waiting.id)).state is JobState.SUBMITTING


@pytest.mark.parametrize(
    ("is_deleted", "is_fetched", "after_s"),
    [(True, False, ANSWER_OF_DELETED_S), (True, True, LIMIT_S), (False, False, LIMIT_S)],
)
async def test_a_job_goes_on_by_itself_when_nothing_can_come(
    product: Product, sent: Message, is_deleted: bool, is_fetched: bool, after_s: float
) -> None:
    payer = await pick(product, sent, 1)
    await product.store.begin_create(payer.id)
    if is_fetched:
        await product.store.note_source_fetched(payer.id)
    waiting = await pick(product, sent, 2)
    await (product.store.forget(payer.id) if is_deleted else product.store.cancel(payer.id))
    for seconds, state in ((after_s / 2, JobState.QUEUED), (after_s / 2 + 1, JobState.SUBMITTING)):
        product.clock.advance(seconds)
        await product.recovery().run()
        assert (await product.job(waiting.id)).state is state
    assert await product.ordered() == [("submit", waiting.id)]
