"""A picked job is submitted to the separation API at most once, with every kind of failure in between."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from product import PUBLIC_URL, Product, open_product, until
from provider import KEY, Provider

from sandbox.environment.redis_server import RedisServer
from sandbox.telegram.app import run_telegram
from sandbox.telegram.chats import Message
from sandbox.telegram.faults import FaultKind
from sandbox.telegram.person_actions import Telegram
from stemdrop.domain.jobs import Failure, Job, JobState, Mode
from stemdrop.domain.outcomes import Receipt, Run
from stemdrop.domain.results import Result
from stemdrop.errors import StoreUnavailable, TryLater
from worker.submission import LOST_AFTER_S, MAX_BEGUN, MAX_SUBMISSION_RUNS

# The buttons of a failed split in all stems.
RETRY = ["🔁 Try again · 50 credits"]
LOST = "⏳ The separation service did not confirm the order for “Morning Line”."
OTHER_MODES = ["🎤 Vocals + instrumental · 10 credits", "🎸 One instrument… · 20 credits"]


@pytest.fixture
async def product(redis_url: str, telegram: Telegram, provider: Provider) -> AsyncIterator[Product]:
    """The parts, with a provider that accepts orders, fetches nothing and does not call back."""
    provider.fetches_source = provider.answers_by_itself = False
    async with (
        run_telegram(telegram) as url,
        open_product(redis_url, telegram, url, api_url=provider.url) as opened,
    ):
        yield opened


@pytest.fixture
async def job(product: Product, sent: Message) -> Job:
    """Her job, picked and waiting for its submission."""
    return await product.at(JobState.SUBMITTING, sent)


async def run_out(product: Product, job: Job, *, has_callbacks: bool = True) -> list[float]:
    """Run the task as the engine does until it does not ask for a retry; returns the pauses."""
    pauses: list[float] = []
    submission = product.submission(has_callbacks=has_callbacks)
    while True:
        try:
            await submission.run(job.id)
        except TryLater as error:
            pauses.append(error.after_s)
        else:
            return pauses


def shown(product: Product, job: Job) -> Message:
    """The job's only message."""
    (message,) = product.telegram.bot_messages(job.chat_id)
    return message


async def test_a_job_is_submitted_and_shown(product: Product, provider: Provider, job: Job) -> None:
    await product.submission().run(job.id)
    now = await product.job(job.id)
    assert (now.state, now.task_id) == (JobState.SEPARATING, "task-0001")
    (create,) = provider.creates
    assert set(create) == {"audioUrl", "type", "callBackUrl", "taskId"}
    assert create["type"] == "split_stem"
    message = shown(product, job)
    assert message.text.startswith("⏳ Splitting “Morning Line”…")
    assert [button["text"] for button in message.buttons] == ["✖️ Cancel"]
    assert message.reply_to is not None


async def test_an_acceptance_within_seconds_needs_no_edit(
    product: Product, provider: Provider, job: Job
) -> None:
    await product.status.show(job)
    await product.submission().run(job.id)
    assert (await product.job(job.id)).state is JobState.SEPARATING
    assert [call.method for call in product.telegram.calls].count("editMessageText") == 0


async def test_the_process_that_picked_shows_an_acceptance_that_came_before(
    product: Product, provider: Provider, job: Job
) -> None:
    await product.store.set(job.id, picked_at=product.clock())
    await product.submission().run(job.id)
    assert product.telegram.bot_messages(job.chat_id) == []
    await product.status.show(job)
    await product.status.show_newer_state(job)
    assert shown(product, job).text.startswith("⏳ Splitting “Morning Line”…")
    assert [call.method for call in product.telegram.calls].count("editMessageText") == 0


async def test_the_links_name_the_job_and_the_chat(product: Product, provider: Provider, job: Job) -> None:
    await product.submission().run(job.id)
    (create,) = provider.creates
    for url in (create["audioUrl"], create["callBackUrl"]):
        assert url.startswith(PUBLIC_URL)
        assert len(url) - len(PUBLIC_URL) < 200
    _, door, token, name = urlsplit(create["audioUrl"]).path.split("/")
    assert (door, name) == ("source", "audio.mp3")
    assert product.links.read_source(token) == job.id
    _, door, token = urlsplit(create["callBackUrl"]).path.split("/")
    assert door == "callback"
    link = product.links.read_callback(token)
    assert (link.job_id, link.chat_id) == (job.id, job.chat_id)


