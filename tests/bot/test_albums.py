"""Albums: songs that are sent together get one menu, and a tap is for the songs that it shows."""

from io import BytesIO
from pathlib import Path

import httpx
import pytest
from product import BotRoom, open_product
from recordings import record
from redis_search import find_keys

from bot.albums import AlbumChats
from bot.app import build_albums
from sandbox.telegram.app import run_telegram
from sandbox.telegram.chats import Chat, Message, User
from sandbox.telegram.faults import FaultKind
from sandbox.telegram.person_actions import Telegram
from stemdrop.chat.telegram_files import TelegramFiles
from stemdrop.domain.abilities import ALL, Abilities, Ability
from stemdrop.domain.jobs import INSTRUMENTS, Job, JobState, Mode
from stemdrop.errors import TryLater
from stemdrop.tasks.engine import Queue, Task

ALL_VOCALS, ALL_STEMS, ONE_INSTRUMENT, ONE_BY_ONE, CANCEL = range(5)


@pytest.fixture
def albums(room: BotRoom) -> AlbumChats:
    return build_albums(room.product)


@pytest.fixture
def songs(tmp_path: Path) -> list[Path]:
    named = enumerate(("One", "Two", "Three"), 1)
    return [record(tmp_path / f"{name}.mp3", seconds=seconds) for seconds, name in named]


@pytest.fixture
def bob(telegram: Telegram) -> User:
    return telegram.add_user("Bob")


async def send(room: BotRoom, user: User, songs: list[Path], **how: str | int) -> list[Message]:
    return [await room.sends(user, song, media_group_id="77", **how) for song in songs]


async def send_anonymously(room: BotRoom, group: Chat, admin: User, songs: list[Path]) -> None:
    """Send songs as an admin whom Telegram shows as the group."""
    bot = {"id": 1087968824, "is_bot": True, "first_name": "Group"}
    for song in songs:
        await room.telegram.send_file(group.id, song, user_id=admin.id, media_group_id="77", caption="/stems")
        message = room.telegram.updates.pending[-1]["message"]
        message |= {"from": bot, "sender_chat": message["chat"]}
        await room.handle()


async def gather(room: BotRoom, albums: AlbumChats) -> None:
    """Let a second pass, and run the tasks of the albums."""
    room.product.clock.advance(1)
    for argument in await room.product.taken(Queue.UPDATES, Task.ALBUM):
        await albums.run(argument)


async def menu_of(room: BotRoom, albums: AlbumChats, user: User, songs: list[Path]) -> Message:
    sent = await send(room, user, songs)
    await gather(room, albums)
    (menu,) = room.after(sent[-1])
    return menu


async def jobs_of(room: BotRoom, user: User) -> list[Job]:
    return sorted(await room.product.jobs(user.id), key=lambda job: job.source_message_id)


def labels(menu: Message) -> list[str]:
    return [button["text"] for button in menu.buttons]


async def test_songs_sent_together_get_one_menu_and_are_picked_together_in_their_order(
    room: BotRoom, albums: AlbumChats, alice: User, songs: list[Path]
) -> None:
    first, *_ = sent = await send(room, alice, songs)
    assert room.after(first) == []
    await gather(room, albums)
    (menu,) = room.after(first)
    assert menu.reply_to is first
    assert menu.text == "🎵 3 songs. How do you want them split?\n1. One\n2. Two\n3. Three"
    assert labels(menu) == [
        "All 3: Vocals + instrumental · 30 credits",
        "All 3: All stems · 150 credits",
        "All 3: One instrument… · 60 credits",
        *("🔢 One by one", "✖️ Cancel"),
    ]
    slower = menu.buttons[ALL_STEMS]["callback_data"]
    await room.taps(menu, ALL_VOCALS)
    await room.forges(menu, slower, alice)
    jobs = await jobs_of(room, alice)
    assert [(job.mode, job.state) for job in jobs] == [(Mode.SEPARATE_VOCAL, JobState.SUBMITTING)] * 3
    assert [job.source_message_id for job in jobs] == [message.message_id for message in sent]
    picked = sorted(jobs, key=lambda job: job.picked_at)
    assert picked == jobs
    assert (menu.text, menu.buttons) == ("🎵 3 songs: Vocals + instrumental. They come one by one.", [])
    assert [shown.reply_to for shown in room.after(menu)] == sent


