"""A song that is split without a tap: by the usual mode or its caption, with ten seconds to undo that."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from product import BotRoom, result_of, until
from running import running
from telegram import Message as BotApiMessage

from bot.app import build_albums, build_automatic_start
from bot.automatic_start import AutomaticStart, wish_of
from sandbox.telegram.chats import Message, User
from sandbox.telegram.faults import FaultKind
from stemdrop.chat.rendering import UNDO_S
from stemdrop.domain.abilities import ALL, Abilities, Ability
from stemdrop.domain.jobs import CachedStem, Choice, Job, JobState, Mode, Source
from stemdrop.errors import TryLater
from stemdrop.storage.abilities import AbilitiesCache
from stemdrop.storage.heartbeats import Heartbeat
from stemdrop.storage.stem_cache import CachedStems, StemCache
from stemdrop.storage.users import Person
from stemdrop.tasks.engine import Queue, Task

SOON = "🎵 “Morning Line”\nI'll split it: Vocals + instrumental · 10 credits. It starts in 10 sec."
TOO_DEAR = "This costs 10 credits, and you have 5 a day. The operator of this bot can give you more."
MENU = "🎵 “Morning Line”\nHow do you want it split?"


@dataclass
class Starts:
    """A user whose songs are split at once, and the task START, which a test runs as the engine does."""

    room: BotRoom
    user: User
    task: AutomaticStart
    job_id: str = ""

    async def sends(self, song: Path, **how: str) -> None:
        await self.room.sends(self.user, song, **how)
        (self.job_id,) = set(await self.room.product.taken(Queue.UPDATES, Task.START))

    async def runs(self, after_s: float = 0) -> bool:
        """Run the task after so many seconds; returns whether it is over."""
        self.room.product.clock.advance(after_s)
        try:
            await self.task.run(self.job_id)
        except TryLater:
            return False
        return True

    async def job(self) -> Job:
        return await self.room.product.job(self.job_id)

    def message(self) -> Message:
        (message,) = self.room.telegram.bot_messages(self.user.id)
        return message

    async def is_asked(self, why: str = "") -> bool:
        """Whether the menu is shown, and says why, and nothing was or will be started."""
        for after_s in (UNDO_S, 0):
            assert await self.runs(after_s)
        text = f"{MENU}\n\n{why}" if why else MENU
        state, shown = (await self.job()).state, self.message()
        is_menu = (shown.text, len(shown.buttons)) == (text, 4)
        return is_menu and state is JobState.CHOOSING and await self.room.product.ordered() == []


@pytest.fixture
async def starts(room: BotRoom, alice: User) -> Starts:
    await room.product.users.set_splits_at_once(alice.id, True)
    return Starts(room, alice, build_automatic_start(room.product))


@pytest.fixture
async def soon(starts: Starts, song: Path) -> Starts:
    """Her song, whose message says that it starts soon."""
    await starts.sends(song)
    assert not await starts.runs()
    return starts


async def test_a_song_is_split_once_ten_seconds_after_it_was_announced(soon: Starts) -> None:
    assert soon.message().text == SOON
    assert [button["text"] for button in soon.message().buttons] == ["↩️ Undo", "▶️ Start now"]
    assert not await soon.runs(UNDO_S - 1)
    assert await soon.room.product.ordered() == []
    for after_s in (1, 0):
        assert await soon.runs(after_s)
    assert await soon.room.product.ordered() == [("submit", soon.job_id)]
    assert soon.message().text.startswith("⏳ Splitting “Morning Line”…")


async def test_undo_asks_and_nothing_starts_after_it(soon: Starts) -> None:
    undo, start = (button["callback_data"] for button in soon.message().buttons)
    query = await soon.room.presses(soon.message(), "Undo")
    await soon.room.again(query)
    assert await soon.is_asked()
    await soon.room.forges(soon.message(), start, soon.user)
    await soon.room.forges(soon.message(), undo, soon.user)
    assert await soon.is_asked()
    await soon.room.presses(soon.message(), "All stems")
    job = await soon.job()
    assert (job.mode, job.state) == (Mode.SPLIT_STEM, JobState.SUBMITTING)


async def test_start_now_starts_once_and_undo_comes_too_late(soon: Starts) -> None:
    undo = soon.message().buttons[0]["callback_data"]
    query = await soon.room.presses(soon.message(), "Start now")
    await soon.room.again(query)
    assert await soon.runs(UNDO_S)
    assert await soon.room.product.ordered() == [("submit", soon.job_id)]
    assert (await soon.room.forges(soon.message(), undo, soon.user)).answer_text.startswith("Too late")
    assert (await soon.job()).state is JobState.SUBMITTING


@pytest.mark.parametrize("is_cached", [False, True])
async def test_a_start_that_has_read_the_job_before_the_undo_starts_nothing(
    soon: Starts, is_cached: bool
) -> None:
    read = await soon.job()
    if is_cached:
        stems = CachedStems(result_of({"vocals": ""}), (CachedStem("vocals", "audio", "file"),))
        await soon.room.product.stem_cache.put(read, stems)
    await soon.room.presses(soon.message(), "Undo")
    await soon.room.product.orders.pick(read, Mode.SEPARATE_VOCAL, "", starts_at=read.starts_at)
    assert (await soon.job()).state is JobState.CHOOSING
    assert await soon.room.product.ordered() == []


async def test_an_undo_is_shown_although_the_start_is_announced_after_it(soon: Starts) -> None:
    read, shown = await soon.job(), soon.task.actions.job_message
    await soon.room.presses(soon.message(), "Undo")
    await shown.show(read)
    assert soon.message().text == SOON
    await shown.show_newer_state(read)
    assert soon.message().text == MENU


@pytest.mark.parametrize("ended_by", ["/cancel", "/delete", "block"])
async def test_what_ends_a_song_keeps_it_from_starting(starts: Starts, song: Path, ended_by: str) -> None:
    await starts.sends(song)
    if ended_by == "block":
        starts.room.telegram.block_bot(starts.user.id)
    else:
        (answer, *_) = await starts.room.says(starts.user, ended_by)
        if ended_by == "/delete":
            await starts.room.taps(answer, 0)
    for _ in range(3):
        assert await starts.runs(UNDO_S)
    assert await starts.room.product.ordered() == []
    assert {job.state for job in await starts.room.product.jobs(starts.user.id)} <= {
        *(JobState.CHOOSING, JobState.CANCELLED)
    }


async def test_what_costs_nothing_starts_without_a_pause(starts: Starts, song: Path) -> None:
    product = starts.room.product
    await product.abilities.put(Abilities({Mode.SEPARATE_VOCAL: Ability(0)}))
    await starts.sends(song)
    assert await starts.runs()
    assert await product.ordered() == [("submit", starts.job_id)]
    stems = CachedStems(result_of({"vocals": ""}), (CachedStem("vocals", "audio", "file"),))
    await product.abilities.put(ALL)
    await product.stem_cache.put(await starts.job(), stems)
    await starts.sends(song)
    assert await starts.runs()
    assert await product.ordered() == [("deliver", starts.job_id)]


class _Vanishing(StemCache):
    """A cache whose stems vanish just after they were seen to be free."""

    async def free(self, source: Source, file_format: str = "") -> frozenset[Choice]:
        choices = await super().free(source, file_format)
        for choice in choices:
            await self.forget(source, choice, file_format)
        return choices


@pytest.mark.parametrize("was_free", ["cached", "offered"])
async def test_a_start_that_stops_being_free_waits_for_an_undo(
    starts: Starts, song: Path, was_free: str
) -> None:
    product, shown = starts.room.product, starts.task.actions.job_message
    await starts.sends(song)
    job = await starts.job()
    if was_free == "cached":
        stems = CachedStems(result_of({"vocals": ""}), (CachedStem("vocals", "audio", "file"),))
        await product.stem_cache.put(job, stems)
        shown.stem_cache = _Vanishing(product.redis)
    else:
        before = shown.abilities
        shown.abilities = AbilitiesCache(product.redis, ["as-it-was"], {})
        await shown.abilities.put(Abilities({Mode.SEPARATE_VOCAL: Ability(0)}))
    assert not await starts.runs()
    assert await product.ordered() == []
    if was_free == "offered":
        shown.abilities = before
    assert not await starts.runs()
    assert starts.message().text == SOON
    assert await starts.runs(UNDO_S)
    assert await product.ordered() == [("submit", starts.job_id)]


async def test_a_mode_that_is_not_offered_is_explained(starts: Starts, song: Path) -> None:
    await starts.room.product.abilities.put(Abilities({Mode.SPLIT_STEM: Ability(50)}))
    await starts.sends(song)
    assert await starts.runs()
    assert "The service does not offer this." in starts.message().text
    assert "All stems" in starts.message().buttons[0]["text"]
    assert await starts.room.product.ordered() == []


async def test_a_day_without_enough_credits_is_explained(starts: Starts, song: Path) -> None:
    await starts.room.product.users.set_daily_credits(starts.user.id, 5)
    await starts.sends(song)
    assert await starts.is_asked(TOO_DEAR)


async def test_credits_that_another_song_took_meanwhile_are_explained(soon: Starts) -> None:
    await soon.room.product.users.set_daily_credits(soon.user.id, 5)
    assert await soon.is_asked(TOO_DEAR)


async def test_after_a_pause_of_the_bot_the_seconds_count_anew(soon: Starts) -> None:
    assert not await soon.runs(UNDO_S + 30)
    assert not await soon.runs(UNDO_S - 1)
    assert await soon.runs(1)
    assert (await soon.job()).state is JobState.SUBMITTING


async def test_after_a_restart_the_seconds_count_anew(soon: Starts) -> None:
    soon.room.product.clock.advance(UNDO_S - 1)
    soon.task = build_automatic_start(soon.room.product)
    assert not await soon.runs(1)
    assert not await soon.runs(UNDO_S - 1)
    assert await soon.runs(1)


async def test_after_a_clock_was_set_back_the_seconds_count_anew_once(soon: Starts) -> None:
    assert not await soon.runs(-3600)
    assert not await soon.runs(UNDO_S - 1)
    assert await soon.runs(1)
    assert (await soon.job()).state is JobState.SUBMITTING


async def test_an_undo_that_has_arrived_counts_before_it_is_handled(soon: Starts) -> None:
    data = soon.message().buttons[0]["callback_data"]
    soon.room.telegram.tap(soon.user.id, soon.message().message_id, data)
    async with running(soon.room.product.poller().run):
        await until(lambda: not soon.room.telegram.updates.pending)
    assert await soon.runs(UNDO_S)
    assert (await soon.job()).state is JobState.CHOOSING


async def test_after_a_long_pause_the_user_is_asked(soon: Starts) -> None:
    assert await soon.runs(300)
    assert await soon.is_asked("I was away, so nothing was started.")


async def test_nothing_starts_while_no_webhook_receives_an_undo(soon: Starts) -> None:
    """Its taps wait at Telegram, although the bot runs."""
    beats = soon.room.product.heartbeats
    soon.task.webhooks = beats
    webhook = Heartbeat("webhook", "host", 1, "1", 0, 0)
    await beats.note(webhook)
    assert not await soon.runs(UNDO_S - 1)
    await beats.leave(webhook.name)
    await beats.note(replace(webhook, role="worker"))
    assert await soon.runs(1)
    assert await soon.is_asked("I was away, so nothing was started.")


async def test_a_message_that_telegram_did_not_take_is_sent_before_the_seconds_count(
    starts: Starts, song: Path
) -> None:
    await starts.sends(song)
    starts.room.telegram.faults.add(FaultKind.SERVER_ERROR, method="sendMessage")
    assert not await starts.runs()
    assert not await starts.runs(UNDO_S)
    assert starts.message().text == SOON
    assert await starts.runs(UNDO_S)
    assert len(await starts.room.product.ordered()) == 1


async def test_an_update_that_is_handled_again_starts_one_song(starts: Starts, song: Path) -> None:
    await starts.sends(song)
    await starts.room.handle_again()
    assert set(await starts.room.product.taken(Queue.UPDATES, Task.START)) == {starts.job_id}
    assert len(await starts.room.product.jobs(starts.user.id)) == 1
    await starts.runs()
    await starts.room.presses(starts.message(), "Undo")
    await starts.room.handle_again()
    assert await starts.is_asked()


async def test_a_caption_chooses_the_mode_in_a_private_chat(room: BotRoom, alice: User, song: Path) -> None:
    starts = Starts(room, alice, build_automatic_start(room.product))
    await starts.sends(song, caption="Minus drums!")
    assert not await starts.runs()
    assert "I'll split it: Drums · 20 credits." in starts.message().text
    assert await starts.runs(UNDO_S)
    job = await starts.job()
    assert (job.mode, job.instrument) == (Mode.SPLIT_STEM_ADVANCED, "Drum Kit")


async def test_a_caption_chooses_nothing_in_albums_and_groups(
    starts: Starts, room: BotRoom, song: Path
) -> None:
    group = room.telegram.add_group("Band", [starts.user])
    sent = await room.sends(starts.user, song, caption="vocals", media_group_id="7")
    room.product.clock.advance(1)
    (argument,) = await room.product.taken(Queue.UPDATES, Task.ALBUM)
    await build_albums(room.product).run(argument)
    assert [message.text for message in room.after(sent)] == [MENU]
    for caption in ("vocals", "/stems vocals"):
        await room.sends(starts.user, song, caption=caption, chat_id=group.id)
    assert [message.text for message in room.telegram.bot_messages(group.id)] == [MENU]
    assert await room.product.taken(Queue.UPDATES, Task.START) == []


@pytest.mark.parametrize("is_announced", [False, True])
async def test_an_edited_caption_chooses_until_the_mode_is_picked(
    room: BotRoom, alice: User, song: Path, is_announced: bool
) -> None:
    starts = Starts(room, alice, build_automatic_start(room.product))
    await room.product.users.set_splits_at_once(alice.id, is_announced)
    sent = await room.sends(alice, song, caption="for Bob")
    (job,) = await room.product.jobs(alice.id)
    starts.job_id = job.id
    assert await starts.runs() is not is_announced

    async def edit(caption: str) -> int:
        room.telegram.edit_text(alice.id, sent.message_id, caption)
        await room.handle()
        await room.handle_again()
        return len(await room.product.taken(Queue.UPDATES, Task.START))

    await room.product.taken(Queue.UPDATES, Task.START)
    assert [await edit("for Ben"), await edit("minus drums")] == [0, 1]
    assert not await starts.runs(UNDO_S - 1)
    assert "I'll split it: Drums · 20 credits." in starts.message().text
    assert not await starts.runs(UNDO_S - 1)
    await room.presses(starts.message(), "Undo")
    assert await edit("Minus drums!") == 0
    assert await starts.is_asked()
    assert await edit("vocals") == 1
    assert not await starts.runs()
    assert await starts.runs(UNDO_S)
    assert await edit("minus drums") == 0
    assert await room.product.ordered() == [("submit", job.id)]
    assert (await starts.job()).mode is Mode.SEPARATE_VOCAL


async def test_an_edited_caption_is_announced_for_a_song_whose_stems_are_lost(
    room: BotRoom, alice: User, song: Path
) -> None:
    starts = Starts(room, alice, build_automatic_start(room.product))
    sent = await room.sends(alice, song)
    (job,) = await room.product.jobs(alice.id)
    starts.job_id = job.id
    await room.product.store.set(job.id, mode=Mode.SPLIT_STEM, is_cache_lost=True)
    await room.product.job_message.show_current(job.id)
    assert starts.message().text.endswith("Split it again?")
    room.telegram.edit_text(alice.id, sent.message_id, "vocals")
    await room.handle()
    assert not await starts.runs()
    assert starts.message().text == SOON


async def test_an_edited_caption_starts_nothing_when_the_file_was_replaced_too(
    room: BotRoom, alice: User, song: Path
) -> None:
    sent = await room.sends(alice, song)
    other = {**sent.content["audio"], "file_unique_id": "other"}
    room.telegram.edit(sent, {**sent.content, "audio": other, "caption": "vocals"}, None)
    await room.handle()
    assert await room.product.taken(Queue.UPDATES, Task.START) == []


async def test_a_price_that_changes_while_the_seconds_count_is_announced(soon: Starts) -> None:
    await soon.room.product.abilities.put(Abilities({Mode.SEPARATE_VOCAL: Ability(50)}))
    assert not await soon.runs(UNDO_S)
    assert soon.message().text == SOON.replace("10 credits", "50 credits")
    assert await soon.room.product.ordered() == []
    assert await soon.runs(UNDO_S)
    assert await soon.room.product.ordered() == [("submit", soon.job_id)]


async def test_start_now_starts_nothing_that_costs_more_than_the_message_says(soon: Starts) -> None:
    cheap = {Mode.SEPARATE_VOCAL: Ability(1)}
    await soon.room.product.abilities.put(Abilities(cheap))
    await soon.room.product.job_message.show_current(soon.job_id)
    await soon.room.product.abilities.put(ALL)
    query = await soon.room.presses(soon.message(), "Start now")
    assert query.answer_text.startswith("The price has changed")
    assert await soon.room.product.ordered() == []
    assert soon.message().text == SOON


async def test_an_edited_caption_starts_nothing_in_an_album(room: BotRoom, alice: User, song: Path) -> None:
    sent = await room.sends(alice, song, media_group_id="7")
    room.telegram.edit_text(alice.id, sent.message_id, "vocals")
    await room.handle()
    assert await room.product.taken(Queue.UPDATES, Task.ALBUM)


def described(caption: str, **more: object) -> BotApiMessage:
    audio = {"file_id": "f", "file_unique_id": "u", "duration": 9, "title": "Karaoke", "performer": "Drums"}
    chat = {"id": 1, "type": "private"}
    data = {"message_id": 1, "date": 1, "chat": chat, "audio": audio, "caption": caption, **more}
    message = BotApiMessage.de_json(data, None)
    assert message
    return message


def test_the_songs_names_and_forwarded_captions_are_no_wishes() -> None:
    person = Person(1, usual=Mode.SPLIT_STEM)
    sender = {"type": "hidden_user", "sender_user_name": "A", "date": 1}
    assert wish_of(described("vocals"), person) == (Mode.SEPARATE_VOCAL, "")
    for message in (described("karaoke"), described("drums!"), described("vocals", forward_origin=sender)):
        assert wish_of(message, person) is None
        assert wish_of(message, Person(1, splits_at_once=True)) == (Mode.SEPARATE_VOCAL, "")
