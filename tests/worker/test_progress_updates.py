"""The one message of each job stays alive, and Telegram's limits are left to stems."""

import logging
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from house import Clock, House, open_house

from sandbox.telegram.app import run_telegram
from sandbox.telegram.chats import Message, User
from sandbox.telegram.faults import FaultKind
from sandbox.telegram.person_actions import Telegram
from stemdrop.domain.jobs import Failure, Job, JobState, Mode
from stemdrop.errors import TryLater
from stemdrop.storage.job_store import MAX_IN_FLIGHT
from worker.progress_updates import (
    FIRST_S,
    GROUP_S,
    MESSAGES_PER_PASS,
    OLD_S,
    STEMS_S,
    YOUNG_S,
    YOUNG_UNTIL_S,
)

EVERY_S = 5


@pytest.fixture
def clock() -> Clock:
    """One for all: the product, its limiter, and the limits of Telegram."""
    return Clock()


@pytest.fixture
async def telegram(tmp_path: Path, clock: Clock) -> AsyncIterator[Telegram]:
    state = Telegram(tmp_path / "telegram", clock=clock)
    yield state
    await state.close()


@pytest.fixture
async def house(redis_url: str, telegram: Telegram, clock: Clock) -> AsyncIterator[House]:
    async with (
        run_telegram(telegram) as url,
        open_house(redis_url, telegram, url, is_flood_limited=True, clock=clock) as opened,
    ):
        yield opened


@pytest.fixture
async def job(house: House, sent: Message) -> Job:
    """A job that is being split, and says so."""
    return await shown(house, JobState.SEPARATING, sent)


async def shown(house: House, state: JobState, sent: Message, **changes: Any) -> Job:
    """A job in this state, with its message, as of now."""
    house.clock.advance(10)  # so that showing it needs no waiting
    job = await house.at(state, sent, **changes)
    await house.status.show(job)
    return await house.job(job.id)


def text(house: House, job: Job) -> str:
    """What the job's only message says."""
    (message,) = [m for m in house.telegram.bot_messages(job.chat_id) if m.message_id == job.message_id]
    return message.text


def edits(house: House) -> int:
    return sum(call.method == "editMessageText" for call in house.telegram.calls)


async def passes(house: House, seconds: float) -> list[int]:
    """The pulse as often as it comes in this time; how many messages each pass wrote."""
    counts = []
    for _ in range(round(seconds / EVERY_S)):
        house.clock.advance(EVERY_S)
        before = edits(house)
        await house.pulse().run()
        counts.append(edits(house) - before)
    assert house.telegram.flood_refusals == 0
    return counts


async def test_a_job_tells_how_long_it_takes(house: House, job: Job) -> None:
    first = text(house, job)
    house.clock.advance(60)
    await house.pulse().run()
    assert text(house, job) != first
    assert "1 min" in text(house, job)
    assert (await house.job(job.id)).shown_at > job.shown_at


async def test_the_pace_slows_down_with_age(house: House, job: Job) -> None:
    counts = await passes(house, 600)
    times = [number * EVERY_S for number, count in enumerate(counts, 1) if count]
    assert times[0] == FIRST_S
    pauses = {late - early: late for early, late in pairwise(times)}  # → when it was last so
    assert set(pauses) == {YOUNG_S, OLD_S}
    assert pauses[YOUNG_S] == pytest.approx(YOUNG_UNTIL_S, abs=YOUNG_S)


async def test_a_message_that_says_the_same_is_not_written_again(house: House, sent: Message) -> None:
    await shown(house, JobState.SUBMITTING, sent)
    assert sum(await passes(house, 300)) == 0


@pytest.mark.parametrize("state", [JobState.CHOOSING, JobState.DELIVERING, JobState.FAILED])
async def test_what_nobody_works_on_is_left_alone(house: House, job: Job, state: JobState) -> None:
    await house.store.move(job.id, [job.state], state, failure=Failure("500"))
    assert sum(await passes(house, 120)) == 0


async def test_a_lost_answer_goes_on_being_told(house: House, sent: Message) -> None:
    job = await shown(house, JobState.SUBMITTING, sent)
    await house.store.begin_create(job.id)
    await passes(house, 45)
    assert text(house, job).startswith("⏫ Submitting")
    assert sum(await passes(house, 300)) == 1
    assert "the answer got lost on the way" in text(house, job)


async def line(house: House, sent: Message, count: int) -> list[Job]:
    """So many jobs behind those that one person may have under way, picked and not shown since."""
    jobs = [await shown(house, JobState.CHOOSING, sent) for _ in range(MAX_IN_FLIGHT + count)]
    for job in jobs:
        await house.store.pick(job, Mode.SEPARATE_VOCAL, "", 0)
    return [await house.job(job.id) for job in jobs]


async def test_a_queued_job_whose_message_was_never_edited_shows_its_place(
    house: House, sent: Message
) -> None:
    *_, first, second = await line(house, sent, 2)
    assert text(house, second).startswith("How shall I split")
    await passes(house, 60)
    assert "number 1 in your line" in text(house, first)
    assert "number 2 in your line" in text(house, second)


async def test_a_line_that_moves_shows_it(house: House, sent: Message) -> None:
    flying, *_, first, second = await line(house, sent, 2)
    await passes(house, 60)
    assert sum(await passes(house, 120)) == 0
    await house.store.cancel(flying.id)
    await house.turns.next(flying.account)
    await passes(house, 60)
    assert text(house, first).startswith("⏫ Submitting")
    assert "number 1 in your line" in text(house, second)


