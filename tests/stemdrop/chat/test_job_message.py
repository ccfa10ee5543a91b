"""A job's one message in its chat, with every state that the chat may be in."""

from dataclasses import replace
from typing import Any

import pytest
from builders import Clock, make_job, make_result
from redis.asyncio import Redis
from telegram.error import BadRequest, Forbidden, TelegramError
from telegram.ext import ExtBot

from sandbox.telegram.chats import Message, User
from sandbox.telegram.faults import FaultKind
from sandbox.telegram.person_actions import Telegram
from stemdrop.chat.job_message import JobMessage
from stemdrop.chat.rendering import Details
from stemdrop.chat.telegram_bot import TELEGRAM_PATIENCE_S
from stemdrop.chat.translations import load_translations
from stemdrop.domain.jobs import CachedStem, Failure, Job, JobState, Mode
from stemdrop.domain.outcomes import Sent
from stemdrop.errors import TryLater
from stemdrop.storage.abilities import AbilitiesCache
from stemdrop.storage.job_statistics import Estimate, JobStatistics
from stemdrop.storage.job_store import MAX_IN_FLIGHT, JobStore
from stemdrop.storage.stem_cache import CachedStems, StemCache

SAY = load_translations().languages["en"]


@pytest.fixture
def alice(telegram: Telegram) -> User:
    return telegram.add_user("Alice")


@pytest.fixture
def stem_cache(redis: Redis) -> StemCache:
    return StemCache(redis)


@pytest.fixture
def job_statistics(redis: Redis) -> JobStatistics:
    return JobStatistics(redis)


@pytest.fixture
def abilities(redis: Redis) -> AbilitiesCache:
    return AbilitiesCache(redis, ["selfhosted"], {})


@pytest.fixture
def status(
    bot: ExtBot[float],
    store: JobStore,
    stem_cache: StemCache,
    job_statistics: JobStatistics,
    abilities: AbilitiesCache,
    clock: Clock,
) -> JobMessage:
    return JobMessage(bot, store, stem_cache, job_statistics, load_translations(), abilities, clock)


class Chat:
    """A chat with a song, and a job for it."""

    def __init__(
        self, telegram: Telegram, store: JobStore, chat_id: int, thread_id: int | None = None
    ) -> None:
        self.telegram, self.store, self.chat_id = telegram, store, chat_id
        self.song = telegram.send_text(chat_id, "the song", thread_id=thread_id)
        self.job_id = ""

    async def add(self, **changes: Any) -> Job:
        job = make_job(
            chat_id=self.chat_id,
            source_message_id=self.song.message_id,
            topic_id=self.song.thread_id or 0,
            **changes,
        )
        self.job_id = job.id
        await self.store.add(job, once=job.id)
        return await self.job()

    async def job(self, **changes: Any) -> Job:
        found = await self.store.get(self.job_id)
        assert found
        return replace(found, **changes)

    def shown(self, chat_id: int = 0) -> list[Message]:
        return self.telegram.bot_messages(chat_id or self.chat_id)


@pytest.fixture
def chat(telegram: Telegram, store: JobStore, alice: User) -> Chat:
    return Chat(telegram, store, alice.id)


async def test_the_message_is_sent_once_as_a_reply_and_then_edited(status: JobMessage, chat: Chat) -> None:
    await status.show(await chat.add())
    (message,) = chat.shown()
    assert message.reply_to is chat.song
    assert (await chat.job()).message_id == message.message_id
    await status.show(await chat.job(state=JobState.SUBMITTING))
    await status.show(await chat.job(state=JobState.SEPARATING))
    assert chat.shown() == [message]
    assert message.text.startswith(SAY("state.separating", title="Morning Line"))
    assert len(message.buttons) == 1


async def test_showing_the_same_state_twice_is_accepted(
    status: JobMessage, chat: Chat, telegram: Telegram
) -> None:
    await status.show(await chat.add())
    await status.show(await chat.job())
    assert telegram.calls[-1].status == 400
    assert len(chat.shown()) == 1


