"""A job's one message: how each state reads, and how it gets into the chat whatever happened there."""

from dataclasses import replace
from typing import Any

import pytest
from builders import make_job, make_result
from telegram import InlineKeyboardMarkup
from telegram.error import BadRequest, Forbidden, TelegramError
from telegram.ext import ExtBot

from sandbox.chats import Message, User
from sandbox.faults import FaultKind
from sandbox.state import Telegram
from stemdrop.buttons import Action, Tap
from stemdrop.errors import TryLater
from stemdrop.jobs import CREDITS, INSTRUMENTS, Failure, Job, JobState, Mode
from stemdrop.status import StatusMessage, render, render_instruments, render_lost, short_title
from stemdrop.store import JobStore, Sent
from stemdrop.telegram import PATIENCE_S
from stemdrop.texts import EXPLAINED, Language, can_retry, load_texts

SAY = load_texts().languages["en"]


@pytest.fixture(params=["en", "zh_Hans"])
def say(request: pytest.FixtureRequest) -> Language:
    return load_texts().languages[request.param]


def titled(title: str, **changes: Any) -> Job:
    job = make_job(**changes)
    return replace(job, source=replace(job.source, title=title))


def taps(keyboard: InlineKeyboardMarkup | None) -> list[list[Tap | None]]:
    rows = keyboard.inline_keyboard if keyboard else ()
    return [[Tap.from_data(str(button.callback_data)) for button in row] for row in rows]