async def test_a_message_that_the_user_deleted_comes_back(house: House, job: Job) -> None:
    house.telegram.delete_message(job.chat_id, job.message_id)
    await passes(house, 20)
    (message,) = house.telegram.bot_messages(job.chat_id)
    assert (await house.job(job.id)).message_id == message.message_id


async def many(house: House, song: Path, count: int) -> list[Job]:
    jobs = []
    for number in range(count):
        user = house.telegram.add_user(f"Person {number}")
        sent = await house.telegram.send_file(user.id, song)
        jobs.append(await shown(house, JobState.SEPARATING, sent, task_id=f"task-{number}"))
    return jobs


async def test_sixty_chats_take_turns_within_the_limits(house: House, song: Path) -> None:
    jobs = await many(house, song, 60)
    house.clock.advance(OLD_S)
    begun = {job.id: job.shown_at for job in jobs}
    counts = await passes(house, 60)
    assert counts == [MESSAGES_PER_PASS] * 12
    # those that waited longest came first, so all of them have had their turn
    for job in jobs:
        assert (await house.job(job.id)).shown_at > begun[job.id]
        assert "so far" in text(house, job)


async def test_ten_jobs_in_one_group_share_one_message_a_minute(
    house: House, song: Path, alice: User
) -> None:
    group = house.telegram.add_group("Band", [alice])
    jobs = []
    for number in range(10):
        sent = await house.telegram.send_file(group.id, song, user_id=alice.id)
        jobs.append(await shown(house, JobState.SEPARATING, sent, task_id=f"task-{number}"))
    house.clock.advance(GROUP_S)
    counts = await passes(house, 11 * GROUP_S)
    assert set(counts) == {0, 1}
    assert 9 <= sum(counts) <= 11
    renewed = [(await house.job(job.id)).shown_at > job.shown_at for job in jobs]
    assert renewed.count(True) >= 9


async def test_a_chat_that_is_being_sent_stems_is_left_to_them(house: House, sent: Message, job: Job) -> None:
    await shown(house, JobState.DELIVERING, sent, task_id="task-2")
    assert sum(await passes(house, STEMS_S - 15)) == 0
    assert sum(await passes(house, 30)) == 1


async def test_it_does_not_wait_for_the_limits(
    house: House, sent: Message, job: Job, song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def wait(seconds: float) -> None:
        house.clock.advance(seconds)

    monkeypatch.setattr("stemdrop.chat.telegram_bot.sleep", wait)
    other = (await many(house, song, 1))[0]
    house.clock.advance(OLD_S)
    # another process has just used up what this chat takes
    flood = house.bot.rate_limiter._flood  # type: ignore[union-attr]
    for _ in range(10):
        assert await flood.delay(job.chat_id, 1) == 0
    house.clock.advance(0.4)
    before = text(house, job)
    await house.pulse().run()
    assert text(house, job) == before
    assert "so far" in text(house, other)
    assert sum(await passes(house, EVERY_S)) == 1
    assert text(house, job) != before


async def test_a_pause_that_telegram_asked_for_is_kept(
    house: House, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PTB_TIMEDELTA", "1")  # the library's coming behaviour; the old one warns
    house.telegram.faults.add(FaultKind.TOO_MANY_REQUESTS, method="editMessageText", retry_after_s=40)
    house.clock.advance(20)
    await house.pulse().run()
    assert edits(house) == 1
    assert sum(await passes(house, 35)) == 0
    assert sum(await passes(house, 10)) == 1


async def test_a_chat_that_is_gone_is_left_alone_without_noise(
    house: House, job: Job, song: Path, caplog: pytest.LogCaptureFixture
) -> None:
    house.telegram.block_bot(job.chat_id)
    other = (await many(house, song, 1))[0]
    caplog.set_level(logging.INFO)
    await passes(house, 120)
    assert edits(house) < 10
    assert "so far" in text(house, other)
    assert job.id not in caplog.text


async def test_telegram_away_ends_the_pass(
    house: House, song: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await many(house, song, 3)
    house.clock.advance(OLD_S)
    house.telegram.faults.add(FaultKind.SERVER_ERROR, method="editMessageText", times=None)
    await house.pulse().run()
    assert edits(house) == 1
    house.telegram.faults.clear()
    await house.pulse().run()
    assert edits(house) == 4


async def test_a_job_that_moves_meanwhile_does_not_go_on_saying_that_it_is_worked_on(
    house: House, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit = house.bot.edit_message_text

    async def slow(*args: Any, **how: Any) -> Any:
        """While the first edit is on its way, the job is cancelled, which is shown at once."""
        monkeypatch.setattr(type(house.bot), "edit_message_text", edit_of_class)
        assert await house.store.cancel(job.id)
        await house.status.refresh(job.id)
        return await edit(*args, **how)

    edit_of_class = type(house.bot).edit_message_text
    monkeypatch.setattr(type(house.bot), "edit_message_text", lambda self, *args, **how: slow(*args, **how))
    house.clock.advance(60)
    await house.pulse().run()
    assert text(house, job).startswith("✖️ Cancelled")


async def test_what_could_not_be_put_right_is_left_to_the_sweep(
    house: House, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    catch_up = house.status.catch_up

    async def limited(current: Job, patience_s: float | None = None) -> None:
        assert await house.store.cancel(job.id)
        await house.store.close(job.id)
        raise TryLater(90, "Telegram's flood limit")

    monkeypatch.setattr(house.status, "catch_up", limited)
    house.clock.advance(60)
    await house.pulse().run()
    monkeypatch.setattr(house.status, "catch_up", catch_up)
    house.clock.advance(10)
    await house.sweep().run()
    assert text(house, job).startswith("✖️ Cancelled")