async def test_a_failure_that_is_shown_late_does_not_replace_the_job_that_was_tried_again(
    status: JobMessage, chat: Chat, store: JobStore
) -> None:
    failed = await chat.add(state=JobState.SUBMITTING)
    await status.show(failed)
    await store.fail(failed.id, [JobState.SUBMITTING], Failure("500"))
    failed = await chat.job()
    await chat.add(id="again", state=JobState.SUBMITTING, message_id=failed.message_id)
    await store.mark_retried(failed.id, "again")
    await store.cancel("again", "")
    await status.show_current("again")
    (message,) = chat.shown()
    shown = message.text
    assert shown.startswith(SAY("state.cancelled", title="Morning Line"))
    await status.show(failed)  # by a process that has read the job before all of this
    assert message.text == shown


async def test_a_failure_that_is_shown_after_the_next_try_has_been_delivered_is_not_sent_again(
    status: JobMessage, chat: Chat, store: JobStore, telegram: Telegram
) -> None:
    failed = await chat.add(state=JobState.SUBMITTING)
    await status.show(failed)
    await store.fail(failed.id, [JobState.SUBMITTING], Failure("500"))
    failed = await chat.job()
    (message,) = chat.shown()
    await chat.add(id="again", state=JobState.SUBMITTING)
    await store.mark_retried(failed.id, "again")
    telegram.delete_message(chat.chat_id, message.message_id)  # the result stands below the stems
    await status.show_current("again")
    shown = chat.shown()
    await status.show(failed)  # by a process that has read the job before all of this
    assert chat.shown() == shown


async def test_titles_are_sent_without_markup(status: JobMessage, chat: Chat) -> None:
    job = await chat.add()
    title = "<b>bold</b> *x* _y_ `z` [a](b) & {c}"
    await status.show(replace(job, source=replace(job.source, title=title)))
    (message,) = chat.shown()
    assert title in message.text
    # what looks like a command is marked by Telegram itself
    assert {entity["type"] for entity in message.content.get("entities", [])} <= {"bot_command"}


async def test_a_deleted_message_is_sent_again(status: JobMessage, chat: Chat, telegram: Telegram) -> None:
    await status.show(await chat.add())
    telegram.delete_message(chat.chat_id, chat.shown()[0].message_id)
    await status.show(await chat.job(state=JobState.SEPARATING))
    (message,) = chat.shown()
    assert message.text.startswith(SAY("state.separating", title="Morning Line"))
    assert (await chat.job()).message_id == message.message_id


async def test_a_message_is_sent_although_the_song_was_deleted(
    status: JobMessage, chat: Chat, telegram: Telegram
) -> None:
    job = await chat.add()
    telegram.delete_message(chat.chat_id, chat.song.message_id)
    await status.show(job)
    assert chat.shown()[0].reply_to is None


@pytest.mark.parametrize("state", [JobState.DELIVERED, JobState.FAILED, JobState.CANCELLED])
async def test_showing_the_end_closes_the_job(
    status: JobMessage, chat: Chat, store: JobStore, state: JobState
) -> None:
    job = await chat.add(state=JobState.SEPARATING, failure=Failure("500"))
    await store.tick(job.id, {key: Sent(1, key, key) for key in ("vocals", "bass", "drums")})
    await status.show(job)
    assert [found.id for found in await store.open_jobs()] == [job.id]
    assert await store.move(job.id, [JobState.SEPARATING], state)
    await status.show(await chat.job())
    assert await store.open_jobs() == []
    if state is JobState.DELIVERED:
        assert "3 stems" in chat.shown()[0].text


