"""A picked job is handed to the separation API exactly once, whatever dies or is said in between."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from house import KEY, PUBLIC_URL, House, open_house, until
from provider import Provider

from sandbox.environment.redis_server import RedisServer
from sandbox.telegram.app import run_telegram
from sandbox.telegram.chats import Message, User
from sandbox.telegram.faults import FaultKind
from sandbox.telegram.person_actions import Telegram
from stemdrop.domain.jobs import Failure, Job, JobState, Mode
from stemdrop.domain.results import Result
from stemdrop.errors import StoreUnavailable, TryLater
from stemdrop.storage.job_store import Receipt, Run
from worker.submission import MAX_BEGUN, MAX_RUNS

# The buttons of a failed split in all stems.
RETRY = ["🔁 Try again · 50 credits"]
OTHER_MODES = ["🎤 Vocals + instrumental · 10 credits", "🎸 One instrument… · 20 credits"]


@pytest.fixture
async def house(redis_url: str, telegram: Telegram, provider: Provider) -> AsyncIterator[House]:
    """With an API that takes jobs, fetches nothing and keeps its results to itself."""
    provider.fetches_source = provider.answers_by_itself = False
    async with (
        run_telegram(telegram) as url,
        open_house(redis_url, telegram, url, api_url=provider.url) as opened,
    ):
        yield opened


@pytest.fixture
async def sent(telegram: Telegram, alice: User, song: Path) -> Message:
    """Alice's message with the song."""
    return await telegram.send_file(alice.id, song)


@pytest.fixture
async def job(house: House, sent: Message) -> Job:
    """Her job, picked and waiting to be handed in."""
    return await house.at(JobState.SUBMITTING, sent)


async def run_out(house: House, job: Job, *, has_callbacks: bool = True) -> list[float]:
    """Run the task as the engine does, as long as it wants to be run again; returns the pauses."""
    pauses: list[float] = []
    submission = house.submission(has_callbacks=has_callbacks)
    while True:
        try:
            await submission.run(job.id)
        except TryLater as error:
            pauses.append(error.after_s)
        else:
            return pauses


def shown(house: House, job: Job) -> Message:
    """The job's only message."""
    (message,) = house.telegram.bot_messages(job.chat_id)
    return message


async def test_a_job_is_handed_in_and_shown(house: House, provider: Provider, job: Job) -> None:
    await house.submission().run(job.id)
    now = await house.job(job.id)
    assert (now.state, now.task_id) == (JobState.SEPARATING, "task-0001")
    (create,) = provider.creates
    assert set(create) == {"audioUrl", "type", "callBackUrl", "taskId"}
    assert create["type"] == "split_stem"
    message = shown(house, job)
    assert message.text.startswith("⏳ Taking “Morning Line” apart")
    assert [button["text"] for button in message.buttons] == ["✖️ Cancel"]
    assert message.reply_to is not None


async def test_its_links_are_ours_and_name_the_job_and_the_chat(
    house: House, provider: Provider, job: Job
) -> None:
    await house.submission().run(job.id)
    (create,) = provider.creates
    for url in (create["audioUrl"], create["callBackUrl"]):
        assert url.startswith(PUBLIC_URL)
        assert len(url) - len(PUBLIC_URL) < 200
    _, door, token, name = urlsplit(create["audioUrl"]).path.split("/")
    assert (door, name) == ("source", "audio.mp3")
    assert house.links.read_source(token) == job.id
    _, door, token = urlsplit(create["callBackUrl"]).path.split("/")
    assert door == "callback"
    link = house.links.read_callback(token)
    assert (link.job_id, link.chat_id) == (job.id, job.chat_id)


async def test_the_bots_token_is_told_to_nobody(house: House, provider: Provider, job: Job) -> None:
    await house.submission().run(job.id)
    assert len(provider.requests) == 1
    assert KEY in provider.requests[0]
    assert house.telegram.token not in "".join(provider.requests)


