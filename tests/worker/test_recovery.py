"""Late jobs are polled, and whatever died in between is moved on: each state at its deadline."""

from dataclasses import replace
from gettext import NullTranslations
from itertools import pairwise
from typing import Any

import pytest
from house import DEADLINES, House, open_house
from provider import Provider

from sandbox.telegram.app import run_telegram
from sandbox.telegram.chats import Message
from sandbox.telegram.faults import FaultKind
from sandbox.telegram.person_actions import Telegram
from stemdrop.chat.job_message import StatusMessage
from stemdrop.chat.translations import Language, Texts
from stemdrop.domain.jobs import Charge, Failure, Job, JobState, Mode
from stemdrop.domain.results import Result
from stemdrop.errors import StoreRefused, TryLater
from stemdrop.storage.job_store import MAX_IN_FLIGHT, Receipt
from stemdrop.storage.keys import LATE, OPEN, TASK
from worker.recovery import CLOCK_SKEW_S, LATE_FOR_S, SHOW_FOR_S

AFTER_S, EVERY_S, LIMIT_S = DEADLINES.poll_after_s, DEADLINES.poll_interval_s, DEADLINES.job_timeout_s


@pytest.fixture
def house(provided_house: House) -> House:
    return provided_house


@pytest.fixture
async def job(house: House, sent: Message) -> Job:
    """A job whose result is awaited; its task is unknown to be ready."""
    return await house.at(JobState.SEPARATING, sent)


def detail(flag: str, **more: Any) -> dict[str, Any]:
    return {"taskId": "task-1", "successFlag": flag, "response": None, **more}


def ready(provider: Provider) -> dict[str, Any]:
    return detail("SUCCESS", response={"vocalUrl": provider.stem_url("vocal"), "drumsUrl": None})


def polls(provider: Provider) -> int:
    return sum("record-info" in request for request in provider.requests)


def texts(house: House, job: Job) -> list[str]:
    return [message.text for message in house.telegram.bot_messages(job.chat_id)]


async def test_a_fresh_job_is_left_alone_in_every_state(
    house: House, provider: Provider, sent: Message
) -> None:
    jobs = [
        await house.at(JobState.CHOOSING, sent, task_id="t0"),
        await house.at(JobState.SEPARATING, sent, task_id="t2"),
    ]
    asking = await house.at(JobState.SUBMITTING, sent)
    await house.store.begin_create(asking.id)
    jobs.append(await house.job(asking.id))
    await house.sweep().run()
    assert [await house.job(job.id) for job in jobs] == jobs
    assert provider.requests == []
    assert await house.ordered() == []
    assert house.telegram.bot_messages(sent.chat.id) == []


async def test_a_submission_that_was_never_ordered_is(house: House, sent: Message) -> None:
    job = await house.at(JobState.SUBMITTING, sent)
    for _ in range(3):
        await house.sweep().run()
    assert await house.ordered() == [("submit", job.id)]


async def test_a_delivery_that_was_never_ordered_is(house: House, sent: Message) -> None:
    job = await house.at(JobState.DELIVERING, sent)
    for _ in range(3):
        await house.sweep().run()
    assert await house.ordered() == [("deliver", job.id)]


async def test_polling_begins_late_and_keeps_its_interval(house: House, provider: Provider, job: Job) -> None:
    counts = []
    for advance_s in (AFTER_S - 5, 4, 2, EVERY_S - 5, 4, 2, EVERY_S - 5, 4, 2):
        house.clock.advance(advance_s)
        await house.sweep().run()
        counts.append(polls(provider))
    assert counts == [0, 0, 1, 1, 1, 2, 2, 2, 3]
    assert (await house.job(job.id)).state is JobState.SEPARATING


async def test_without_callbacks_polling_begins_after_one_interval(
    house: House, provider: Provider, job: Job
) -> None:
    sweep = house.sweep(replace(DEADLINES, has_callbacks=False))
    counts = []
    for advance_s in (EVERY_S - 5, 6, EVERY_S - 5, 6):
        house.clock.advance(advance_s)
        await sweep.run()
        counts.append(polls(provider))
    assert counts == [0, 1, 1, 2]