async def test_a_job_whose_end_could_not_be_shown_stays_open(
    status: JobMessage, chat: Chat, store: JobStore, telegram: Telegram
) -> None:
    job = await chat.add(state=JobState.SEPARATING, failure=Failure("500"))
    telegram.faults.add(FaultKind.SERVER_ERROR)
    with pytest.raises(TelegramError):
        await status.show(replace(job, state=JobState.FAILED))
    assert [found.id for found in await store.open_jobs()] == [job.id]


async def test_show_current_shows_the_stored_state(status: JobMessage, chat: Chat, store: JobStore) -> None:
    job = await chat.add()
    await store.move(job.id, [JobState.CHOOSING], JobState.SUBMITTING)
    await status.show_current(job.id)
    await status.show_current("unknown")
    (message,) = chat.shown()
    assert message.text.startswith(SAY("state.separating", title="Morning Line"))


async def test_the_message_is_in_the_jobs_language(status: JobMessage, chat: Chat) -> None:
    await status.show(await chat.add(language="zh-hans"))
    assert chat.shown()[0].text == load_translations().languages["zh_Hans"]("choose", title="Morning Line")


async def test_the_message_is_sent_to_the_jobs_topic(
    telegram: Telegram, store: JobStore, status: JobMessage, alice: User
) -> None:
    group = telegram.add_group("Band", [alice], forum=True)
    chat = Chat(telegram, store, group.id, telegram.add_topic(group.id, "Songs"))
    await status.show(await chat.add())
    assert chat.shown()[-1].thread_id == chat.song.thread_id


async def test_a_message_for_a_closed_topic_goes_to_the_group(
    telegram: Telegram, store: JobStore, status: JobMessage, alice: User
) -> None:
    group = telegram.add_group("Band", [alice], forum=True)
    topic = telegram.add_topic(group.id, "Songs")
    chat = Chat(telegram, store, group.id, topic)
    job = await chat.add()
    telegram.close_topic(group.id, topic)
    await status.show(job)
    (message,) = chat.shown()
    assert message.thread_id is None


async def test_a_message_for_a_deleted_topic_goes_to_the_group(
    telegram: Telegram, store: JobStore, status: JobMessage, alice: User
) -> None:
    group = telegram.add_group("Band", [alice], forum=True)
    topic = telegram.add_topic(group.id, "Songs")
    chat = Chat(telegram, store, group.id, topic)
    await status.show(await chat.add())
    telegram.delete_topic(group.id, topic)
    await status.show(await chat.job(state=JobState.SEPARATING))
    (message,) = chat.shown()
    assert message.thread_id is None
    assert message.text.startswith(SAY("state.separating", title="Morning Line"))


@pytest.mark.parametrize("was_shown", [True, False])
async def test_the_message_follows_a_group_that_migrated(
    telegram: Telegram, store: JobStore, status: JobMessage, alice: User, *, was_shown: bool
) -> None:
    group = telegram.add_group("Band", [alice])
    chat = Chat(telegram, store, group.id)
    job = await chat.add()
    if was_shown:
        await status.show(job)
    new = telegram.migrate_group(group.id)
    await status.show(await chat.job(state=JobState.SEPARATING))
    (message,) = chat.shown(new.id)
    assert message.text.startswith(SAY("state.separating", title="Morning Line"))
    found = await chat.job()
    assert (found.chat_id, found.message_id) == (new.id, message.message_id)
    await status.show(await chat.job(state=JobState.CANCELLED))
    assert chat.shown(new.id) == [message]


async def test_a_user_who_blocked_the_bot_is_reported_as_forbidden(
    status: JobMessage, chat: Chat, telegram: Telegram
) -> None:
    job = await chat.add()
    telegram.block_bot(chat.chat_id)
    with pytest.raises(Forbidden):
        await status.show(job)


async def test_other_refusals_are_raised(status: JobMessage, chat: Chat) -> None:
    await status.show(await chat.add())
    with pytest.raises(BadRequest):
        await status.edit_or_send(await chat.job(), "x" * 5000, None)
    assert len(chat.shown()) == 1