@pytest.mark.parametrize(
    ("mode", "instrument"),
    [(Mode.SEPARATE_VOCAL, ""), (Mode.SPLIT_STEM, ""), (Mode.SPLIT_STEM_ADVANCED, "Drum Kit")],
)
async def test_the_api_is_told_the_mode_and_only_for_one_instrument_its_name(
    house: House, provider: Provider, sent: Message, mode: Mode, instrument: str
) -> None:
    job = await house.at(JobState.SUBMITTING, sent, mode=mode, instrument=instrument)
    await house.submission().run(job.id)
    (create,) = provider.creates
    assert create["type"] == mode.value
    assert create.get("stemName", "") == instrument


@pytest.mark.parametrize(
    ("code", "offered"),
    [
        (400, []),
        (401, RETRY),
        (402, RETRY),
        (404, RETRY),
        (408, RETRY),
        (409, RETRY),
        (413, []),
        (422, OTHER_MODES),
        (451, RETRY),
        (455, RETRY),
        (500, RETRY),
        (501, RETRY + OTHER_MODES),
        (505, OTHER_MODES),
        (599, RETRY),
    ],
)
async def test_a_refusal_is_explained_and_costs_nothing(
    house: House, provider: Provider, job: Job, code: int, offered: list[str]
) -> None:
    provider.refusal = (code, "no <b>way</b>")
    assert await run_out(house, job) == []
    now = await house.job(job.id)
    assert (now.state, now.failure) == (JobState.FAILED, Failure(str(code), charged=False))
    message = shown(house, job)
    assert message.text.startswith(f"⚠️ That did not work (code {code}).")
    assert "This try cost nothing." in message.text
    assert "Morning Line" in message.text
    assert [button["text"] for button in message.buttons] == offered
    assert len(provider.requests) == 1
    assert await house.store.open_jobs() == []


async def test_an_api_with_too_much_to_do_is_asked_three_times(
    house: House, provider: Provider, job: Job
) -> None:
    provider.refusal = (429, "slow down")
    pauses = await run_out(house, job)
    assert len(pauses) == MAX_RUNS - 1
    assert all(pause > 0 for pause in pauses)
    assert len(provider.requests) == MAX_RUNS
    assert (await house.job(job.id)).failure == Failure("429", charged=False)
    assert "too much to do at the moment" in shown(house, job).text


async def test_an_api_that_recovers_takes_the_job(house: House, provider: Provider, job: Job) -> None:
    provider.refusal = (429, "slow down")
    with pytest.raises(TryLater):
        await house.submission().run(job.id)
    provider.refusal = None
    await house.submission().run(job.id)
    assert (await house.job(job.id)).state is JobState.SEPARATING
    assert len(provider.creates) == 1


async def test_an_api_that_is_away_is_asked_three_times(
    redis_url: str, telegram: Telegram, sent: Message
) -> None:
    async with run_telegram(telegram) as url, open_house(redis_url, telegram, url) as house:
        job = await house.at(JobState.SUBMITTING, sent)
        assert len(await run_out(house, job)) == MAX_RUNS - 1
        assert (await house.job(job.id)).failure == Failure("unreachable", charged=False)
        message = shown(house, job)
        assert "cannot be reached" in message.text
        assert "This try cost nothing." in message.text
        assert message.buttons


async def test_a_submission_that_kills_its_process_does_not_repeat_for_ever(
    house: House, provider: Provider, job: Job
) -> None:
    await house.store.count_run(job.id, Run.SUBMIT, by=MAX_BEGUN)
    assert await run_out(house, job) == []
    assert provider.requests == []
    assert (await house.job(job.id)).failure == Failure("internal", charged=False)
    assert (await house.store.failed_jobs())[0].id == job.id
    assert "before your song was submitted" in shown(house, job).text


async def test_the_last_run_that_may_begin_still_hands_it_in(
    house: House, provider: Provider, job: Job
) -> None:
    await house.store.count_run(job.id, Run.SUBMIT, by=MAX_BEGUN - 1)
    assert await run_out(house, job) == []
    assert len(provider.creates) == 1