async def test_a_polled_success_is_delivered(house: House, provider: Provider, job: Job) -> None:
    provider.details["task-1"] = ready(provider)
    house.clock.advance(AFTER_S + 1)
    await house.sweep().run()
    now = await house.job(job.id)
    assert now.state is JobState.DELIVERING
    assert now.result
    assert [stem.key for stem in now.result.stems] == ["vocals"]
    assert await house.ordered() == [("deliver", job.id)]


async def test_a_failed_callback_may_hide_a_success(house: House, provider: Provider, job: Job) -> None:
    provider.details["task-1"] = {**ready(provider), "successFlag": "CALLBACK_EXCEPTION"}
    house.clock.advance(AFTER_S + 1)
    await house.sweep().run()
    assert (await house.job(job.id)).state is JobState.DELIVERING


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (detail("GENERATE_AUDIO_FAILED", errorCode=501, errorMessage="x"), 501),
        (detail("CREATE_TASK_FAILED", errorCode="451"), 451),
        (detail("GENERATE_AUDIO_FAILED"), 501),
        (detail("CREATE_TASK_FAILED", errorCode=None), 500),
    ],
)
async def test_a_polled_failure_is_stored(
    house: House, provider: Provider, job: Job, answer: dict[str, Any], code: int
) -> None:
    provider.details["task-1"] = answer
    house.clock.advance(AFTER_S + 1)
    await house.sweep().run()
    now = await house.job(job.id)
    assert (now.state, now.result) == (JobState.DELIVERING, Result(code))
    assert await house.ordered() == [("deliver", job.id)]


@pytest.mark.parametrize("answer", [detail("PENDING"), detail("CALLBACK_EXCEPTION"), detail("WHATEVER"), {}])
async def test_no_result_yet_changes_nothing_before_the_end(
    house: House, provider: Provider, job: Job, answer: dict[str, Any]
) -> None:
    provider.details["task-1"] = answer
    house.clock.advance(LIMIT_S - 1)
    await house.sweep().run()
    assert polls(provider) == 1
    assert (await house.job(job.id)).state is JobState.SEPARATING


async def test_out_of_time_it_is_asked_for_once_more_and_then_explained(
    house: House, provider: Provider, job: Job
) -> None:
    house.clock.advance(LIMIT_S - 1)
    await house.sweep().run()
    house.clock.advance(2)  # before the next poll would be due
    await house.sweep().run()
    assert polls(provider) == 2
    assert (await house.job(job.id)).failure == Failure("timeout", charged=True)
    (message,) = house.telegram.bot_messages(job.chat_id)
    assert "No result came in time." in message.text
    assert "The service charged for this try." in message.text
    assert [button["text"] for button in message.buttons] == ["🔁 Try again · 50 credits"]
    assert await house.store.open_jobs() == []
    await house.sweep().run()
    assert len(texts(house, job)) == 1


async def test_what_ran_out_of_time_is_asked_for_ever_more_rarely_for_a_day(
    house: House, provider: Provider, job: Job
) -> None:
    house.clock.advance(LIMIT_S + 1)
    await house.sweep().run()
    assert (await house.job(job.id)).failure == Failure("timeout", charged=True)
    asked = []
    for waited_s in range(600, LATE_FOR_S + 6000, 600):
        before = polls(provider)
        house.clock.advance(600)
        await house.sweep().run()
        if polls(provider) > before:
            asked.append(waited_s)
    pauses = [later - sooner for sooner, later in pairwise(asked)]
    assert pauses[:5] == [600] * 5
    assert pauses == sorted(pauses)
    assert asked[-1] < LATE_FOR_S
    assert 7200 < pauses[-1] <= LATE_FOR_S * 0.11


async def test_what_comes_late_is_delivered(house: House, provider: Provider, job: Job) -> None:
    house.clock.advance(LIMIT_S + 1)
    await house.sweep().run()
    provider.details["task-1"] = ready(provider)
    house.clock.advance(EVERY_S + 1)
    await house.sweep().run()
    assert (await house.job(job.id)).state is JobState.DELIVERING
    assert await house.ordered() == [("deliver", job.id)]
    assert await house.store.failed_jobs() == []