async def test_a_long_pause_is_raised_as_try_later(
    status: JobMessage, chat: Chat, telegram: Telegram
) -> None:
    job = await chat.add()
    telegram.faults.add(FaultKind.TOO_MANY_REQUESTS, retry_after_s=int(TELEGRAM_PATIENCE_S) + 100)
    with pytest.raises(TryLater) as met:
        await status.show(job)
    assert TELEGRAM_PATIENCE_S < met.value.after_s <= TELEGRAM_PATIENCE_S + 100


# The result is the last message


async def deliver(chat: Chat, stems: int = 2) -> Job:
    """Send the stems of the chat's job; returns the job as delivered."""
    job = await chat.job(state=JobState.DELIVERED)
    for number in range(stems):
        stem = chat.telegram.send_text(chat.chat_id, f"stem {number}")
        await chat.store.tick(job.id, {f"stem {number}": Sent(stem.message_id, "", "")})
    return job


async def test_the_result_is_sent_below_the_stems_and_the_progress_message_goes(
    status: JobMessage, chat: Chat, telegram: Telegram
) -> None:
    await status.show(await chat.add())
    (progress,) = chat.shown()
    await status.show(await deliver(chat))
    (result,) = chat.shown()
    assert progress.is_deleted
    assert telegram.messages(chat.chat_id)[-1] is result
    assert (result.text, result.reply_to) == ("✅ “Morning Line”: 2 stems are here.", chat.song)
    await status.show(await chat.job(state=JobState.DELIVERED))
    assert chat.shown() == [result]


async def test_a_run_that_died_before_the_progress_message_was_deleted_is_resumed(
    status: JobMessage, chat: Chat, telegram: Telegram
) -> None:
    await status.show(await chat.add())
    job = await deliver(chat)
    telegram.faults.add(FaultKind.SERVER_ERROR, method="deleteMessage")
    with pytest.raises(TelegramError):
        await status.show(job)
    progress, result = chat.shown()
    await status.show(await chat.job(state=JobState.DELIVERED))
    assert progress.is_deleted
    assert chat.shown() == [result]
    assert (await chat.job()).replaced_message_id == 0


async def test_a_progress_message_that_is_too_old_to_be_deleted_becomes_one_line(
    status: JobMessage, chat: Chat, telegram: Telegram
) -> None:
    await status.show(await chat.add())
    chat.shown()[0].date -= 49 * 3600
    await status.show(await deliver(chat))
    progress, result = chat.shown()
    assert (progress.text, progress.buttons) == (result.text, [])


async def test_a_progress_message_that_its_user_deleted_is_not_missed(status: JobMessage, chat: Chat) -> None:
    await status.show(await chat.add())
    job = await deliver(chat)
    chat.telegram.delete_message(chat.chat_id, chat.shown()[0].message_id)
    await status.show(job)
    await status.show(await chat.job(state=JobState.DELIVERED))
    assert len(chat.shown()) == 1


async def test_the_result_in_a_group_that_migrated_is_sent_once(
    telegram: Telegram, store: JobStore, status: JobMessage, alice: User
) -> None:
    group = telegram.add_group("Band", [alice])
    chat = Chat(telegram, store, group.id)
    await status.show(await chat.add())
    job = await deliver(chat)
    new = telegram.migrate_group(group.id)
    await status.show(job)
    await status.show(await chat.job(state=JobState.DELIVERED))
    assert len(chat.shown(new.id)) == 1


async def test_a_failure_and_a_result_without_stems_replace_the_progress_in_its_place(
    status: JobMessage, chat: Chat
) -> None:
    await status.show(await chat.add())
    (message,) = chat.shown()
    await status.show(await chat.job(state=JobState.FAILED, failure=Failure("500")))
    await status.show(await chat.job(state=JobState.DELIVERED))
    assert chat.shown() == [message]


# What it tells beside the job