async def test_a_lost_answer_is_waited_for_and_never_asked_again(
    house: House, provider: Provider, job: Job
) -> None:
    provider.lose_answer = True
    for _ in range(3):
        assert await run_out(house, job) == []
    assert len(provider.creates) == 1
    assert (await house.job(job.id)).state is JobState.SUBMITTING
    message = shown(house, job)
    assert "the answer got lost" in message.text
    assert [button["text"] for button in message.buttons] == ["✖️ Cancel"]
    # the callback carries the job, so its result is matched all the same
    assert await house.store.receive(job.id, job.chat_id, "task-0001", Result(500)) is Receipt.STORED


async def test_without_callbacks_a_lost_answer_is_explained_at_once(
    house: House, provider: Provider, job: Job
) -> None:
    provider.lose_answer = True
    assert await run_out(house, job, has_callbacks=False) == []
    assert (await house.job(job.id)).failure == Failure("lost", charged=None)
    message = shown(house, job)
    assert "never said whether it took the job" in message.text
    assert "Whether this try was charged is not known." in message.text
    assert len(message.buttons) == 1


async def test_running_twice_hands_in_once(house: House, provider: Provider, job: Job) -> None:
    submission = house.submission()
    await asyncio.gather(*(submission.run(job.id) for _ in range(5)))
    await submission.run(job.id)
    assert len(provider.creates) == 1
    assert (await house.job(job.id)).state is JobState.SEPARATING


async def test_after_a_crash_around_the_call_it_is_not_made_again(
    house: House, provider: Provider, job: Job
) -> None:
    await house.store.begin_create(job.id)
    assert await run_out(house, job) == []
    assert provider.requests == []
    assert (await house.job(job.id)).state is JobState.SUBMITTING
    assert "the answer got lost" in shown(house, job).text


async def test_after_a_crash_without_callbacks_the_user_decides(
    house: House, provider: Provider, job: Job
) -> None:
    await house.store.begin_create(job.id)
    assert await run_out(house, job, has_callbacks=False) == []
    assert provider.requests == []
    assert (await house.job(job.id)).failure == Failure("lost", charged=None)


@pytest.mark.parametrize("state", [JobState.CHOOSING, JobState.SEPARATING, JobState.DELIVERING])
async def test_only_a_job_that_waits_to_be_handed_in_is(
    house: House, provider: Provider, sent: Message, state: JobState
) -> None:
    job = await house.at(state, sent)
    await house.submission().run(job.id)
    await house.submission().run("0000000000000000")
    assert provider.requests == []
    assert await house.job(job.id) == job


async def test_a_callback_before_the_answer_is_not_undone_by_it(
    house: House, provider: Provider, job: Job
) -> None:
    provider.hold_answer.clear()
    running = asyncio.create_task(house.submission().run(job.id))
    await until(lambda: provider.creates)
    assert await house.store.receive(job.id, job.chat_id, "task-0001", Result(500)) is Receipt.STORED
    provider.hold_answer.set()
    await running
    now = await house.job(job.id)
    assert (now.state, now.task_id, now.result) == (JobState.DELIVERING, "task-0001", Result(500))


async def test_a_job_cancelled_while_it_is_handed_in_stays_cancelled(
    house: House, provider: Provider, job: Job
) -> None:
    provider.hold_answer.clear()
    running = asyncio.create_task(house.submission().run(job.id))
    await until(lambda: provider.creates)
    assert await house.store.move(job.id, [JobState.SUBMITTING], JobState.CANCELLED)
    await house.status.refresh(job.id)
    provider.hold_answer.set()
    await running
    now = await house.job(job.id)
    assert (now.state, now.task_id) == (JobState.CANCELLED, "task-0001")
    assert shown(house, job).text.endswith("so it may have been charged.")


def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what waits for Redis look again in a moment."""
    sleep = asyncio.sleep

    async def nap(seconds: float) -> None:
        await sleep(min(seconds, 0.05))

    monkeypatch.setattr("stemdrop.storage.connection.sleep", nap)


async def test_a_refusal_outlives_a_pause_of_redis(
    house: House, provider: Provider, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or it would be taken for a lost answer, which nobody dares to ask for again."""
    soon(monkeypatch)
    not_accepted, away = house.store.not_accepted, [1, 2, 3]

    async def later(job: Job) -> None:
        if away:
            away.pop()
            raise StoreUnavailable("Redis does not answer")
        await not_accepted(job)

    monkeypatch.setattr(house.store, "not_accepted", later)
    provider.refusal = (402, "no credits")
    assert await run_out(house, job) == []
    assert away == []
    now = await house.job(job.id)
    assert (now.failure, now.create_started_at) == (Failure("402", charged=False), 0)


