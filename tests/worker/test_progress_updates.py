"""Progress updates of job messages, within Telegram's limits, which stems need."""

import logging
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from builders import make_job
from product import Clock, Product, open_product

from sandbox.telegram.app import run_telegram
from sandbox.telegram.chats import Message, User
from sandbox.telegram.faults import FaultKind
from sandbox.telegram.person_actions import Telegram
from stemdrop.domain.jobs import ASK_AGAIN_AFTER_S, Failure, Job, JobState, Mode
from stemdrop.errors import TryLater
from stemdrop.storage.job_store import MAX_IN_FLIGHT
from stemdrop.storage.keys import PROGRESS_DUE, PROGRESS_LIFETIME_S, RECEIVING_LIFETIME_S
from worker.progress_updates import (
    FIRST_S,
    MESSAGES_PER_RUN,
    OLD_S,
    YOUNG_S,
    YOUNG_UNTIL_S,
)

EVERY_S = 5


@pytest.fixture
def clock() -> Clock:
    """The clock of the product, its limiter, and the local Telegram."""
    return Clock()


@pytest.fixture
async def telegram(tmp_path: Path, clock: Clock) -> AsyncIterator[Telegram]:
    state = Telegram(tmp_path / "telegram", clock=clock)
    yield state
    await state.close()


@pytest.fixture
async def product(redis_url: str, telegram: Telegram, clock: Clock) -> AsyncIterator[Product]:
    async with (
        run_telegram(telegram) as url,
        open_product(redis_url, telegram, url, is_flood_limited=True, clock=clock) as opened,
    ):
        yield opened


@pytest.fixture
async def job(product: Product, sent: Message) -> Job:
    """A job that is being split, with its message."""
    return await shown(product, JobState.SEPARATING, sent)


async def shown(product: Product, state: JobState, sent: Message, **changes: Any) -> Job:
    """Make a job in this state and show its message."""
    product.clock.advance(10)  # so that showing it needs no waiting
    job = await product.at(state, sent, **changes)
    await product.status.show(job)
    return await product.job(job.id)


def text(product: Product, job: Job) -> str:
    """Return the text of the job's only message."""
    (message,) = [m for m in product.telegram.bot_messages(job.chat_id) if m.message_id == job.message_id]
    return message.text


def edits(product: Product) -> int:
    return sum(call.method == "editMessageText" for call in product.telegram.calls)


async def passes(product: Product, seconds: float) -> list[int]:
    """Run the updates as often as they run in this time; returns how many messages each run wrote."""
    counters = []
    for _ in range(round(seconds / EVERY_S)):
        product.clock.advance(EVERY_S)
        before = edits(product)
        await product.progress_updates().run()
        counters.append(edits(product) - before)
    assert product.telegram.flood_refusals == 0
    return counters


async def test_the_message_says_how_long_the_split_takes(product: Product, job: Job) -> None:
    first = text(product, job)
    product.clock.advance(60)
    await product.progress_updates().run()
    assert text(product, job) != first
    assert "1 min" in text(product, job)
    assert (await product.job(job.id)).shown_at > job.shown_at


async def test_updates_become_rarer_with_age(product: Product, job: Job) -> None:
    counters = await passes(product, YOUNG_UNTIL_S + 2 * OLD_S)
    times = [number * EVERY_S for number, count in enumerate(counters, 1) if count]
    assert times[0] == FIRST_S
    # each pause → the last time of a pause of this length
    pauses: dict[float, float] = {late - early: late for early, late in pairwise(times)}
    assert set(pauses) == {YOUNG_S, OLD_S}
    assert pauses[YOUNG_S] == pytest.approx(YOUNG_UNTIL_S, abs=YOUNG_S)


async def test_an_unchanged_message_is_not_written(product: Product, sent: Message) -> None:
    job = await shown(product, JobState.SUBMITTING, sent)
    assert sum(await passes(product, 30)) == 1
    assert text(product, job).startswith("⏫ Submitting")
    assert sum(await passes(product, 2 * OLD_S)) == 0


async def test_a_job_that_is_not_in_progress_is_left_alone(product: Product, song: Path) -> None:
    jobs = await many(product, song, 3)
    for job, state in zip(jobs, (JobState.CHOOSING, JobState.DELIVERING, JobState.FAILED), strict=True):
        assert await product.store.move(job.id, [job.state], state, failure=Failure("500"))
    before = [text(product, job) for job in jobs]
    assert sum(await passes(product, 2 * OLD_S)) == 0
    assert [text(product, job) for job in jobs] == before