async def test_one_instrument_is_isolated_in_all_songs(
    room: BotRoom, albums: AlbumChats, alice: User, songs: list[Path]
) -> None:
    menu = await menu_of(room, albums, alice, songs)
    text = menu.text
    await room.taps(menu, ONE_INSTRUMENT)
    assert menu.text == (
        "Which instrument do you want to isolate in 3 songs? You get it alone, and each song without it.\n"
        "All 3: One instrument… · 60 credits"
    )
    for label, shown in (("›", "Snare drum"), ("‹", "Bass")):
        await room.presses(menu, label)
        assert shown in labels(menu)
    await room.presses(menu, "↩️ Back")
    assert menu.text == text
    await room.taps(menu, ONE_INSTRUMENT)
    query = await room.presses(menu, "Bass")
    await room.again(query)
    chosen = {(job.mode, job.instrument, job.state) for job in await jobs_of(room, alice)}
    assert chosen == {(Mode.SPLIT_STEM_ADVANCED, "Bass", JobState.SUBMITTING)}
    assert len(await room.product.ordered()) == 3
    assert menu.text == "🎵 3 songs: Bass. They come one by one."


async def test_an_albums_button_orders_nothing_that_costs_more_than_it_shows(
    room: BotRoom, albums: AlbumChats, alice: User, songs: list[Path]
) -> None:
    cheap = {mode: Ability(1, instruments=INSTRUMENTS) for mode in Mode}
    await room.product.abilities.put(Abilities(cheap))
    menu = await menu_of(room, albums, alice, songs)
    await room.product.abilities.put(ALL)
    query = await room.taps(menu, ALL_VOCALS)
    assert query.answer_text.startswith("The price has changed")
    assert await room.product.ordered() == []
    assert labels(menu)[0] == "All 3: Vocals + instrumental · 30 credits"
    assert (await room.taps(menu, ALL_VOCALS)).answer_text == ""
    assert len(await room.product.ordered()) == 3


async def test_a_song_that_comes_while_instruments_are_shown_is_not_paid_unseen(
    room: BotRoom, albums: AlbumChats, alice: User, songs: list[Path]
) -> None:
    menu = await menu_of(room, albums, alice, songs[:2])
    await room.taps(menu, ONE_INSTRUMENT)
    bass = next(button["callback_data"] for button in menu.buttons if button["text"] == "Bass")
    await send(room, alice, songs[2:])
    await gather(room, albums)
    assert menu.text.startswith("🎵 3 songs.")
    for forged in (bass[:-1], bass.replace("a3", "a99"), "B:77:i:x", "B:77:i:-9", "B:77:i:9999", "B:77:b"):
        await room.forges(menu, forged, alice)
        assert {job.state for job in await jobs_of(room, alice)} == {JobState.CHOOSING}
    await room.forges(menu, bass, alice)
    states = [job.state for job in await jobs_of(room, alice)]
    assert states == [JobState.SUBMITTING, JobState.SUBMITTING, JobState.CHOOSING]


async def test_the_menu_waits_until_no_more_songs_come(
    room: BotRoom, albums: AlbumChats, alice: User, songs: list[Path]
) -> None:
    await send(room, alice, songs[:1])
    (argument,) = await room.product.taken(Queue.UPDATES, Task.ALBUM)
    room.product.clock.advance(0.9)
    await send(room, alice, songs[1:2])
    room.product.clock.advance(0.9)
    with pytest.raises(TryLater):
        await albums.run(argument)
    assert room.telegram.bot_messages(alice.id) == []
    room.product.clock.advance(0.2)
    await albums.run(argument)
    (menu,) = room.telegram.bot_messages(alice.id)
    assert menu.text.startswith("🎵 2 songs.")
    await send(room, alice, songs[2:])
    room.product.clock.advance(-50)  # as of another bot, or set back
    await albums.run(argument)
    assert menu.text.startswith("🎵 3 songs.")