async def test_a_task_that_was_paid_for_outlives_a_pause_of_redis(
    tmp_path: Path,
    telegram: Telegram,
    provider: Provider,
    sent: Message,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    soon(monkeypatch)
    provider.fetches_source = provider.answers_by_itself = False
    provider.hold_answer.clear()
    async with (
        RedisServer(tmp_path / "redis") as redis,
        run_telegram(telegram) as url,
        open_house(redis.url, telegram, url, api_url=provider.url) as house,
    ):
        job = await house.at(JobState.SUBMITTING, sent)
        running = asyncio.create_task(house.submission().run(job.id))
        await until(lambda: provider.creates)
        await house.redis.execute_command("WAITAOF", 1, 0, 5000)  # a kill loses what is not on disk
        await asyncio.to_thread(redis.kill)
        provider.hold_answer.set()
        await asyncio.to_thread(redis.start)
        await running
        now = await house.job(job.id)
        assert (now.state, now.task_id) == (JobState.SEPARATING, "task-0001")
        assert len(provider.creates) == 1


async def test_a_message_that_cannot_be_shown_changes_nothing(
    house: House, provider: Provider, job: Job
) -> None:
    house.telegram.faults.add(FaultKind.SERVER_ERROR, method="sendMessage", times=None)
    await house.submission().run(job.id)
    assert (await house.job(job.id)).state is JobState.SEPARATING


async def test_with_no_public_url_the_source_is_uploaded(house: House, provider: Provider, job: Job) -> None:
    await house.submission(has_callbacks=False).run(job.id)
    ((name, content),) = provider.uploads.items()
    assert name.endswith(".mp3")
    assert content == house.telegram.file_location(job.source.file_id).read_bytes()
    (create,) = provider.creates
    assert create["audioUrl"] == f"{provider.url}/uploads/{name}"
    assert create["callBackUrl"] == "https://callback.invalid/none"
    assert (await house.job(job.id)).state is JobState.SEPARATING
    assert house.telegram.token not in "".join(provider.requests)


async def test_an_upload_that_is_refused_is_explained(house: House, provider: Provider, job: Job) -> None:
    provider.upload_refusal = (413, "too large")
    assert await run_out(house, job, has_callbacks=False) == []
    assert (await house.job(job.id)).failure == Failure("413", charged=False)
    assert provider.creates == []


async def test_an_upload_that_breaks_off_is_tried_again(house: House, provider: Provider, job: Job) -> None:
    house.telegram.faults.add(FaultKind.RESET_MID_DOWNLOAD, method="download")
    assert len(await run_out(house, job, has_callbacks=False)) == 1
    assert (await house.job(job.id)).state is JobState.SEPARATING
    assert len(provider.creates) == 1


@pytest.mark.parametrize("fault", [FaultKind.SERVER_ERROR, FaultKind.BAD_GATEWAY, FaultKind.RESET_BEFORE])
async def test_a_telegram_that_does_not_say_where_the_source_is_is_asked_three_times(
    house: House, provider: Provider, job: Job, fault: FaultKind
) -> None:
    house.telegram.faults.add(fault, method="getFile", times=None)
    assert len(await run_out(house, job, has_callbacks=False)) == MAX_RUNS - 1
    assert (await house.job(job.id)).failure == Failure("unreachable", charged=False)
    assert provider.creates == []


@pytest.mark.parametrize("method", ["getFile", "download"])
async def test_a_source_that_telegram_no_longer_has_is_explained(
    house: House, provider: Provider, job: Job, method: str
) -> None:
    house.telegram.faults.add(FaultKind.FILE_GONE, method=method)
    assert await run_out(house, job, has_callbacks=False) == []
    assert (await house.job(job.id)).failure == Failure("source_gone", charged=False)
    message = shown(house, job)
    assert "Please send it again." in message.text
    assert message.buttons == []
    assert provider.creates == []