async def test_a_lost_answer_is_told_and_another_call_offered_on_time(
    product: Product, sent: Message
) -> None:
    job = await shown(product, JobState.SUBMITTING, sent)
    call = await product.store.begin_create(job.id)
    await product.store.lose_answer(job.id, call)
    product.clock.advance(ASK_AGAIN_AFTER_S - EVERY_S)
    await product.progress_updates().run()
    assert "it will fetch your song now" in text(product, job)
    assert sum(await passes(product, 2 * EVERY_S)) == 1
    assert "most likely nothing was charged" in text(product, job)


async def line(product: Product, sent: Message, count: int) -> list[Job]:
    """Pick jobs beyond the limit of one user, so that the last `count` wait in the queue; none is shown."""
    songs = [make_job().source for _ in range(MAX_IN_FLIGHT + count)]
    jobs = [await shown(product, JobState.CHOOSING, sent, source=song) for song in songs]
    for job in jobs:
        await product.store.pick(job, Mode.SEPARATE_VOCAL, "", 0)
    return [await product.job(job.id) for job in jobs]


async def test_a_queued_job_whose_message_was_never_edited_shows_its_place(
    product: Product, sent: Message
) -> None:
    *_, first, second = await line(product, sent, 2)
    assert text(product, second).startswith("🎵 “")
    await passes(product, 45)
    assert "number 1 in your queue" in text(product, first)
    assert "number 2 in your queue" in text(product, second)


async def test_places_in_the_queue_are_updated(product: Product, sent: Message) -> None:
    flying, *_, first, second = await line(product, sent, 2)
    await passes(product, 45)
    assert sum(await passes(product, OLD_S)) == 0
    await product.store.cancel(flying.id)
    await product.account_queue.next(flying.account)
    await passes(product, YOUNG_S + EVERY_S)
    assert text(product, first).startswith("⏫ Submitting")
    assert "number 1 in your queue" in text(product, second)


async def test_a_message_that_the_user_deleted_comes_back(product: Product, job: Job) -> None:
    product.telegram.delete_message(job.chat_id, job.message_id)
    await passes(product, 20)
    (message,) = product.telegram.bot_messages(job.chat_id)
    assert (await product.job(job.id)).message_id == message.message_id


async def many(product: Product, song: Path, count: int) -> list[Job]:
    jobs = []
    for number in range(count):
        user = product.telegram.add_user(f"Person {number}")
        sent = await product.telegram.send_file(user.id, song)
        jobs.append(await shown(product, JobState.SEPARATING, sent, task_id=f"task-{number}"))
    return jobs