async def test_the_bots_token_is_not_sent_to_the_api(product: Product, provider: Provider, job: Job) -> None:
    await product.submission().run(job.id)
    assert len(provider.requests) == 1
    assert KEY in provider.requests[0]
    assert product.telegram.token not in "".join(provider.requests)


async def test_our_own_separator_gets_the_format_and_telegrams_limit(
    product: Product, provider: Provider, sent: Message
) -> None:
    provider.abilities = {"formats": ["mp3", "flac"]}
    job = await product.at(JobState.SUBMITTING, sent, file_format="flac")
    await product.submission().run(job.id)
    assert provider.creates[0]["format"] == "flac"
    # with room for tags and a cover of 200 kB (Bot API: a thumbnail)
    assert 0 < provider.creates[0]["maxFileBytes"] < product.settings.max_upload_bytes - 400_000


async def test_the_api_gets_the_mode_and_the_instrument_of_the_advanced_mode(
    product: Product, provider: Provider, sent: Message
) -> None:
    modes = [(Mode.SEPARATE_VOCAL, ""), (Mode.SPLIT_STEM, ""), (Mode.SPLIT_STEM_ADVANCED, "Drum Kit")]
    for mode, instrument in modes:
        job = await product.at(JobState.SUBMITTING, sent, mode=mode, instrument=instrument)
        await product.submission().run(job.id)
    assert [(create["type"], create.get("stemName", "")) for create in provider.creates] == modes


@pytest.mark.parametrize(
    ("code", "offered"),
    [
        (400, []),
        (402, RETRY),
        (422, OTHER_MODES),
        (501, RETRY + OTHER_MODES),
        (599, RETRY),
    ],
)
async def test_a_refusal_is_explained_and_costs_nothing(
    product: Product, provider: Provider, job: Job, code: int, offered: list[str]
) -> None:
    provider.refusal = (code, "no <b>way</b>")
    assert await run_out(product, job) == []
    now = await product.job(job.id)
    assert (now.state, now.failure) == (JobState.FAILED, Failure(str(code), charged=False))
    message = shown(product, job)
    assert message.text.startswith(f"⚠️ That did not work (code {code}).")
    assert "This try cost nothing." in message.text
    assert "Morning Line" in message.text
    assert [button["text"] for button in message.buttons] == offered
    assert len(provider.requests) == 1
    assert await product.store.open_jobs() == []


async def test_a_refusal_with_half_a_surrogate_pair_is_a_refusal(
    product: Product, provider: Provider, sent: Message
) -> None:
    for code in (402, 422):
        provider.refusal = (code, "no credits \ud83d")
        provider.requests.clear()
        job = await product.at(JobState.SUBMITTING, sent)
        assert await run_out(product, job) == []
        assert (await product.job(job.id)).failure == Failure(str(code), charged=False)
        assert len(provider.requests) == 1, code


async def test_an_api_that_is_too_busy_is_called_three_times(
    product: Product, provider: Provider, sent: Message
) -> None:
    for code in (429, 405, 430):
        provider.refusal = (code, "slow down")
        provider.requests.clear()
        job = await product.at(JobState.SUBMITTING, sent)
        pauses = await run_out(product, job)
        assert len(pauses) == MAX_SUBMISSION_RUNS - 1, code
        assert all(pause > 0 for pause in pauses), code
        assert len(provider.requests) == MAX_SUBMISSION_RUNS, code
        assert (await product.job(job.id)).failure == Failure("429", charged=False), code
    told = [message.text for message in product.telegram.bot_messages(sent.chat.id)]
    assert ["too busy right now" in text for text in told] == [True] * 3


