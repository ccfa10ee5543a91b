"""A mixing desk: what is set stays, what is ordered is ordered once, and only by the song's user."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from product import BotRoom, result_of

from sandbox.telegram.chats import Message, User
from sandbox.telegram.faults import FaultKind
from stemdrop.domain.abilities import Abilities
from stemdrop.domain.jobs import Job, JobState, Obstacle
from stemdrop.domain.mixing_desk import Draft
from stemdrop.domain.outcomes import Sent
from stemdrop.domain.peaks import encode_peaks
from stemdrop.domain.recipes import OFF_DB, QUIET_DB, Recipe, Remix, RemixState, only
from stemdrop.domain.results import Stem
from stemdrop.domain.song_facts import SongFacts
from stemdrop.services.remixing import MAX_OPEN_REMIXES
from stemdrop.storage.keys import DESK, SENT
from stemdrop.storage.stem_cache import CachedStems
from stemdrop.tasks.engine import Queue, Task

BAND = ("vocals", "drums", "bass", "other")
ON_ITS_WAY = "It is on its way."
NOT_YOURS = "Only the person who asked for it can choose."


async def delivered(room: BotRoom, song: Message, *keys: str, **changes: Any) -> Job:
    """A job whose stems are in the chat, and its result with them."""
    stems = keys or BAND
    urls = {key: f"https://cdn.example/{key}.mp3" for key in stems}
    product = room.product
    job = await product.at(JobState.DELIVERING, song, result=result_of(urls), **changes)
    arrived = {key: Sent(number, f"file-{key}", key) for number, key in enumerate(stems, 1)}
    await product.store.tick(job.id, arrived)
    facts = SongFacts(104, 0.5, "G major", -11)
    await product.store.move(job.id, [JobState.DELIVERING], JobState.DELIVERED, facts=facts)
    await product.job_message.show_current(job.id)
    return await product.job(job.id)


@pytest.fixture
async def job(room: BotRoom, sent: Message) -> Job:
    await room.handle()
    return await delivered(room, sent)


@pytest.fixture
async def desk(room: BotRoom, job: Job, alice: User) -> Message:
    """The desk that Alice has opened."""
    return await opened(room, job, alice)


def result(room: BotRoom, job: Job) -> Message:
    """The message below the stems."""
    (found,) = [it for it in room.telegram.bot_messages(job.chat_id) if it.message_id == job.message_id]
    return found


async def opened(room: BotRoom, job: Job, user: User) -> Message:
    await room.presses(result(room, await room.product.job(job.id)), "🎚 Remix", user)
    return room.telegram.bot_messages(job.chat_id)[-1]


async def orders(room: BotRoom) -> list[Remix]:
    """Take all orders that wait for a worker."""
    remixes = [
        await room.product.remixes.get(it) for it in await room.product.taken(Queue.RENDERS, Task.RENDER)
    ]
    return [remix for remix in remixes if remix]


async def recipes(room: BotRoom) -> list[Recipe]:
    return [recipe for remix in await orders(room) for recipe in remix.recipes]


def says(desk: Message) -> str:
    """What the desk says is set."""
    return desk.text.split("\n")[1]


async def test_the_desk_is_a_new_message_that_answers_the_song(
    room: BotRoom, job: Job, desk: Message, sent: Message
) -> None:
    assert desk.text.startswith("🎚 Remix of “Morning Line”\nNow: the song as it is. Making it is free.")
    assert desk.reply_to is sent
    assert desk.message_id != job.message_id
    assert result(room, job).text.startswith("✅")


async def test_the_result_offers_the_mixer_only_in_private_chats(
    room: BotRoom, job: Job, alice: User, song: Path
) -> None:
    mixer = [button["web_app"]["url"] for button in result(room, job).buttons if "web_app" in button]
    assert mixer == [f"https://stems.example/mixer/?job={job.id}"]
    group = room.telegram.add_group("Band", [alice])
    there = await delivered(room, await room.sends(alice, song, chat_id=group.id), task_id="task-2")
    assert [button["text"] for button in result(room, there).buttons if "web_app" in button] == []
    assert (await opened(room, there, alice)).chat.id == group.id


async def test_two_quick_taps_open_one_desk(room: BotRoom, job: Job) -> None:
    message = result(room, job)
    for _ in range(2):
        room.telegram.tap(job.chat_id, message.message_id, f"M:d:{job.id}")
    await room.handle()
    assert len([it for it in room.after(message) if it.text.startswith("🎚")]) == 1


async def test_each_preset_is_ordered_at_once(room: BotRoom, desk: Message) -> None:
    names = [button["text"] for button in desk.buttons[:5]]
    ordered = {}
    for name in names:
        assert (await room.presses(desk, name)).answer_text == ON_ITS_WAY
        (ordered[name],) = await recipes(room)
    assert ordered == {
        "Without vocals": Recipe((("vocals", OFF_DB),)),
        "Without drums": Recipe((("drums", OFF_DB),)),
        "Without bass": Recipe((("bass", OFF_DB),)),
        "Quiet vocals (−12 dB)": Recipe((("vocals", QUIET_DB),)),
        "Only drums + bass": only(BAND, ("drums", "bass")),
    }
    assert says(desk) == "Now: only drums + bass. Making it is free."


async def test_silent_stems_are_not_on_the_desk(room: BotRoom, alice: User, sent: Message) -> None:
    await room.handle()
    job = await delivered(room, sent, *BAND, "fx")
    await room.product.store.set(job.id, silent=("FX",))
    await room.product.redis.hdel(SENT.format(job.id), "fx")
    desk = await opened(room, job, alice)
    await room.presses(desk, "Levels…")
    labels = [button["text"] for button in desk.buttons[:5]]
    assert labels == ["🔊 Vocals", "🔊 Drums", "🔊 Bass", "🔊 Other", "↩️ Back"]
    await room.presses(desk, "Back")
    await room.presses(desk, "Only drums + bass")
    assert await recipes(room) == [only((*BAND, "fx"), ("drums", "bass"))]


async def test_a_stem_in_the_chat_is_on_the_desk_although_a_silent_one_has_its_name(
    room: BotRoom, alice: User, sent: Message
) -> None:
    await room.handle()
    job = await delivered(room, sent)
    assert job.result
    second = Stem("bass_2", "", name="Bass")
    result = replace(job.result, stems=(*job.result.stems, second))
    await room.product.store.set(job.id, result=result, silent=("Bass",))
    desk = await opened(room, job, alice)
    await room.presses(desk, "Levels…")
    labels = [button["text"] for button in desk.buttons[:5]]
    assert labels == ["🔊 Vocals", "🔊 Drums", "🔊 Bass", "🔊 Other", "↩️ Back"]


async def test_the_users_instrument_comes_first(room: BotRoom, job: Job, alice: User) -> None:
    await room.product.users.set_instrument(alice.id, "bass")
    desk = await opened(room, job, alice)
    assert desk.buttons[0]["text"] == "⭐ Without bass"
    await room.taps(desk, 0)
    assert await recipes(room) == [Recipe((("bass", OFF_DB),))]


async def test_a_mix_of_ones_own_is_set_and_made(room: BotRoom, desk: Message, alice: User) -> None:
    await room.presses(desk, "Levels…")
    await room.presses(desk, "🔊 Vocals")
    for sign in ("🔊", "🔉"):
        await room.presses(desk, f"{sign} Bass")
    await room.presses(desk, "Back")
    await room.presses(desk, "Speed & key…")
    await room.presses(desk, "−")  # the speed's
    await room.forges(desk, desk.buttons[3]["callback_data"], alice)
    await room.presses(desk, "Count-in")
    await room.presses(desk, "Metronome")
    await room.presses(desk, "✓ Metronome")
    words = "without bass, quiet vocals, 90%, −1, count-in (94 BPM · F♯ major)"
    assert says(desk) == f"Now: {words}. Making it is free."
    assert (await room.presses(desk, "Make it")).answer_text == ON_ITS_WAY
    (remix,) = await orders(room)
    gains = (("bass", OFF_DB), ("vocals", QUIET_DB))
    assert remix.recipes == (Recipe(gains, 90, -1, has_count_in=True),)
    assert (remix.user_id, remix.language, remix.is_archive) == (alice.id, "en", False)
    await room.presses(desk, "Reset")
    assert says(desk).startswith("Now: the song as it is.")
    assert "Count-in" in [button["text"] for button in desk.buttons]  # still on its page


async def test_a_preset_keeps_the_speed_that_is_set(room: BotRoom, desk: Message) -> None:
    await room.presses(desk, "Speed & key…")
    await room.presses(desk, "−")
    await room.presses(desk, "Back")
    await room.presses(desk, "Without bass")
    await room.presses(desk, "Without drums")
    assert [(recipe.gains, recipe.speed) for recipe in await recipes(room)] == [
        ((("bass", OFF_DB),), 90),
        ((("drums", OFF_DB),), 90),
    ]


@pytest.mark.parametrize(("label", "is_archive"), [("As songs", False), ("One ZIP", True)])
async def test_a_practice_pack_has_the_mix_at_four_speeds(
    room: BotRoom, desk: Message, label: str, is_archive: bool
) -> None:
    await room.presses(desk, "Without bass")
    await orders(room)
    await room.presses(desk, "Practice pack")
    assert "70, 80, 90 and 100 %" in desk.text
    assert (await room.presses(desk, label)).answer_text == ON_ITS_WAY
    (remix,) = await orders(room)
    assert [(recipe.speed, recipe.gains, recipe.has_count_in) for recipe in remix.recipes] == [
        (speed, (("bass", OFF_DB),), True) for speed in (70, 80, 90, 100)
    ]
    assert remix.is_archive is is_archive


async def test_nothing_changed_or_nothing_heard_is_not_made(room: BotRoom, desk: Message) -> None:
    assert (await room.presses(desk, "Make it")).answer_text.startswith("Nothing is changed yet")
    await room.presses(desk, "Levels…")
    for name in ("Vocals", "Drums", "Bass", "Other"):
        await room.presses(desk, f"🔊 {name}")
        await room.presses(desk, f"🔉 {name}")
    assert says(desk).startswith("Now: silence")
    query = await room.presses(desk, "Make it")
    assert (query.answer_text, query.is_alert) == ("Nothing would be heard. Turn a stem on first.", True)
    await room.presses(desk, "Back")
    await room.presses(desk, "Practice pack")
    assert (await room.presses(desk, "One ZIP")).answer_text.startswith("Nothing would be heard")
    assert await orders(room) == []


async def test_a_double_tap_orders_once_and_sets_once(room: BotRoom, desk: Message) -> None:
    await room.presses(desk, "Levels…")
    taps = [it["callback_data"] for it in desk.buttons if "Bass" in it["text"]] * 2
    taps += [it["callback_data"] for it in desk.buttons if "Make it" in it["text"]] * 2
    for data in taps:
        room.telegram.tap(desk.chat.id, desk.message_id, data)
    await room.handle()
    assert says(desk).startswith("Now: quiet bass.")
    assert await recipes(room) == [Recipe((("bass", QUIET_DB),))]


async def test_an_update_that_is_handled_again_does_nothing_again(
    room: BotRoom, job: Job, desk: Message, alice: User
) -> None:
    preset = await room.presses(desk, "Without bass")
    await room.presses(desk, "Levels…")
    level = await room.presses(desk, "🔊 Drums")
    await room.presses(desk, "🔉 Drums")
    for query in (level, preset):
        await room.again(query)
    assert (await room.product.remixes.draft(job.id, alice.id)).recipe == only(BAND, ("vocals", "other"))
    assert len({remix.id for remix in await orders(room)}) == 1


async def test_the_same_is_ordered_again_when_it_has_come_or_will_not_come(
    room: BotRoom, desk: Message, alice: User
) -> None:
    remixes = room.product.remixes
    for state, later_s, is_again in (
        (RemixState.WAITING, 3600, False),
        (RemixState.SENDING, 60, False),
        (RemixState.SENT, 1, False),
        (RemixState.SENT, 3, True),
        (RemixState.CANCELLED, 0, True),
        (RemixState.FAILED, 0, True),
    ):
        await remixes.forget_of(alice.id)
        await room.presses(desk, "Without bass")
        (first,) = await orders(room)
        await remixes.move(first, state)
        room.product.clock.advance(later_s)
        assert (await room.presses(desk, "Without bass")).answer_text == ON_ITS_WAY
        assert {remix.id != first.id for remix in await orders(room)} == {is_again}, (state, later_s)
        await room.presses(desk, "Without bass")
        assert len({it.id for it in await orders(room)} - {first.id}) == is_again, (state, later_s)


async def test_taps_that_are_handled_at_once_are_all_kept(room: BotRoom, job: Job, alice: User) -> None:
    remixes = room.product.remixes

    async def turn_off(key: str) -> None:
        await remixes.change_draft(job.id, alice.id, lambda it: Draft(it.recipe.with_gain(key, OFF_DB)))

    await asyncio.gather(*map(turn_off, BAND))
    assert (await remixes.draft(job.id, alice.id)).recipe == only(BAND, ())


async def test_a_desk_works_after_a_restart(room: BotRoom, desk: Message) -> None:
    await room.presses(desk, "Levels…")
    await room.presses(desk, "🔊 Bass")
    application = room.product.application()
    await application.initialize()
    other = BotRoom(room.product, application)
    other._offset = room._offset
    await other.presses(desk, "🔉 Bass")
    await other.presses(desk, "Make it")
    assert await recipes(room) == [Recipe((("bass", OFF_DB),))]
    await application.shutdown()


async def test_only_the_songs_user_can_remix_it(room: BotRoom, alice: User, mei: User, song: Path) -> None:
    group = room.telegram.add_group("Band", [alice, mei])
    job = await delivered(room, await room.sends(alice, song, chat_id=group.id))
    desk = await opened(room, job, alice)
    before = (desk.text, len(room.telegram.bot_messages(group.id)))
    data = [str(button["callback_data"]) for button in desk.buttons]
    data += [f"M:d:{job.id}", f"M:s:{job.id}:80", f"M:w:{job.id}:z"]
    for word in data:
        query = await room.forges(desk, word, mei)
        assert query.answer_text == "只有发起的人才能选择。"
    assert (desk.text, len(room.telegram.bot_messages(group.id))) == before
    assert await orders(room) == []


async def test_in_a_topic_the_desk_is_in_the_topic(room: BotRoom, alice: User, song: Path) -> None:
    forum = room.telegram.add_group("Band", [alice], forum=True)
    topic = room.telegram.add_topic(forum.id, "Demos")
    job = await delivered(room, await room.sends(alice, song, chat_id=forum.id, thread_id=topic))
    assert (await opened(room, job, alice)).thread_id == topic


async def test_in_a_channel_its_administrators_remix(
    room: BotRoom, alice: User, mei: User, song: Path
) -> None:
    channel = room.telegram.add_channel("Label", alice, [mei])
    song_there = await room.telegram.send_file(channel.id, song, user_id=alice.id)
    await room.handle()
    job = await delivered(room, replace_sender(song_there, alice), user_id=0)
    desk = await opened(room, job, alice)
    assert (await room.presses(desk, "Without bass", alice)).answer_text == ON_ITS_WAY
    assert (await room.forges(desk, f"M:h:{job.id}", mei)).answer_text == "只有发起的人才能选择。"
    (remix,) = await orders(room)
    assert remix.user_id == alice.id


def replace_sender(message: Message, user: User) -> Message:
    return replace(message, sender=user)


async def test_ten_open_remixes_are_enough(room: BotRoom, job: Job, desk: Message, alice: User) -> None:
    product = room.product
    for number in range(MAX_OPEN_REMIXES):
        assert await product.remixing.order(job, alice.id, [Recipe()], by=f"{number}", language="en")
    await orders(room)
    query = await room.presses(desk, "Without bass")
    assert query.is_alert
    assert query.answer_text.startswith("10 of your remixes are still being made.")
    assert await orders(room) == []
    await room.presses(desk, "Levels…")
    assert "🔇 Bass" in [button["text"] for button in desk.buttons]


async def test_a_chat_without_rights_orders_nothing(room: BotRoom, alice: User, song: Path) -> None:
    group = room.telegram.add_group("Band", [alice])
    job = await delivered(room, await room.sends(alice, song, chat_id=group.id))
    desk = await opened(room, job, alice)
    room.telegram.forbid(group.id, "can_send_audios")
    query = await room.presses(desk, "Without bass", alice)
    assert query.answer_text == room.product.translations.languages["en"](f"here.{Obstacle.NO_MUSIC}")
    assert await orders(room) == []


async def test_a_deleted_song_says_so(room: BotRoom, job: Job, desk: Message) -> None:
    await room.product.store.forget(job.id)
    for label in ("Without bass", "Levels…", "Make it", "Close"):
        query = await room.presses(desk, label)
        assert query.answer_text.startswith("This song was deleted")
        assert query.is_alert
    assert await orders(room) == []


async def test_stems_that_are_gone_are_dropped_and_new_ones_appear(
    room: BotRoom, job: Job, desk: Message, alice: User
) -> None:
    await room.product.remixes.change_draft(
        job.id, alice.id, lambda _: Draft(Recipe((("bass", OFF_DB), ("tuba", OFF_DB))), ("horn",))
    )
    await room.presses(desk, "Make it")
    assert await recipes(room) == [Recipe((("bass", OFF_DB),))]


@pytest.mark.parametrize("kind", ["cancelled", "too late", "another's", "gone"])
async def test_a_remix_is_cancelled_by_its_user(
    room: BotRoom, job: Job, desk: Message, alice: User, mei: User, kind: str
) -> None:
    remixes = room.product.remixes
    await room.presses(desk, "Without bass")
    (remix,) = await orders(room)
    if kind == "too late":
        await remixes.move(remix, RemixState.SENT)
    if kind == "gone":
        await remixes.forget_of(alice.id)
    query = await room.forges(desk, f"M:x:{remix.id}", mei if kind == "another's" else alice)
    await room.again(query)
    # a worker may show it in the chat much later
    assert ("Cancelled: “Morning Line" in query.answer_text) is (kind == "cancelled")
    assert query.answer_text
    # what a killed worker has left is removed
    assert desk.is_deleted == (kind in ("too late", "gone"))
    stored = await remixes.get(remix.id)
    state = {"cancelled": RemixState.CANCELLED, "too late": RemixState.SENT, "another's": RemixState.WAITING}
    assert (stored and stored.state) == state.get(kind)


async def test_closing_deletes_the_desk(room: BotRoom, job: Job, desk: Message) -> None:
    query = await room.presses(desk, "Close")
    assert desk.is_deleted
    await room.again(query)
    other = await opened_again(room, job)
    room.telegram.clock = lambda: other.date + 49 * 3600.0  # then Telegram deletes it no more
    await room.presses(other, "Close")
    assert (other.text, other.buttons) == ("🎚 Remix of “Morning Line”", [])


async def opened_again(room: BotRoom, job: Job) -> Message:
    await room.product.redis.delete(*await room.product.redis.keys("stemdrop:throttle:*"))
    return await opened(room, job, room.telegram.user(job.user_id))


async def test_forged_and_old_buttons_change_nothing(
    room: BotRoom, job: Job, desk: Message, alice: User
) -> None:
    words = ["", "p", "p:w", "p:w00000000", "g", "g:x:q:0", "g:x:z:0", "s:x", "s:77", "s:-1", "k:7", "c:x"]
    words += ["m:", "l:x", "l:-5", "l:99999", "w:q", "r:x", "r", "zz", "h:1", "o:1", "d:1", "e:1"]
    for word in words:
        action, _, rest = word.partition(":")
        data = f"M:{action}:{job.id}:{rest}" if rest else f"M:{action}:{job.id}"
        await room.forges(desk, data, alice)
    for data in ("M", "M:", "M:d", "M::", f"M:d:{'x' * 60}", "M:x:", "M:x:gone"):
        assert (await room.forges(desk, data, alice)).answer_text
    assert await room.product.remixes.draft(job.id, alice.id) == Draft()
    assert await orders(room) == []


async def test_where_nothing_costs_anything_nothing_is_free(room: BotRoom, job: Job, alice: User) -> None:
    await room.product.abilities.put(Abilities({}))
    await room.product.job_message.show_current(job.id)
    desk = await opened(room, job, alice)
    assert "free" not in desk.text + str(desk.buttons)


async def test_everything_of_a_user_is_deleted(
    room: BotRoom, job: Job, desk: Message, alice: User, redis_url: str
) -> None:
    await room.presses(desk, "Without bass")
    (remix,) = await orders(room)
    (asked,) = (await room.says(alice, "/delete"))[-1:]
    await room.taps(asked, 0)
    keys = [str(key) for key in await room.product.redis.keys("*")]
    held = [key for key in keys if job.id in key or remix.id in key or "remixes" in key]
    # what the engine keeps of a task, and what stops a second tap, are gone within seconds
    assert [
        key for key in held if "renders:" not in key and ":tap:" not in key and "throttle" not in key
    ] == []


async def test_a_picture_shows_when_each_measured_stem_plays(room: BotRoom, job: Job, desk: Message) -> None:
    query = await room.presses(desk, "🖼 Picture")
    assert query.answer_text == "The stems of this song were not measured, so there is no picture of it."
    assert job.result
    peaks = {key: encode_peaks(bytes(range(50)) * 20) for key in ("vocals", "bass")}
    await room.product.stem_cache.put(job, CachedStems(job.result, (), peaks=peaks))
    for _ in range(2):
        room.telegram.tap(job.chat_id, desk.message_id, f"M:i:{job.id}")
    await room.handle()
    (picture,) = [it for it in room.after(desk) if "photo" in it.content]
    assert picture.content["caption"] == "🎵 Morning Line\n🟥 Vocals\n🟧 Bass"
    assert picture.reply_to is desk.reply_to
    assert {size["width"] for size in picture.content["photo"]} == {320, 800, 1048}


async def test_the_first_picture_waits_until_the_song_is_measured(
    room: BotRoom, job: Job, desk: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert job.result
    cache, peaks = room.product.stem_cache, {"vocals": encode_peaks(bytes(range(50)) * 20)}
    await cache.put(job, CachedStems(job.result, ()))
    monkeypatch.setattr("bot.song_pictures.TAP_PATIENCE_S", 0.01)
    query = await room.presses(desk, "🖼 Picture")
    assert query.answer_text == "The song is being measured for its picture. Tap again in a moment."
    assert await room.product.taken(Queue.RENDERS, Task.MEASURE) == [job.id]
    await room.product.users.may_say_again(f"measure:{job.id}")  # half a minute later
    monkeypatch.undo()
    measured = asyncio.create_task(until_waiting(room, lambda: cache.put_measures(job, None, peaks)))
    query = await room.presses(desk, "🖼 Picture")
    await measured
    assert query.answer_text == ""
    assert [it.content["caption"] for it in room.after(desk) if "photo" in it.content] == [
        "🎵 Morning Line\n🟥 Vocals"
    ]


async def until_waiting(room: BotRoom, act: Callable[[], Awaitable[None]]) -> None:
    """Act when the tap has asked a worker to measure the song."""
    while not await room.product.taken(Queue.RENDERS, Task.MEASURE):  # noqa: ASYNC110 - Redis sets no event
        await asyncio.sleep(0.01)
    await act()


@pytest.mark.parametrize("kind", [FaultKind.SERVER_ERROR, FaultKind.RESET_BEFORE])
async def test_a_desk_that_telegram_did_not_take_is_opened_later(
    room: BotRoom, job: Job, kind: FaultKind
) -> None:
    message = result(room, job)
    room.telegram.faults.add(kind, method="sendMessage")
    await room.presses(message, "🎚 Remix")
    assert room.after(message) == []
    await room.handle_again()
    assert [it.text.partition("\n")[0] for it in room.after(message)] == ["🎚 Remix of “Morning Line”"]


async def test_a_page_that_telegram_did_not_take_is_shown_later_without_undoing_other_taps(
    room: BotRoom, desk: Message
) -> None:
    await room.presses(desk, "Levels…")
    room.telegram.faults.add(FaultKind.SERVER_ERROR, method="editMessageText")
    query = await room.presses(desk, "🔊 Bass")
    assert "🔊 Bass" in [button["text"] for button in desk.buttons]
    await room.presses(desk, "🔊 Drums")
    await room.presses(desk, "🔉 Bass")
    await room.again(query)
    assert says(desk).startswith("Now: without bass, quiet drums.")


async def test_in_a_group_that_became_a_supergroup_the_desk_is_opened_there(
    room: BotRoom, alice: User, song: Path
) -> None:
    group = room.telegram.add_group("Band", [alice])
    job = await delivered(room, await room.sends(alice, song, chat_id=group.id))
    old = result(room, job)
    there = room.telegram.migrate_group(group.id)
    await room.forges(old, f"M:d:{job.id}", alice)
    assert [it.text[:1] for it in room.telegram.bot_messages(there.id)] == ["🎚"]


async def test_the_picture_follows_a_group_that_became_a_supergroup(
    room: BotRoom, alice: User, song: Path
) -> None:
    group = room.telegram.add_group("Band", [alice])
    job = await delivered(room, await room.sends(alice, song, chat_id=group.id))
    desk = await opened(room, job, alice)
    assert job.result
    peaks = {"vocals": encode_peaks(bytes(range(50)) * 20)}
    await room.product.stem_cache.put(job, CachedStems(job.result, (), peaks=peaks))
    there = room.telegram.migrate_group(group.id)
    await room.presses(desk, "🖼 Picture", alice)
    assert [it.content["caption"] for it in room.telegram.bot_messages(there.id) if "photo" in it.content]


async def test_what_an_administrator_set_in_a_channel_is_deleted_with_everything_else(
    room: BotRoom, alice: User, song: Path
) -> None:
    channel = room.telegram.add_channel("Label", alice, [])
    song_there = await room.telegram.send_file(channel.id, song, user_id=alice.id)
    await room.handle()
    job = await delivered(room, replace_sender(song_there, alice), user_id=0, account=channel.id)
    await room.presses(await opened(room, job, alice), "Without bass", alice)
    (asked,) = (await room.says(alice, "/delete"))[-1:]
    await room.taps(asked, 0)
    assert await room.product.redis.hgetall(DESK.format(job.id)) == {}
    assert (await room.product.store.get(job.id)) is not None


async def test_the_command_cancels_the_remixes_of_this_chat(
    room: BotRoom, job: Job, desk: Message, alice: User
) -> None:
    """Also those that wait for their turn, which have no message and so no button."""
    await room.presses(desk, "Without bass")
    await room.presses(desk, "Without drums")
    group = room.telegram.add_group("Band", [alice])
    elsewhere = (await room.says(alice, "/cancel", chat_id=group.id))[-1]
    assert elsewhere.text == "There is nothing to cancel."
    # the song is that of the menu which the bot has sent by itself
    assert (await room.says(alice, "/cancel"))[-1].text == "Cancelled 1 song.\nRemixes cancelled: 2."
    assert {remix.state for remix in await orders(room)} == {RemixState.CANCELLED}
    assert (await room.says(alice, "/cancel"))[-1].text == "There is nothing to cancel."