async def test_a_late_song_joins_the_menu_and_is_not_paid_by_a_tap_that_has_not_seen_it(
    room: BotRoom, albums: AlbumChats, alice: User, songs: list[Path]
) -> None:
    menu = await menu_of(room, albums, alice, songs[:2])
    old = menu.buttons[ALL_VOCALS]["callback_data"]
    await send(room, alice, songs[2:])
    await gather(room, albums)
    assert menu.text.startswith("🎵 3 songs.")
    query = await room.forges(menu, old, alice)
    assert query.answer_text == ""  # two songs, as the button said
    states = [job.state for job in await jobs_of(room, alice)]
    assert states == [JobState.SUBMITTING, JobState.SUBMITTING, JobState.CHOOSING]
    assert labels(menu)[0] == "🎤 Vocals + instrumental · 10 credits"


async def test_a_song_after_the_pick_gets_its_own_menu(
    room: BotRoom, albums: AlbumChats, alice: User, songs: list[Path]
) -> None:
    menu = await menu_of(room, albums, alice, songs[:2])
    await room.taps(menu, ALL_STEMS)
    (late,) = await send(room, alice, songs[2:])
    await gather(room, albums)
    (own,) = room.after(late)
    assert own.text.startswith("🎵 “Three”")
    assert len(own.buttons) == 4


async def test_one_by_one_shows_each_songs_menu_in_order(
    room: BotRoom, albums: AlbumChats, alice: User, songs: list[Path]
) -> None:
    menu = await menu_of(room, albums, alice, songs)
    for method in ("sendMessage", "editMessageText"):
        room.telegram.faults.add(FaultKind.SERVER_ERROR, method=method)
    query = await room.taps(menu, ONE_BY_ONE)
    for _ in range(2):
        await room.again(query)
    own = room.after(menu)
    assert [message.text.partition("\n")[0] for message in own] == ["🎵 “One”", "🎵 “Two”", "🎵 “Three”"]
    assert menu.buttons == []


async def test_cancel_and_a_repeated_tap(
    room: BotRoom, albums: AlbumChats, alice: User, songs: list[Path]
) -> None:
    menu = await menu_of(room, albums, alice, songs)
    slower = menu.buttons[ALL_VOCALS]["callback_data"]
    query = await room.taps(menu, CANCEL)
    await room.again(query)
    assert (await room.forges(menu, slower, alice)).answer_text
    assert {job.state for job in await jobs_of(room, alice)} == {JobState.CANCELLED}
    assert menu.buttons == []
    room.product.clock.advance(100)
    await room.product.recovery().run()
    assert room.after(menu) == []


async def test_the_command_cancels_the_songs_of_a_menu(
    room: BotRoom, albums: AlbumChats, alice: User, bob: User, songs: list[Path]
) -> None:
    of_bob = await menu_of(room, albums, bob, songs[:2])
    menu = await menu_of(room, albums, alice, songs)
    fault = room.telegram.faults.add(FaultKind.SERVER_ERROR, method="sendMessage")
    await room.says(alice, "/cancel")
    assert fault.hits == 1
    await room.handle_again()
    assert (menu.text, menu.buttons) == ("Cancelled 3 songs.", [])
    assert {job.state for job in await jobs_of(room, alice)} == {JobState.CANCELLED}
    assert [message.text for message in room.after(menu) if message.is_from_bot] == ["Cancelled 3 songs."]
    assert of_bob.buttons
    room.product.clock.advance(100)
    await room.product.recovery().run()
    assert (await room.says(alice, "/cancel"))[-1].text == "There is nothing to cancel."