async def test_an_api_that_recovers_takes_the_job(product: Product, provider: Provider, job: Job) -> None:
    provider.refusal = (429, "slow down")
    with pytest.raises(TryLater):
        await product.submission().run(job.id)
    provider.refusal = None
    await product.submission().run(job.id)
    assert (await product.job(job.id)).state is JobState.SEPARATING
    assert len(provider.creates) == 1


async def test_an_unreachable_api_is_called_three_times(
    redis_url: str, telegram: Telegram, sent: Message
) -> None:
    async with run_telegram(telegram) as url, open_product(redis_url, telegram, url) as product:
        job = await product.at(JobState.SUBMITTING, sent)
        assert len(await run_out(product, job)) == MAX_SUBMISSION_RUNS - 1
        assert (await product.job(job.id)).failure == Failure("unreachable", charged=False)
        message = shown(product, job)
        assert "cannot be reached" in message.text
        assert "This try cost nothing." in message.text
        assert message.buttons


async def test_a_submission_that_keeps_breaking_off_fails(
    product: Product, provider: Provider, job: Job
) -> None:
    await product.store.count_run(job.id, Run.SUBMIT, by=MAX_BEGUN)
    assert await run_out(product, job) == []
    assert provider.requests == []
    assert (await product.job(job.id)).failure == Failure("internal", charged=False)
    assert (await product.store.failed_jobs())[0].id == job.id
    assert "before your song was submitted" in shown(product, job).text


async def test_the_last_allowed_run_still_submits(product: Product, provider: Provider, job: Job) -> None:
    await product.store.count_run(job.id, Run.SUBMIT, by=MAX_BEGUN - 1)
    assert await run_out(product, job) == []
    assert len(provider.creates) == 1


async def test_a_lost_answer_is_told_at_once_and_stays_told(
    product: Product, provider: Provider, job: Job
) -> None:
    provider.lose_answer = True
    for _ in range(3):
        assert await run_out(product, job) == []
        message = shown(product, job)
        assert message.text.startswith(LOST)
        assert "it will fetch your song now" in message.text
        assert [button["text"] for button in message.buttons] == ["✖️ Cancel"]
        product.clock.advance(30)
        await product.progress_updates().run()
    assert message.text.startswith(LOST)
    assert len(provider.creates) == 1
    assert (await product.job(job.id)).state is JobState.SUBMITTING
    # the callback carries the job, so its result is matched all the same
    assert await product.store.receive(job.id, job.chat_id, "task-0001", Result(500)) is Receipt.STORED


async def test_concurrent_runs_submit_once(product: Product, provider: Provider, job: Job) -> None:
    submission = product.submission()
    ends = await asyncio.gather(*(submission.run(job.id) for _ in range(5)), return_exceptions=True)
    assert {type(end) for end in ends} <= {type(None), TryLater}
    await submission.run(job.id)
    assert len(provider.creates) == 1
    assert (await product.job(job.id)).state is JobState.SEPARATING


async def test_the_call_is_not_repeated_after_a_crash(product: Product, provider: Provider, job: Job) -> None:
    await product.store.begin_create(job.id)
    with pytest.raises(TryLater):
        await product.submission().run(job.id)
    product.clock.advance(LOST_AFTER_S)
    assert await run_out(product, job) == []
    assert provider.requests == []
    assert (await product.job(job.id)).state is JobState.SUBMITTING
    assert shown(product, job).text.startswith(LOST)


@pytest.mark.parametrize("is_killed", [False, True])
async def test_without_callbacks_a_lost_answer_fails_the_job_at_once(
    product: Product, provider: Provider, job: Job, *, is_killed: bool
) -> None:
    """No result can come: there is no task id to poll."""
    provider.lose_answer = True
    if is_killed:
        await product.store.begin_create(job.id)
        product.clock.advance(LOST_AFTER_S)
    assert await run_out(product, job, has_callbacks=False) == []
    assert (await product.job(job.id)).failure == Failure("lost", charged=None)
    message = shown(product, job)
    assert "It is not known whether this try was charged." in message.text
    assert [button["text"] for button in message.buttons] == RETRY
    assert len(provider.creates) == (not is_killed)