def utf16_length(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


# How it reads


def test_the_choice_has_the_modes_in_order_with_their_price(say: Language) -> None:
    job = make_job()
    text, keyboard = render(job, say)
    assert "Morning Line" in text
    assert taps(keyboard) == [
        [Tap(Action.PICK, job.id, Mode.SEPARATE_VOCAL)],
        [Tap(Action.PICK, job.id, Mode.SPLIT_STEM)],
        [Tap(Action.INSTRUMENTS, job.id)],
        [Tap(Action.CANCEL, job.id)],
    ]
    assert keyboard
    for (button,), mode in zip(keyboard.inline_keyboard[:3], Mode, strict=True):
        assert str(CREDITS[mode]) in button.text


def test_the_list_of_instruments_has_each_once(say: Language) -> None:
    job = make_job()
    text, keyboard = render_instruments(job, say)
    *rows, last = taps(keyboard)
    assert "Morning Line" in text
    assert [tap for row in rows for tap in row] == [
        Tap(Action.PICK, job.id, Mode.SPLIT_STEM_ADVANCED, name) for name in INSTRUMENTS
    ]
    assert last == [Tap(Action.BACK, job.id), Tap(Action.CANCEL, job.id)]
    assert max(len(row) for row in rows) == 2


@pytest.mark.parametrize("state", [JobState.SUBMITTING, JobState.SEPARATING])
def test_what_is_under_way_can_be_cancelled(say: Language, state: JobState) -> None:
    job = make_job(state=state)
    text, keyboard = render(job, say)
    assert "Morning Line" in text
    assert taps(keyboard) == [[Tap(Action.CANCEL, job.id)]]


def test_what_waits_for_a_lost_answer_can_be_cancelled(say: Language) -> None:
    job = make_job(state=JobState.SUBMITTING)
    text, keyboard = render_lost(job, say)
    assert text != render(job, say)[0]
    assert taps(keyboard) == [[Tap(Action.CANCEL, job.id)]]


@pytest.mark.parametrize("state", [JobState.DELIVERING, JobState.DELIVERED, JobState.CANCELLED])
def test_then_there_is_nothing_to_press(say: Language, state: JobState) -> None:
    text, keyboard = render(make_job(state=state), say, delivered=2)
    assert "Morning Line" in text
    assert keyboard is None


def test_every_state_reads_otherwise(say: Language) -> None:
    texts = {render(make_job(state=state, failure=Failure("500")), say, delivered=2)[0] for state in JobState}
    assert len(texts) == len(JobState)


def test_a_late_cancel_says_that_it_may_cost() -> None:
    early, late = (render(make_job(state=JobState.CANCELLED, create_started_at=at), SAY)[0] for at in (0, 1))
    assert "charged" not in early
    assert "may have been charged" in late


@pytest.mark.parametrize("code", sorted(EXPLAINED))
def test_a_failure_has_a_retry_where_that_can_help(say: Language, code: str) -> None:
    job = make_job(state=JobState.FAILED, failure=Failure(code, None))
    assert job.failure
    text, keyboard = render(job, say)
    assert text.startswith(say.failure(job.failure))
    assert "Morning Line" in text
    assert taps(keyboard) == ([[Tap(Action.RETRY, job.id)]] if can_retry(job.failure) else [])


def test_what_is_paid_for_is_fetched_again_and_not_bought_again(say: Language) -> None:
    job = make_job(state=JobState.FAILED, failure=Failure("undeliverable"), result=make_result())
    text, keyboard = render(job, say)
    assert text.startswith(say.failure(Failure("undeliverable")))
    assert taps(keyboard) == [[Tap(Action.FETCH_AGAIN, job.id)]]
    for other in (replace(job, result=None), replace(job, failure=Failure("500"))):
        assert taps(render(other, say)[1]) == [[Tap(Action.RETRY, job.id)]]


def test_a_failure_without_a_reason_is_a_bug() -> None:
    with pytest.raises(ValueError, match="without a reason"):
        render(make_job(state=JobState.FAILED), SAY)


@pytest.mark.parametrize(("delivered", "words"), [(1, "1 stem is here"), (2, "2 stems"), (12, "12 stems")])
def test_the_end_counts(delivered: int, words: str) -> None:
    assert words in render(make_job(state=JobState.DELIVERED), SAY, delivered)[0]


def test_what_is_missing_is_named_and_can_be_fetched() -> None:
    job = make_job(state=JobState.DELIVERED, missing=("Drums", "Hand {drums}"))
    text, keyboard = render(job, SAY, 3)
    assert "Drums, Hand {drums}" in text
    assert taps(keyboard) == [[Tap(Action.FETCH_AGAIN, job.id)]]


def test_nothing_but_links_is_no_failure(say: Language) -> None:
    url = "https://files.example.com/a%20{b}.mp3?x=1&y=2"
    text, keyboard = render(make_job(state=JobState.DELIVERED, links=(("Drums", url),)), say)
    assert text == "\n".join(
        (say("state.only_links", title="Morning Line"), say("state.link", name="Drums", url=url))
    )
    assert text.startswith("✅")
    assert keyboard is None


def test_what_telegram_does_not_take_is_named(say: Language) -> None:
    """Fetching it again would not help."""
    job = make_job(state=JobState.DELIVERED, refused=("Drums", "Hand {drums}"))
    text, keyboard = render(job, say, 3)
    assert say("state.refused", names="Drums, Hand {drums}") in text.split("\n")
    assert keyboard is None
    text, keyboard = render(replace(job, missing=("Bass",)), say, 3)
    assert say("state.missing", names="Bass") in text.split("\n")
    assert say("state.refused", names="Drums, Hand {drums}") in text.split("\n")
    assert taps(keyboard) == [[Tap(Action.FETCH_AGAIN, job.id)]]


def test_nothing_at_all_is_said_so() -> None:
    assert render(make_job(state=JobState.DELIVERED, missing=("Drums",)), SAY)[0].startswith("⚠️")


@pytest.mark.parametrize("url_length", [100, 300, 1000, 2048, 5000])
def test_a_long_end_fits_and_cuts_no_link(say: Language, url_length: int) -> None:
    links = tuple(
        (f"Stem {number}", f"https://files.example.com/{number}/".ljust(url_length, "x"))
        for number in range(20)
    )
    job = titled("🎵" * 500, state=JobState.DELIVERED, links=links, missing=("Drums", "🥁" * 40))
    text, keyboard = render(job, say, 1)
    assert utf16_length(text) <= 4096
    assert "Drums" in text
    assert taps(keyboard) == [[Tap(Action.FETCH_AGAIN, job.id)]]
    shown = [line for line in text.split("\n") if "https://" in line]
    assert all(any(line.endswith(url) or url in line for _, url in links) for line in shown)
    assert len(shown) >= min(20, 3500 // (url_length + 100))


def test_64_missing_and_refused_stems_fit(say: Language) -> None:
    job = make_job(
        state=JobState.DELIVERED,
        missing=("🥁" * 40,) * 64,
        refused=("🎸" * 40,) * 64,
        links=(("Drums", "https://a.b/c"),),
    )
    text, _ = render(job, say, 1)
    assert utf16_length(text) <= 4096
    assert "🥁" in text
    assert "🎸" in text
    assert "https://a.b/c" in text


@pytest.mark.parametrize(
    ("title", "shown"),
    [
        ("Morning Line", "Morning Line"),
        ("  a\n\t b  ", "a b"),
        ("", "Song"),
        (" \n", "Song"),
        ("x" * 64, "x" * 64),
        ("x" * 65, "x" * 63 + "…"),
        ("{title}", "{title}"),
        ("<b>", "<b>"),
    ],
)
def test_a_title_for_a_sentence(title: str, shown: str) -> None:
    assert short_title(titled(title), SAY) == shown
    assert shown in render(titled(title), SAY)[0]


# How it gets into the chat


@pytest.fixture
def alice(telegram: Telegram) -> User:
    return telegram.add_user("Alice")


@pytest.fixture
def status(bot: ExtBot[float], store: JobStore) -> StatusMessage:
    return StatusMessage(bot, store, load_texts())


class Chat:
    """A chat with a song in it, and a job for it."""

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


async def test_it_is_sent_once_as_a_reply_and_then_edited(status: StatusMessage, chat: Chat) -> None:
    await status.show(await chat.add())
    (message,) = chat.shown()
    assert message.reply_to is chat.song
    assert (await chat.job()).message_id == message.message_id
    await status.show(await chat.job(state=JobState.SUBMITTING))
    await status.show(await chat.job(state=JobState.SEPARATING))
    assert chat.shown() == [message]
    assert message.text == SAY("state.separating", title="Morning Line")
    assert len(message.buttons) == 1


async def test_the_same_again_is_fine(status: StatusMessage, chat: Chat, telegram: Telegram) -> None:
    await status.show(await chat.add())
    await status.show(await chat.job())
    assert telegram.calls[-1].status == 400
    assert len(chat.shown()) == 1


async def test_users_words_are_no_markup(status: StatusMessage, chat: Chat) -> None:
    job = await chat.add()
    title = "<b>bold</b> *x* _y_ `z` [a](b) & {c}"
    await status.show(replace(job, source=replace(job.source, title=title)))
    (message,) = chat.shown()
    assert title in message.text
    # what looks like a command is marked by Telegram itself
    assert {entity["type"] for entity in message.content.get("entities", [])} <= {"bot_command"}


async def test_a_message_that_the_user_deleted_is_sent_anew(
    status: StatusMessage, chat: Chat, telegram: Telegram
) -> None:
    await status.show(await chat.add())
    telegram.delete_message(chat.chat_id, chat.shown()[0].message_id)
    await status.show(await chat.job(state=JobState.SEPARATING))
    (message,) = chat.shown()
    assert message.text == SAY("state.separating", title="Morning Line")
    assert (await chat.job()).message_id == message.message_id


async def test_a_song_that_the_user_deleted_is_no_reason_to_be_silent(
    status: StatusMessage, chat: Chat, telegram: Telegram
) -> None:
    job = await chat.add()
    telegram.delete_message(chat.chat_id, chat.song.message_id)
    await status.show(job)
    assert chat.shown()[0].reply_to is None


@pytest.mark.parametrize("state", [JobState.DELIVERED, JobState.FAILED, JobState.CANCELLED])
async def test_the_end_closes_the_job(
    status: StatusMessage, chat: Chat, store: JobStore, state: JobState
) -> None:
    job = await chat.add(state=JobState.SEPARATING, failure=Failure("500"))
    await store.tick(job.id, {key: Sent(1, key, key) for key in ("vocals", "bass", "drums")})
    await status.show(job)
    assert [found.id for found in await store.open_jobs()] == [job.id]
    await status.show(await chat.job(state=state))
    assert await store.open_jobs() == []
    if state is JobState.DELIVERED:
        assert "3 stems" in chat.shown()[0].text


async def test_an_end_that_could_not_be_shown_stays_open(
    status: StatusMessage, chat: Chat, store: JobStore, telegram: Telegram
) -> None:
    job = await chat.add(state=JobState.SEPARATING, failure=Failure("500"))
    telegram.faults.add(FaultKind.SERVER_ERROR)
    with pytest.raises(TelegramError):
        await status.show(replace(job, state=JobState.FAILED))
    assert [found.id for found in await store.open_jobs()] == [job.id]


async def test_refresh_shows_what_the_store_says(status: StatusMessage, chat: Chat, store: JobStore) -> None:
    job = await chat.add()
    await store.move(job.id, [JobState.CHOOSING], JobState.SUBMITTING)
    await status.refresh(job.id)
    await status.refresh("nobody")
    assert [message.text for message in chat.shown()] == [SAY("state.submitting", title="Morning Line")]


async def test_it_speaks_the_jobs_language(status: StatusMessage, chat: Chat) -> None:
    await status.show(await chat.add(language="zh-hans"))
    assert chat.shown()[0].text == load_texts().languages["zh_Hans"]("choose", title="Morning Line")


async def test_in_a_topic(telegram: Telegram, store: JobStore, status: StatusMessage, alice: User) -> None:
    group = telegram.add_group("Band", [alice], forum=True)
    chat = Chat(telegram, store, group.id, telegram.add_topic(group.id, "Songs"))
    await status.show(await chat.add())
    assert chat.shown()[-1].thread_id == chat.song.thread_id


async def test_in_a_topic_that_was_closed(
    telegram: Telegram, store: JobStore, status: StatusMessage, alice: User
) -> None:
    group = telegram.add_group("Band", [alice], forum=True)
    topic = telegram.add_topic(group.id, "Songs")
    chat = Chat(telegram, store, group.id, topic)
    job = await chat.add()
    telegram.close_topic(group.id, topic)
    await status.show(job)
    (message,) = chat.shown()
    assert message.thread_id is None


async def test_in_a_topic_that_was_deleted(
    telegram: Telegram, store: JobStore, status: StatusMessage, alice: User
) -> None:
    group = telegram.add_group("Band", [alice], forum=True)
    topic = telegram.add_topic(group.id, "Songs")
    chat = Chat(telegram, store, group.id, topic)
    await status.show(await chat.add())
    telegram.delete_topic(group.id, topic)
    await status.show(await chat.job(state=JobState.SEPARATING))
    (message,) = chat.shown()
    assert message.thread_id is None
    assert message.text == SAY("state.separating", title="Morning Line")


@pytest.mark.parametrize("was_shown", [True, False])
async def test_in_a_group_that_migrated(
    telegram: Telegram, store: JobStore, status: StatusMessage, alice: User, *, was_shown: bool
) -> None:
    group = telegram.add_group("Band", [alice])
    chat = Chat(telegram, store, group.id)
    job = await chat.add()
    if was_shown:
        await status.show(job)
    new = telegram.migrate_group(group.id)
    await status.show(await chat.job(state=JobState.SEPARATING))
    (message,) = chat.shown(new.id)
    assert message.text == SAY("state.separating", title="Morning Line")
    found = await chat.job()
    assert (found.chat_id, found.message_id) == (new.id, message.message_id)
    await status.show(await chat.job(state=JobState.CANCELLED))
    assert chat.shown(new.id) == [message]


async def test_to_one_who_blocked_the_bot(status: StatusMessage, chat: Chat, telegram: Telegram) -> None:
    job = await chat.add()
    telegram.block_bot(chat.chat_id)
    with pytest.raises(Forbidden):
        await status.show(job)


async def test_another_refusal_is_not_swallowed(status: StatusMessage, chat: Chat) -> None:
    await status.show(await chat.add())
    with pytest.raises(BadRequest):
        await status.write(await chat.job(), "", None)
    assert len(chat.shown()) == 1


async def test_telegram_that_asks_for_a_long_pause(
    status: StatusMessage, chat: Chat, telegram: Telegram
) -> None:
    job = await chat.add()
    telegram.faults.add(FaultKind.TOO_MANY_REQUESTS, retry_after_s=int(PATIENCE_S) + 100)
    with pytest.raises(TryLater) as met:
        await status.show(job)
    assert PATIENCE_S < met.value.after_s <= PATIENCE_S + 100