async def test_a_tap_that_is_handled_again_after_a_crash_goes_on_and_picks_each_song_once(
    room: BotRoom, albums: AlbumChats, alice: User, songs: list[Path]
) -> None:
    menu = await menu_of(room, albums, alice, songs)
    data = menu.buttons[ALL_VOCALS]["callback_data"]
    room.telegram.faults.add(FaultKind.SERVER_ERROR, method="editMessageText")
    query = room.telegram.tap(alice.id, menu.message_id, data)
    await room.handle()
    await room.again(query)
    assert {job.state for job in await jobs_of(room, alice)} == {JobState.SUBMITTING}
    assert menu.buttons == []
    assert len(await room.product.ordered()) == 3


async def test_a_tap_that_is_handled_again_later_pays_no_more_than_its_button_showed(
    room: BotRoom, albums: AlbumChats, alice: User, songs: list[Path]
) -> None:
    cheap = {mode: Ability(1, instruments=INSTRUMENTS) for mode in Mode}
    await room.product.abilities.put(Abilities(cheap))
    menu = await menu_of(room, albums, alice, songs)
    data = menu.buttons[ALL_VOCALS]["callback_data"]
    room.telegram.faults.add(FaultKind.SERVER_ERROR, method="answerCallbackQuery", times=3)
    query = room.telegram.tap(alice.id, menu.message_id, data)
    await room.handle()
    await room.product.abilities.put(ALL)
    await room.again(query)
    assert await room.product.ordered() == []
    assert labels(menu)[0] == "All 3: Vocals + instrumental · 30 credits"


async def test_other_files_of_an_album_are_named_with_the_reason(
    room: BotRoom, albums: AlbumChats, alice: User, songs: list[Path]
) -> None:
    await send(room, alice, songs[:2])
    for name, content in (("notes.pdf", b"%PDF-1.4"), ("noise.wav", b"text\n" * 99)):
        await room.telegram.send_file(
            alice.id, BytesIO(content), kind="document", file_name=name, media_group_id="77"
        )
    await room.handle()
    await gather(room, albums)
    (menu,) = room.telegram.bot_messages(alice.id)
    assert "Not taken: notes.pdf. I don't support this file type." in menu.text
    assert "Not taken: noise. I can't find any sound in this file." in menu.text
    assert labels(menu)[0].startswith("All 2:")


async def test_a_single_song_with_a_media_group_gets_the_usual_menu(
    room: BotRoom, albums: AlbumChats, alice: User, songs: list[Path]
) -> None:
    menu = await menu_of(room, albums, alice, songs[:1])
    assert menu.text == "🎵 “One”\nHow do you want it split?"


async def test_a_menu_that_was_not_sent_is_sent_by_the_next_run(
    room: BotRoom, albums: AlbumChats, alice: User, songs: list[Path]
) -> None:
    await send(room, alice, songs)
    first, *_ = await room.product.taken(Queue.UPDATES, Task.ALBUM)
    room.product.clock.advance(1)
    room.telegram.faults.add(FaultKind.SERVER_ERROR, method="sendMessage")
    with pytest.raises(TryLater):
        await albums.run(first)
    await albums.run(first)
    await albums.run(first)
    assert len(room.telegram.bot_messages(alice.id)) == 1
    assert len(await jobs_of(room, alice)) == 3