async def test_a_second_run_beside_a_live_call_does_not_call_its_answer_lost(
    product: Product, provider: Provider, job: Job
) -> None:
    provider.hold_answer.clear()
    running = asyncio.create_task(product.submission().run(job.id))
    await until(lambda: provider.creates)
    with pytest.raises(TryLater) as again:
        await product.submission().run(job.id)
    assert again.value.after_s == pytest.approx(LOST_AFTER_S, abs=30)
    assert (await product.job(job.id)).answer_lost_at == 0
    provider.hold_answer.set()
    await running
    assert (await product.job(job.id)).state is JobState.SEPARATING


async def test_only_a_submitting_job_is_submitted(
    product: Product, provider: Provider, sent: Message
) -> None:
    others = (JobState.CHOOSING, JobState.SEPARATING, JobState.DELIVERING)
    jobs = [await product.at(state, sent, task_id=f"task-{state}") for state in others]
    for job in jobs:
        await product.submission().run(job.id)
    await product.submission().run("0000000000000000")
    assert provider.requests == []
    assert [await product.job(job.id) for job in jobs] == jobs


async def test_a_callback_before_the_answer_is_not_undone_by_it(
    product: Product, provider: Provider, job: Job
) -> None:
    provider.hold_answer.clear()
    running = asyncio.create_task(product.submission().run(job.id))
    await until(lambda: provider.creates)
    assert await product.store.receive(job.id, job.chat_id, "task-0001", Result(500)) is Receipt.STORED
    provider.hold_answer.set()
    await running
    now = await product.job(job.id)
    assert (now.state, now.task_id, now.result) == (JobState.DELIVERING, "task-0001", Result(500))


async def test_a_job_cancelled_during_the_call_stays_cancelled(
    product: Product, provider: Provider, job: Job
) -> None:
    provider.hold_answer.clear()
    running = asyncio.create_task(product.submission().run(job.id))
    await until(lambda: provider.creates)
    assert await product.store.move(job.id, [JobState.SUBMITTING], JobState.CANCELLED)
    await product.status.show_current(job.id)
    provider.hold_answer.set()
    await running
    now = await product.job(job.id)
    assert (now.state, now.task_id) == (JobState.CANCELLED, "task-0001")
    assert shown(product, job).text.endswith("so it may have been charged.")


def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses between attempts to reach Redis."""
    sleep = asyncio.sleep

    async def nap(seconds: float) -> None:
        await sleep(min(seconds, 0.05))

    monkeypatch.setattr("stemdrop.storage.connection.sleep", nap)


async def test_a_refusal_survives_a_failure_of_redis(
    product: Product, provider: Provider, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise it would be taken for a lost answer."""
    soon(monkeypatch)
    not_accepted, away = product.store.not_accepted, [1, 2, 3]

    async def later(*arguments: Any, **options: Any) -> None:
        if away:
            away.pop()
            raise StoreUnavailable("Redis does not answer")
        await not_accepted(*arguments, **options)

    monkeypatch.setattr(product.store, "not_accepted", later)
    provider.refusal = (402, "no credits")
    assert await run_out(product, job) == []
    assert away == []
    now = await product.job(job.id)
    assert (now.failure, now.create_started_at) == (Failure("402", charged=False), 0)


async def test_a_paid_task_survives_a_restart_of_redis(
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
        open_product(redis.url, telegram, url, api_url=provider.url) as product,
    ):
        await product.redis.config_set("appendfsync", "always")  # the kill must lose nothing
        job = await product.at(JobState.SUBMITTING, sent)
        running = asyncio.create_task(product.submission().run(job.id))
        await until(lambda: provider.creates)
        await asyncio.to_thread(redis.kill)
        provider.hold_answer.set()
        await asyncio.to_thread(redis.start)
        await running
        now = await product.job(job.id)
        assert (now.state, now.task_id) == (JobState.SEPARATING, "task-0001")
        assert len(provider.creates) == 1