async def test_a_choice_shows_what_is_free_and_the_most_used_instruments(
    status: JobMessage, chat: Chat, stem_cache: StemCache, job_statistics: JobStatistics
) -> None:
    job = await chat.add()
    stems = tuple(CachedStem(key, "audio", "file") for key in ("vocals", "instrumental"))
    await stem_cache.put(replace(job, account=5), CachedStems(make_result(), stems))
    await job_statistics.note_instrument("Snare")
    facts = await status.instrument_details(job)
    assert facts.free == {(Mode.SEPARATE_VOCAL, "")}
    assert facts.instruments[0] == "Snare"
    await status.show(job)
    (message,) = chat.shown()
    assert [SAY("price.free") in button["text"] for button in message.buttons] == [True, False, False, False]
    for state in (JobState.DELIVERED, JobState.FAILED):
        assert (await status.details(await chat.job(state=state))).free == facts.free


async def test_the_place_in_the_queue_is_shown(
    status: JobMessage, chat: Chat, store: JobStore, clock: Clock
) -> None:
    for _ in range(MAX_IN_FLIGHT + 2):
        job = await chat.add(mode=None)
        clock.advance(1)
        await store.pick(job, Mode.SPLIT_STEM, "", 0)
    assert await status.details(await chat.job()) == Details(place=2)
    await status.show_current(job.id)
    assert chat.shown()[-1].text == SAY("state.queued", title="Morning Line", place=2)


async def test_the_elapsed_time_runs_from_the_create_call(
    status: JobMessage, chat: Chat, clock: Clock, job_statistics: JobStatistics
) -> None:
    job = await chat.add(state=JobState.SEPARATING, mode=Mode.SPLIT_STEM, picked_at=clock.now)
    clock.advance(75)
    assert await status.details(job) == Details(elapsed_s=75)
    assert (await status.details(replace(job, picked_at=0))).elapsed_s == 75  # of an older version
    for seconds in (60, 60, 90):
        await job_statistics.note_duration(Mode.SPLIT_STEM, seconds)
    assert await status.details(job) == Details(elapsed_s=75, estimate=Estimate(60, 90))
    await status.show(job)
    assert SAY.duration(75) in chat.shown()[0].text


async def test_a_message_is_written_again_only_when_its_text_changed(
    status: JobMessage, chat: Chat, clock: Clock, telegram: Telegram
) -> None:
    await chat.add(state=JobState.SEPARATING, picked_at=clock.now)
    assert await status.show_if_changed(await chat.job(), 1)
    calls = len(telegram.calls)
    assert not await status.show_if_changed(await chat.job(), 1)
    assert len(telegram.calls) == calls
    clock.advance(60)
    assert await status.show_if_changed(await chat.job(), 1)
    (message,) = chat.shown()
    assert SAY.duration(60) in message.text


async def test_a_state_that_changed_meanwhile_is_shown(
    status: JobMessage, chat: Chat, store: JobStore
) -> None:
    job = await chat.add(state=JobState.SEPARATING)
    await status.show(job)
    await store.cancel(job.id)
    await status.show_newer_state(job)
    (message,) = chat.shown()
    assert message.text == SAY("state.cancelled", title="Morning Line")
    assert await store.open_jobs() == []


async def test_a_job_deleted_while_its_message_was_sent_is_shown_as_deleted(
    status: JobMessage, chat: Chat, store: JobStore
) -> None:
    await chat.add(state=JobState.SEPARATING)
    await status.show_current(chat.job_id)
    job = await chat.job()
    await store.forget(job.id)
    await status.show(job)
    await status.show_newer_state(job)
    (message,) = chat.shown()
    assert message.text == SAY("state.deleted", title="Morning Line")
    assert message.buttons == []


async def test_nothing_is_sent_for_a_job_deleted_before_its_message(
    status: JobMessage, chat: Chat, store: JobStore
) -> None:
    job = await chat.add(state=JobState.SEPARATING)
    await store.forget(job.id)
    await status.show_newer_state(job)
    assert chat.shown() == []