async def test_stems_on_one_song_of_a_groups_album_takes_all_of_it(
    room: BotRoom, albums: AlbumChats, alice: User, bob: User, songs: list[Path]
) -> None:
    group = room.telegram.add_group("Band", [alice, bob])
    sent = await send(room, alice, songs, chat_id=group.id)
    await gather(room, albums)
    assert room.telegram.bot_messages(group.id) == []
    asked = await room.says(bob, "/stems", chat_id=group.id, reply_to=sent[1].message_id)
    assert asked == []
    await gather(room, albums)
    (menu,) = room.telegram.bot_messages(group.id)
    assert labels(menu)[0] == "All 3: Vocals + instrumental · 30 credits"
    assert (await room.taps(menu, ALL_VOCALS, alice)).answer_text
    await room.taps(menu, ALL_VOCALS, bob)
    assert [job.state for job in await jobs_of(room, bob)] == [JobState.SUBMITTING] * 3
    # another member's request for one of them is for that song alone
    (own,) = await room.says(alice, "/stems", chat_id=group.id, reply_to=sent[1].message_id)
    assert len(own.buttons) == 4


async def test_a_caption_in_a_group_asks_for_songs_that_came_before_and_after_it(
    room: BotRoom, albums: AlbumChats, alice: User, songs: list[Path]
) -> None:
    group: Chat = room.telegram.add_group("Band", [alice])
    await send(room, alice, songs[:1], chat_id=group.id)
    await send(room, alice, songs[1:2], chat_id=group.id, caption="/stems")
    await send(room, alice, songs[2:], chat_id=group.id)
    await gather(room, albums)
    (menu,) = room.telegram.bot_messages(group.id)
    assert labels(menu)[0].startswith("All 3:")


async def test_the_album_of_an_anonymous_admin_belongs_to_the_member_who_taps_first(
    room: BotRoom, albums: AlbumChats, alice: User, bob: User, songs: list[Path]
) -> None:
    group = room.telegram.add_group("Band", [alice, bob])
    await send_anonymously(room, group, alice, songs[:2])
    await gather(room, albums)
    (menu,) = room.telegram.bot_messages(group.id)
    await room.presses(menu, "One instrument", bob)
    await room.presses(menu, "↩️ Back", bob)
    await send_anonymously(room, group, alice, songs[2:])
    await gather(room, albums)
    shown = (menu.text, menu.buttons)
    assert labels(menu)[0].startswith("All 3:")
    for label in ("One by one", "Cancel", "Vocals + instrumental", "One instrument"):
        query = await room.presses(menu, label, alice)
        assert query.answer_text == "Only the person who asked for it can choose."
        assert (menu.text, menu.buttons) == shown
        assert [job.state for job in await jobs_of(room, bob)] == [JobState.CHOOSING] * 3
    (answer,) = await room.says(bob, "/cancel", chat_id=group.id)
    assert (answer.text, menu.text) == ("Cancelled 3 songs.",) * 2


async def test_a_channels_album_and_its_copy_in_the_discussion_group_ask_once(
    room: BotRoom, albums: AlbumChats, alice: User, songs: list[Path]
) -> None:
    channel, group = room.telegram.add_channel("Label", alice), room.telegram.add_group("Band", [alice])
    await room.product.group_settings.set_answers_all(group.id, True)
    posts = await send(room, alice, songs, chat_id=channel.id, caption="/stems")
    for number, post in enumerate(posts):
        origin = {"type": "channel", "date": post.date, "chat": channel.to_dict()}
        origin |= {"message_id": post.message_id}
        copied = post.to_dict() | {"chat": group.to_dict(), "message_id": 900 + number}
        copied |= {"forward_origin": origin, "media_group_id": "78", "is_automatic_forward": True}
        room.telegram.updates.add("message", copied)
    await room.handle()
    await gather(room, albums)
    (menu,) = room.telegram.bot_messages(channel.id)
    assert labels(menu)[0].startswith("All 3:")
    assert room.telegram.bot_messages(group.id) == []


async def test_deletion_forgets_albums(
    room: BotRoom, albums: AlbumChats, alice: User, songs: list[Path]
) -> None:
    menu = await menu_of(room, albums, alice, songs)
    data = menu.buttons[ALL_VOCALS]["callback_data"]
    (asked,) = await room.says(alice, "/delete")
    await room.taps(asked, 0)
    assert [key async for key in room.product.redis.scan_iter("stemdrop:a*album*")] == []
    assert (menu.text, menu.buttons) == ("Deleted: 3 songs.", [])
    assert room.after(asked) == []
    assert "no longer works" in (await room.forges(menu, data, alice)).answer_text


