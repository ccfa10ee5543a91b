"""Late jobs are polled, and whatever died in between is moved on: each state at its deadline."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from house import DEADLINES, House, open_house
from provider import Provider

from sandbox.app import run_telegram
from sandbox.chats import Message
from sandbox.faults import FaultKind
from sandbox.state import Telegram
from stemdrop.errors import StoreRefused, TryLater
from stemdrop.jobs import Failure, Job, JobState
from stemdrop.results import Result
from stemdrop.store import Receipt
from webhook.sweep import SHOW_FOR_S

AFTER_S, EVERY_S, LIMIT_S = DEADLINES.poll_after_s, DEADLINES.poll_interval_s, DEADLINES.job_timeout_s


@pytest.fixture
async def house(redis_url: str, telegram: Telegram, provider: Provider) -> AsyncIterator[House]:
    async with (
        run_telegram(telegram) as url,
        open_house(redis_url, telegram, url, api_url=provider.url) as opened,
    ):
        yield opened


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
    assert "This try was charged" in message.text
    assert [button["text"] for button in message.buttons] == ["🔁 Try again"]
    assert await house.store.open_jobs() == []
    await house.sweep().run()
    assert len(texts(house, job)) == 1


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


async def test_an_end_that_cannot_be_shown_is_closed_after_an_hour(house: House, sent: Message) -> None:
    job = await house.at(JobState.CHOOSING, sent)
    await house.store.fail(job.id, [JobState.CHOOSING], Failure("500"))
    house.telegram.faults.add(FaultKind.SERVER_ERROR, method="sendMessage", times=None)
    for advance_s, is_open in ((0, True), (SHOW_FOR_S - 5, True), (10, False)):
        house.clock.advance(advance_s)
        await house.sweep().run()
        assert bool(await house.store.open_jobs()) is is_open
    assert texts(house, job) == []


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
    states = [(await house.job(job.id)).state for job in jobs]
    assert states == [JobState.DELIVERING, JobState.SEPARATING] * 10


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
    states = [(await house.job(job.id)).state for job in jobs]
    assert states == [JobState.SEPARATING, *[JobState.DELIVERING] * 19]
    assert f"job {jobs[0].id}: {type(error).__name__}" in caplog.text


async def test_an_api_that_is_away_ends_no_sweep(redis_url: str, telegram: Telegram, sent: Message) -> None:
    async with run_telegram(telegram) as url, open_house(redis_url, telegram, url) as house:
        job = await house.at(JobState.SEPARATING, sent)
        house.clock.advance(AFTER_S + 1)
        await house.sweep().run()
        assert (await house.job(job.id)).state is JobState.SEPARATING
        house.clock.advance(LIMIT_S)
        await house.sweep().run()
        assert (await house.job(job.id)).failure == Failure("timeout", charged=True)