async def test_a_job_goes_on_when_its_message_cannot_be_shown(
    product: Product, provider: Provider, job: Job
) -> None:
    product.telegram.faults.add(FaultKind.SERVER_ERROR, method="sendMessage", times=None)
    await product.submission().run(job.id)
    assert (await product.job(job.id)).state is JobState.SEPARATING


async def test_without_a_public_url_the_source_is_uploaded(
    product: Product, provider: Provider, job: Job
) -> None:
    await product.submission(has_callbacks=False).run(job.id)
    ((name, content),) = provider.uploads.items()
    assert name.endswith(".mp3")
    assert content == product.telegram.file_location(job.source.file_id).read_bytes()
    (create,) = provider.creates
    assert create["audioUrl"] == f"{provider.url}/uploads/{name}"
    assert create["callBackUrl"] == "https://callback.invalid/none"
    assert (await product.job(job.id)).state is JobState.SEPARATING
    assert product.telegram.token not in "".join(provider.requests)


async def test_an_upload_that_is_refused_is_explained(product: Product, provider: Provider, job: Job) -> None:
    provider.upload_refusal = (413, "too large")
    assert await run_out(product, job, has_callbacks=False) == []
    assert (await product.job(job.id)).failure == Failure("413", charged=False)
    assert provider.creates == []


async def test_an_upload_that_breaks_off_is_tried_again(
    product: Product, provider: Provider, job: Job
) -> None:
    product.telegram.faults.add(FaultKind.RESET_MID_DOWNLOAD, method="download")
    assert len(await run_out(product, job, has_callbacks=False)) == 1
    assert (await product.job(job.id)).state is JobState.SEPARATING
    assert len(provider.creates) == 1


async def test_a_failing_get_file_is_tried_three_times(
    product: Product, provider: Provider, sent: Message
) -> None:
    for fault in (FaultKind.SERVER_ERROR, FaultKind.BAD_GATEWAY, FaultKind.RESET_BEFORE):
        product.telegram.faults.clear()
        product.telegram.faults.add(fault, method="getFile", times=None)
        job = await product.at(JobState.SUBMITTING, sent)
        pauses = await run_out(product, job, has_callbacks=False)
        assert len(pauses) == MAX_SUBMISSION_RUNS - 1, fault
        assert (await product.job(job.id)).failure == Failure("unreachable", charged=False), fault
    assert provider.creates == []


async def test_a_source_that_is_gone_is_not_paid_for(product: Product, provider: Provider, job: Job) -> None:
    """The provider could not fetch it and would charge for that (451)."""
    product.telegram.faults.add(FaultKind.FILE_GONE, method="getFile")
    assert await run_out(product, job) == []
    assert (await product.job(job.id)).failure == Failure("source_gone", charged=False)
    assert provider.creates == []


@pytest.mark.parametrize("has_callbacks", [True, False])
async def test_a_source_that_is_temporarily_unavailable_is_awaited(
    product: Product, provider: Provider, job: Job, sent: Message, *, has_callbacks: bool
) -> None:
    product.telegram.faults.add(FaultKind.FILE_UNAVAILABLE, method="getFile", times=6)
    assert len(await run_out(product, job, has_callbacks=has_callbacks)) == 1
    assert (await product.job(job.id)).state is JobState.SEPARATING
    product.telegram.faults.add(FaultKind.FILE_UNAVAILABLE, method="getFile", times=None)
    again = await product.at(JobState.SUBMITTING, sent)
    assert len(await run_out(product, again, has_callbacks=has_callbacks)) == MAX_SUBMISSION_RUNS - 1
    assert (await product.job(again.id)).failure == Failure("source_gone", charged=False)
    assert len(provider.creates) == 1


@pytest.mark.parametrize("method", ["getFile", "download"])
async def test_a_source_that_is_gone_is_explained(
    product: Product, provider: Provider, job: Job, method: str
) -> None:
    product.telegram.faults.add(FaultKind.FILE_GONE, method=method)
    assert await run_out(product, job, has_callbacks=False) == []
    assert (await product.job(job.id)).failure == Failure("source_gone", charged=False)
    message = shown(product, job)
    assert "Please send it again." in message.text
    assert message.buttons == []
    assert provider.creates == []