async def test_deletion_goes_on_when_an_albums_menu_cannot_be_edited(
    room: BotRoom, albums: AlbumChats, alice: User, songs: list[Path]
) -> None:
    menu = await menu_of(room, albums, alice, songs)
    (asked,) = await room.says(alice, "/delete")
    fault = room.telegram.faults.add(FaultKind.BLOCKED, method="editMessageText")
    await room.taps(asked, 0)
    assert fault.hits == 1
    assert menu.buttons
    assert asked.text.startswith("Deleted: 3 songs.")
    assert await jobs_of(room, alice) == []


@pytest.mark.parametrize("is_edited", [True, False])
async def test_deletion_leaves_a_menu_for_each_song_that_another_user_has_asked_for(
    room: BotRoom, albums: AlbumChats, alice: User, bob: User, songs: list[Path], *, is_edited: bool
) -> None:
    group = room.telegram.add_group("Band", [alice, bob])
    sent = await send(room, alice, songs, chat_id=group.id)
    await room.says(bob, "/stems", chat_id=group.id, reply_to=sent[1].message_id)
    await gather(room, albums)
    (menu,) = room.telegram.bot_messages(group.id)
    (asked,) = await room.says(alice, "/delete")
    if not is_edited:
        room.telegram.faults.add(FaultKind.BLOCKED, method="editMessageText")
    await room.taps(asked, 0)
    if is_edited:
        assert (menu.text, menu.buttons) == ("🎵 One by one:", [])
    own = room.after(menu)
    assert [message.reply_to for message in own] == sent
    await room.taps(own[0], 0, bob)
    assert [job.state for job in await jobs_of(room, bob)] == [
        JobState.SUBMITTING,
        JobState.CHOOSING,
        JobState.CHOOSING,
    ]


async def test_deletion_while_the_songs_are_checked_leaves_no_job(
    room: BotRoom, alice: User, tmp_path: Path
) -> None:
    downloads: list[httpx.Request] = []

    async def delete(request: httpx.Request) -> None:
        downloads.append(request)
        (asked,) = await room.says(alice, "/delete")
        await room.taps(asked, 0)

    async with httpx.AsyncClient(event_hooks={"request": [delete]}) as client:
        albums = build_albums(room.product.changed(files=TelegramFiles(room.product.bot, client)))
        takes = [record(tmp_path / f"Secret {name}.wav", seconds=1) for name in ("One", "Two")]
        await send(room, alice, takes)
        await gather(room, albums)
    assert len(downloads) == 1
    assert await find_keys(room.product.settings.redis_url, "Secret") == []
    assert len(room.telegram.bot_messages(alice.id)) == 1  # the answer to `/delete`


async def test_what_the_days_credits_do_not_suffice_for_is_offered_in_part(
    redis_url: str, telegram: Telegram, alice: User, songs: list[Path]
) -> None:
    async with (
        run_telegram(telegram) as url,
        open_product(redis_url, telegram, url, DAILY_CREDITS="25") as product,
    ):
        application = product.application()
        await application.initialize()
        room = BotRoom(product, application)
        albums = build_albums(product)
        menu = await menu_of(room, albums, alice, songs)
        await room.taps(menu, ALL_VOCALS)
        assert {job.state for job in await jobs_of(room, alice)} == {JobState.CHOOSING}
        assert "30 credits, more than you have left today. It is enough for 2." in menu.text
        assert labels(menu)[0] == "Only the first 2: Vocals + instrumental · 20 credits"
        query = await room.taps(menu, 0)
        await room.again(query)
        states = [job.state for job in await jobs_of(room, alice)]
        assert states == [JobState.SUBMITTING, JobState.SUBMITTING, JobState.CHOOSING]
        await application.shutdown()