async def test_however_many_fail_meanwhile_what_ran_out_of_time_is_asked_for(
    house: House, provider: Provider, sent: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.recovery.LATE_AT_ONCE", 2)
    jobs = [await house.at(JobState.SEPARATING, sent, task_id=f"task-{n}") for n in range(5)]
    house.clock.advance(LIMIT_S + 1)
    await house.sweep().run()
    for _ in range(210):
        other = await house.at(JobState.SEPARATING, sent, task_id="another")
        await house.store.fail(other.id, [JobState.SEPARATING], Failure("500"))
        await house.store.close(other.id)
    await house.store.dismiss(jobs[0].id)
    for number in range(5):
        provider.details[f"task-{number}"] = ready(provider)
    house.clock.advance(EVERY_S + 1)
    for _ in range(3):
        await house.sweep().run()
    assert await states(house, jobs) == [JobState.DELIVERING] * 5
    assert await house.redis.zcard(LATE) == 0


async def test_what_was_tried_again_is_not_asked_for(house: House, provider: Provider, job: Job) -> None:
    house.clock.advance(LIMIT_S + 1)
    await house.sweep().run()
    asked = polls(provider)
    await house.store.mark_retried(job.id, "another")
    house.clock.advance(EVERY_S + 1)
    await house.sweep().run()
    assert polls(provider) == asked


async def test_a_result_at_the_last_moment_is_taken(house: House, provider: Provider, job: Job) -> None:
    provider.details["task-1"] = ready(provider)
    house.clock.advance(LIMIT_S + 1)
    await house.sweep().run()
    assert (await house.job(job.id)).state is JobState.DELIVERING
    assert texts(house, job) == []


async def test_a_submission_whose_answer_never_came_is_explained(
    house: House, provider: Provider, sent: Message
) -> None:
    job = await house.at(JobState.SUBMITTING, sent)
    await house.store.begin_create(job.id)
    house.clock.advance(LIMIT_S - 5)
    await house.sweep().run()
    assert (await house.job(job.id)).state is JobState.SUBMITTING
    house.clock.advance(10)
    await house.sweep().run()
    assert (await house.job(job.id)).failure == Failure("lost", charged=None)
    (text,) = texts(house, job)
    assert "never said whether it took the job" in text
    assert "Whether this try was charged is not known." in text
    assert provider.requests == []


async def test_a_submission_that_never_came_to_the_call_is_explained(
    house: House, provider: Provider, sent: Message
) -> None:
    (job,) = await picked(house, sent, 1, begun=0)
    house.clock.advance(LIMIT_S - 5)
    await house.sweep().run()
    assert (await house.job(job.id)).state is JobState.SUBMITTING
    house.clock.advance(10)
    await house.sweep().run()
    assert (await house.job(job.id)).failure == Failure("unreachable", charged=False)
    (text,) = texts(house, job)
    assert "This try cost nothing." in text
    assert (await house.store.allowance(job.account, 0)).spent == 0
    assert provider.requests == []


async def test_how_long_an_answer_is_waited_for_counts_from_the_call(house: House, sent: Message) -> None:
    """Not from when the job's turn came: it may have waited for workers ever since."""
    job = await house.at(JobState.SUBMITTING, sent)
    house.clock.advance(LIMIT_S + 5)
    await house.store.begin_create(job.id)
    await house.sweep().run()
    assert (await house.job(job.id)).state is JobState.SUBMITTING
    house.clock.advance(LIMIT_S + 5)
    await house.sweep().run()
    assert (await house.job(job.id)).failure == Failure("lost", charged=None)


async def test_a_submission_that_begins_while_the_sweep_looks_on_is_not_given_up(
    house: House, provider: Provider, sent: Message
) -> None:
    """Nor are its credits given back: workers that were away for long come back to both at once."""
    (job,) = await picked(house, sent, 1, begun=0)
    house.clock.advance(LIMIT_S + 5)
    sweep = house.sweep()
    seen = await house.store.open_jobs()
    assert await house.store.begin_create(job.id)
    await sweep._look_after(seen[0])
    assert (await house.job(job.id)).state is JobState.SUBMITTING
    assert await house.store.accept(job.id, "task-1") is Receipt.STORED
    assert (await house.job(job.id)).charge is Charge.SETTLED


async def test_credits_that_come_back_after_the_end_are_told(
    house: House, provider: Provider, sent: Message
) -> None:
    (job,) = await picked(house, sent, 1)
    await house.store.accept(job.id, "task-1")
    house.clock.advance(LIMIT_S + 1)
    await house.sweep().run()
    (text,) = texts(house, job)
    assert "The service charged for this try." in text
    provider.details["task-1"] = detail("GENERATE_AUDIO_FAILED", errorCode=531, errorMessage="refunded")
    house.clock.advance(LIMIT_S)
    for _ in range(2):
        await house.sweep().run()
    (text,) = texts(house, job)
    assert "This try cost nothing." in text
    assert (await house.store.allowance(job.account, 0)).spent == 0
    assert await house.store.open_jobs() == []


async def test_a_song_that_nobody_picks_is_nobodys_to_look_after(house: House, sent: Message) -> None:
    job = await house.at(JobState.CHOOSING, sent)
    house.clock.advance(8 * 24 * 3600)
    await house.sweep().run()
    assert await house.job(job.id) == job
    assert await house.store.open_jobs() == []
    assert texts(house, job) == []


@pytest.mark.parametrize(
    ("state", "start"),
    [
        (JobState.DELIVERED, "⚠️ “Morning Line” was taken apart"),
        (JobState.FAILED, "⚠️ That did not work (code 500)."),
        (JobState.CANCELLED, "✖️ Cancelled: “Morning Line”."),
    ],
)
async def test_an_end_that_was_not_shown_is_shown_once(
    house: House, sent: Message, state: JobState, start: str
) -> None:
    job = await house.at(JobState.CHOOSING, sent)
    await house.store.move(job.id, [JobState.CHOOSING], state, failure=Failure("500"))
    for _ in range(3):
        await house.sweep().run()
    (text,) = texts(house, job)
    assert text.startswith(start)
    assert await house.store.open_jobs() == []


class Endless(NullTranslations):
    """A catalogue of which Telegram takes no sentence."""

    def gettext(self, message: str) -> str:
        return "x" * 5000

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return self.gettext(msgid1)


async def test_an_end_that_telegram_refuses_to_show_is_closed_after_an_hour(
    house: House, sent: Message
) -> None:
    job = await house.at(JobState.CHOOSING, sent)
    await house.store.fail(job.id, [JobState.CHOOSING], Failure("500"))
    texts_of_nobody = Texts({"en": Language("en", Endless())})
    house.status = StatusMessage(house.bot, house.store, house.shelf, house.experience, texts_of_nobody)
    for advance_s, is_open in ((0, True), (SHOW_FOR_S - 5, True), (10, False)):
        house.clock.advance(advance_s)
        await house.sweep().run()
        assert bool(await house.store.open_jobs()) is is_open
    assert texts(house, job) == []


async def test_an_end_that_could_not_be_shown_for_hours_is_shown_then(house: House, sent: Message) -> None:
    job = await house.at(JobState.CHOOSING, sent)
    await house.store.fail(job.id, [JobState.CHOOSING], Failure("500"))
    house.telegram.faults.add(FaultKind.SERVER_ERROR, method="sendMessage", times=None)
    for _ in range(3):
        house.clock.advance(SHOW_FOR_S)
        await house.sweep().run()
    assert texts(house, job) == []
    house.telegram.faults.clear()
    house.clock.advance(24 * SHOW_FOR_S)
    await house.sweep().run()
    assert len(texts(house, job)) == 1
    assert await house.store.open_jobs() == []


async def test_trouble_with_one_job_keeps_none_of_the_others(
    house: House, provider: Provider, sent: Message, telegram: Telegram
) -> None:
    blocked = telegram.add_user("Bob")
    telegram.block_bot(blocked.id)
    gone = await house.at(JobState.CHOOSING, sent, chat_id=blocked.id)
    await house.store.fail(gone.id, [JobState.CHOOSING], Failure("500"))
    jobs = [await house.at(JobState.SEPARATING, sent, task_id=f"task-{n}") for n in range(20)]
    for number in range(20):
        provider.details[f"task-{number}"] = {} if number % 2 else ready(provider)
    house.clock.advance(AFTER_S + 1)
    await house.sweep().run()
    assert await states(house, jobs) == [JobState.DELIVERING, JobState.SEPARATING] * 10


@pytest.mark.parametrize("error", [ZeroDivisionError(), TryLater(60, "why"), StoreRefused("wrong type")])
async def test_whatever_is_wrong_with_one_job_keeps_none_of_the_others(
    house: House,
    provider: Provider,
    sent: Message,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    jobs = [await house.at(JobState.SEPARATING, sent, task_id=f"task-{n}") for n in range(20)]
    for number in range(20):
        provider.details[f"task-{number}"] = ready(provider)
    receive = house.store.receive

    async def broken(job_id: str, *args: Any) -> Receipt:
        if job_id == jobs[0].id:
            raise error
        return await receive(job_id, *args)

    monkeypatch.setattr(house.store, "receive", broken)
    house.clock.advance(AFTER_S + 1)
    await house.sweep().run()
    assert await states(house, jobs) == [JobState.SEPARATING, *[JobState.DELIVERING] * 19]
    assert f"job {jobs[0].id}: {type(error).__name__}" in caplog.text


async def picked(house: House, sent: Message, count: int, begun: int = MAX_IN_FLIGHT) -> list[Job]:
    """So many songs of one person, each picked; more than may be under way at once wait in line."""
    jobs = [await house.at(JobState.CHOOSING, sent) for _ in range(count)]
    for job in jobs:
        await house.store.pick(job, Mode.SEPARATE_VOCAL, "", 0)
    for job in jobs[:begun]:
        await house.store.begin_create(job.id)
    return [await house.job(job.id) for job in jobs]


async def states(house: House, jobs: list[Job]) -> list[JobState]:
    return [(await house.job(job.id)).state for job in jobs]


async def test_a_line_whose_end_nobody_told_moves_on(house: House, sent: Message) -> None:
    *flying, first, second = await picked(house, sent, MAX_IN_FLIGHT + 2)
    await house.sweep().run()
    assert await states(house, [first, second]) == [JobState.QUEUED] * 2
    # its process died after the move: the end is shown, and nobody was told that there is room
    await house.fail(flying[0].id, Failure("500"))
    await house.store.close(flying[0].id)
    for _ in range(3):
        await house.sweep().run()
    assert await states(house, [first, second]) == [JobState.SUBMITTING, JobState.QUEUED]
    assert await house.ordered() == [("submit", first.id)]


async def test_a_turn_whose_submission_was_never_ordered_is_taken_up(house: House, sent: Message) -> None:
    *flying, first = await picked(house, sent, MAX_IN_FLIGHT + 1)
    await house.store.cancel(flying[0].id)
    assert await house.store.promote(first.account) == [first.id]
    await house.sweep().run()
    assert await house.ordered() == [("submit", first.id)]


async def test_an_end_that_is_shown_starts_the_next(house: House, sent: Message) -> None:
    *flying, first = await picked(house, sent, MAX_IN_FLIGHT + 1)
    await house.fail(flying[0].id, Failure("500"))
    await house.sweep().run()
    assert texts(house, first)[0].startswith("⚠️ That did not work (code 500).")
    assert (await house.job(first.id)).state is JobState.SUBMITTING
    assert await house.ordered() == [("submit", first.id)]


async def test_what_the_sweep_gives_up_starts_the_next(house: House, sent: Message) -> None:
    *flying, first = await picked(house, sent, MAX_IN_FLIGHT + 1)
    house.clock.advance(LIMIT_S + 1)
    await house.sweep().run()
    assert await states(house, [*flying, first]) == [*[JobState.FAILED] * 3, JobState.SUBMITTING]
    assert await house.ordered() == [("submit", first.id)]


async def test_an_end_that_cannot_be_shown_keeps_no_line_waiting(house: House, sent: Message) -> None:
    *flying, first = await picked(house, sent, MAX_IN_FLIGHT + 1)
    await house.fail(flying[0].id, Failure("500"))
    house.telegram.faults.add(FaultKind.SERVER_ERROR, method="sendMessage", times=None)
    # as if it had been sorted in before: only the end itself is looked at
    await house.redis.zrem(OPEN, first.id)
    await house.sweep().run()
    assert (await house.job(first.id)).state is JobState.SUBMITTING


async def test_an_end_that_nobody_is_there_to_see_is_closed_at_once(house: House, sent: Message) -> None:
    *flying, first = await picked(house, sent, MAX_IN_FLIGHT + 1)
    await house.fail(flying[0].id, Failure("500"))
    house.telegram.block_bot(sent.chat.id)
    await house.redis.zrem(OPEN, first.id)
    await house.sweep().run()
    assert flying[0].id not in [job.id for job in await house.store.open_jobs()]
    assert (await house.job(first.id)).state is JobState.SUBMITTING
    calls = len(house.telegram.calls)
    await house.sweep().run()
    assert len(house.telegram.calls) == calls


async def test_a_result_that_is_not_the_jobs_own_is_none(
    house: House, provider: Provider, sent: Message, job: Job
) -> None:
    other = await house.at(JobState.SEPARATING, sent, task_id="task-2")
    await house.redis.set(TASK.format("task-1"), other.id)
    provider.details["task-1"] = ready(provider)
    await house.store.close(other.id)
    house.clock.advance(LIMIT_S + 1)
    await house.sweep().run()
    assert (await house.job(job.id)).failure == Failure("timeout", charged=True)


async def test_a_failure_that_a_success_has_overtaken_is_delivered(house: House, sent: Message) -> None:
    job = await house.at(JobState.DELIVERING, sent, result=Result(200))
    assert await house.store.fail(job.id, [JobState.DELIVERING], Failure("531", charged=False))
    house.clock.advance(SHOW_FOR_S + 1)
    await house.sweep().run()
    assert await house.ordered() == [("deliver", job.id)]
    assert [found.id for found in await house.store.open_jobs()] == [job.id]
    assert texts(house, job) == []


@pytest.mark.parametrize("code", ["empty", "undeliverable"])
async def test_a_failure_in_spite_of_a_success_is_shown(house: House, sent: Message, code: str) -> None:
    job = await house.at(JobState.DELIVERING, sent, result=Result(200))
    assert await house.store.fail(job.id, [JobState.DELIVERING], Failure(code, charged=True))
    await house.sweep().run()
    assert await house.ordered() == []
    assert len(texts(house, job)) == 1


async def test_an_api_that_is_away_ends_no_sweep(redis_url: str, telegram: Telegram, sent: Message) -> None:
    async with run_telegram(telegram) as url, open_house(redis_url, telegram, url) as house:
        job = await house.at(JobState.SEPARATING, sent)
        house.clock.advance(AFTER_S + 1)
        await house.sweep().run()
        assert (await house.job(job.id)).state is JobState.SEPARATING
        house.clock.advance(LIMIT_S)
        await house.sweep().run()
        assert (await house.job(job.id)).failure == Failure("timeout", charged=True)


async def test_a_clock_that_was_set_back_keeps_no_job_waiting(
    house: House, provider: Provider, job: Job
) -> None:
    provider.details[job.task_id] = ready(provider)
    house.clock.advance(-3600)
    await house.sweep().run()
    assert (await house.job(job.id)).moved_at == pytest.approx(house.clock.now, abs=1)
    assert polls(provider) == 0
    house.clock.advance(AFTER_S + 1)
    await house.sweep().run()
    assert polls(provider) == 1
    assert (await house.job(job.id)).state is JobState.DELIVERING


async def test_clocks_that_differ_a_little_change_nothing(house: House, job: Job) -> None:
    house.clock.advance(-CLOCK_SKEW_S + 1)
    await house.sweep().run()
    assert (await house.job(job.id)).moved_at == job.moved_at