async def test_many_chats_take_turns_within_the_limits(
    product: Product, song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.progress_updates.MESSAGES_PER_RUN", 2)
    jobs = await many(product, song, 6)
    product.clock.advance(OLD_S)
    begun = {job.id: job.shown_at for job in jobs}
    assert await passes(product, 3 * EVERY_S) == [2] * 3
    # the messages that were not written for longest came first, so each was updated
    for job in jobs:
        assert (await product.job(job.id)).shown_at > begun[job.id]
        assert "so far" in text(product, job)


async def test_jobs_in_one_group_share_one_message_a_minute(
    product: Product, song: Path, alice: User
) -> None:
    group = product.telegram.add_group("Band", [alice])
    jobs = []
    for number in range(8):
        sent = await product.telegram.send_file(group.id, song, user_id=alice.id)
        jobs.append(await shown(product, JobState.SEPARATING, sent, task_id=f"task-{number}"))
    product.clock.advance(PROGRESS_LIFETIME_S)
    await product.progress_updates().run()
    # those that wait are read in turn, not all of them every minute
    soon = product.clock.now + 2 * PROGRESS_LIFETIME_S
    assert await product.redis.zcount(PROGRESS_DUE, "-inf", soon) <= 3
    counters = await passes(product, 9 * PROGRESS_LIFETIME_S)
    assert set(counters) == {0, 1}
    assert 7 <= sum(counters) <= 9
    renewed = [(await product.job(job.id)).shown_at > job.shown_at for job in jobs]
    assert renewed.count(True) >= 7


async def test_a_chat_that_receives_stems_gets_no_updates(product: Product, sent: Message, job: Job) -> None:
    await shown(product, JobState.DELIVERING, sent, task_id="task-2")
    assert sum(await passes(product, RECEIVING_LIFETIME_S - 15)) == 0
    assert sum(await passes(product, 30)) == 1


async def test_an_update_does_not_wait_for_flood_limits(
    product: Product, sent: Message, job: Job, song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def wait(seconds: float) -> None:
        product.clock.advance(seconds)

    monkeypatch.setattr("stemdrop.chat.telegram_bot.sleep", wait)
    other = (await many(product, song, 1))[0]
    product.clock.advance(OLD_S)
    # another process has just used up this chat's limit
    flood = product.bot.rate_limiter._flood  # type: ignore[union-attr]
    for _ in range(10):
        assert await flood.reserve(job.chat_id, 1) == (0, True)
    product.clock.advance(0.4)
    before = text(product, job)
    await product.progress_updates().run()
    assert text(product, job) == before
    assert "so far" in text(product, other)
    assert sum(await passes(product, EVERY_S)) == 1
    assert text(product, job) != before


async def test_a_pause_that_telegram_asked_for_is_kept(
    product: Product, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PTB_TIMEDELTA", "1")  # the library's coming behaviour; the old one warns
    product.telegram.faults.add(FaultKind.TOO_MANY_REQUESTS, method="editMessageText", retry_after_s=40)
    product.clock.advance(20)
    await product.progress_updates().run()
    assert edits(product) == 1
    assert sum(await passes(product, 35)) == 0
    assert sum(await passes(product, 10)) == 1


async def test_a_chat_that_is_gone_is_skipped_silently(
    product: Product, job: Job, song: Path, caplog: pytest.LogCaptureFixture
) -> None:
    product.telegram.block_bot(job.chat_id)
    other = (await many(product, song, 1))[0]
    caplog.set_level(logging.INFO)
    await passes(product, OLD_S)
    assert edits(product) < 5
    assert "so far" in text(product, other)
    assert job.id not in caplog.text


async def test_a_run_ends_while_telegram_is_away(
    product: Product, song: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await many(product, song, 3)
    product.clock.advance(OLD_S)
    product.telegram.faults.add(FaultKind.SERVER_ERROR, method="editMessageText", times=None)
    await product.progress_updates().run()
    assert edits(product) == 1
    product.telegram.faults.clear()
    await product.progress_updates().run()
    assert edits(product) == 3
    assert sum(await passes(product, YOUNG_S)) == 3


async def test_chats_whose_edits_keep_failing_stop_no_other_chat(product: Product, song: Path) -> None:
    """So many fail that one is due in each run."""
    *failing, other = await many(product, song, round(YOUNG_S / EVERY_S) + 2)
    for job in failing:
        product.telegram.faults.add(
            FaultKind.SERVER_ERROR, method="editMessageText", chat_id=job.chat_id, times=None
        )
    await passes(product, FIRST_S + EVERY_S * len(failing))
    assert "so far" in text(product, other)
    product.telegram.faults.clear()
    await passes(product, YOUNG_S + EVERY_S)
    assert all("so far" in text(product, job) for job in failing)


async def test_a_job_that_moves_during_an_update_is_shown_as_it_is(
    product: Product, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit = product.bot.edit_message_text

    async def slow(*args: Any, **how: Any) -> Any:
        """Cancel the job, and show that, while the first edit is on its way."""
        monkeypatch.setattr(type(product.bot), "edit_message_text", edit_of_class)
        assert await product.store.cancel(job.id)
        await product.status.show_current(job.id)
        return await edit(*args, **how)

    edit_of_class = type(product.bot).edit_message_text
    monkeypatch.setattr(type(product.bot), "edit_message_text", lambda self, *args, **how: slow(*args, **how))
    product.clock.advance(60)
    await product.progress_updates().run()
    assert text(product, job).startswith("✖️ Cancelled")


async def test_a_wrong_message_is_corrected_by_recovery(
    product: Product, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    catch_up = product.status.show_newer_state

    async def limited(current: Job, patience_s: float | None = None) -> None:
        assert await product.store.cancel(job.id)
        await product.store.close(job.id)
        raise TryLater(90, "Telegram's flood limit")

    monkeypatch.setattr(product.status, "show_newer_state", limited)
    product.clock.advance(60)
    await product.progress_updates().run()
    monkeypatch.setattr(product.status, "show_newer_state", catch_up)
    product.clock.advance(10)
    await product.recovery().run()
    assert text(product, job).startswith("✖️ Cancelled")


async def test_a_run_reads_no_job_that_is_not_due(product: Product, song: Path) -> None:
    jobs = await many(product, song, MESSAGES_PER_RUN + 1)
    for _ in range(3):
        await product.progress_updates().run()
    await product.redis.config_resetstat()
    await product.progress_updates().run()
    assert "cmdstat_hgetall" not in await product.redis.info("commandstats")
    product.clock.advance(OLD_S)
    assert await passes(product, EVERY_S) == [MESSAGES_PER_RUN]
    assert any("so far" in text(product, job) for job in jobs)


async def test_an_open_job_without_an_index_entry_is_updated(product: Product, job: Job) -> None:
    """Version 0.1 has no index."""
    await product.redis.delete(PROGRESS_DUE)
    product.clock.advance(OLD_S)
    await product.progress_updates().run()
    assert "so far" in text(product, job)
