"""What people do: groups and topics, impatience, second thoughts, songs without a name."""

import asyncio
from io import BytesIO
from pathlib import Path

import pytest
from chat import Person
from kinds import silence
from stage import Stage

from sandbox.telegram.faults import FaultKind

pytestmark = pytest.mark.asyncio(loop_scope="module")

VOCALS, ALL_STEMS, ONE_INSTRUMENT, CANCEL = 0, 1, 2, 3
# in groups a song is taken up when its caption says so
ASK = "/stems"


async def test_answers_and_stems_stay_in_their_topic_and_general_in_general(stage: Stage) -> None:
    alice = stage.person()
    forum = stage.telegram.add_group("Band", [stage.telegram.user(alice.id)], forum=True)
    alice.chat_id = forum.id
    topic = stage.telegram.add_topic(forum.id, "Stems please")
    sent = await alice.sends(stage.song("In The Topic"), thread_id=topic, caption=ASK)
    menu = await alice.answer_to(sent)
    await alice.taps(menu, VOCALS)
    await alice.shows(menu, "✅")
    assert {message.thread_id for message in alice.after(sent)} == {topic}
    assert all(audio.reply_to is sent for audio in alice.audios())

    bob = stage.person("Bob")
    forum = stage.telegram.add_group("Choir", [stage.telegram.user(bob.id)], forum=True)
    bob.chat_id = forum.id
    stage.telegram.add_topic(forum.id, "Another one")
    sent = await bob.sends(stage.song("In General"), caption=ASK)
    menu = await bob.answer_to(sent)
    await bob.taps(menu, VOCALS)
    await bob.shows(menu, "✅")
    assert len(bob.audios()) == 2
    assert {message.thread_id for message in bob.after(sent)} == {None}


async def test_in_a_group_only_the_sender_chooses_and_talk_is_left_alone(stage: Stage) -> None:
    alice, bob = stage.person("Alice"), stage.person("Bob")
    members = [stage.telegram.user(person.id) for person in (alice, bob)]
    group = stage.telegram.add_group("Band", members)
    alice.chat_id = bob.chat_id = group.id
    stage.telegram.send_text(group.id, "who has the new song?", user_id=bob.id)
    sent, menu = await alice.asks(stage.song("Ours"), caption=ASK)
    assert stage.telegram.bot_messages(group.id) == [menu]
    query = await bob.taps(menu, VOCALS)
    assert query.answer_text == "Only the person who asked for it can choose."
    assert stage.provider.creates == []
    await alice.taps(menu, VOCALS)
    await alice.shows(menu, "✅")
    assert all(audio.reply_to is sent for audio in alice.audios())


async def test_stems_follow_a_group_that_became_a_supergroup(stage: Stage) -> None:
    stage.provider.answers_by_itself = False
    stage.ordinary = ("upgraded to a supergroup",)
    alice = stage.person()
    group = stage.telegram.add_group("Growing", [stage.telegram.user(alice.id)])
    alice.chat_id = group.id
    _, menu = await alice.asks(stage.song("Growth"), VOCALS, caption=ASK)
    await alice.shows(menu, "⏳")
    await stage.tasks_rest()
    alice.chat_id = stage.telegram.migrate_group(group.id).id
    assert (await stage.provider.call_back()).status_code == 200
    await alice.sees(lambda: any(shown.text.startswith("✅") for shown in told(alice)))
    assert alice.titles() == ["Growth (Vocals)", "Growth (Instrumental)"]
    assert len(told(alice)) == 1
    assert (await stage.provider.call_back()).status_code == 200


def told(person: Person) -> list:  # type: ignore[type-arg]
    """The bot's messages of text in the person's chat."""
    return [shown for shown in person.telegram.bot_messages(person.chat_id) if shown.kind == "text"]


async def test_a_user_who_blocks_the_bot_amid_a_job_ends_it_quietly(stage: Stage) -> None:
    stage.provider.answers_by_itself = False
    stage.ordinary = ("bot was blocked by the user",)
    alice = stage.person()
    _, menu = await alice.asks(stage.song("Blocked"), VOCALS)
    await alice.shows(menu, "⏳")
    stage.telegram.block_bot(alice.id)
    assert (await stage.provider.call_back()).status_code == 200
    await stage.jobs_rest()
    assert (await stage.provider.call_back()).status_code == 200
    await stage.jobs_rest()
    stage.telegram.unblock_bot(alice.id)
    stage.provider.answers_by_itself = True
    _, menu = await alice.asks(stage.song("Reconciled"), VOCALS)
    await alice.shows(menu, "✅")
    assert alice.titles() == ["Reconciled (Vocals)", "Reconciled (Instrumental)"]


async def test_stems_come_although_the_song_and_the_bots_message_were_deleted(stage: Stage) -> None:
    stage.provider.answers_by_itself = False
    stage.ordinary = ("message to edit not found",)
    alice = stage.person()
    alice.chat_id = stage.telegram.add_group("Tidy", [stage.telegram.user(alice.id)], forum=True).id
    topic = stage.telegram.add_topic(alice.chat_id, "Stems")
    sent = await alice.sends(stage.song("Deleted"), thread_id=topic, caption=ASK)
    menu = await alice.answer_to(sent)
    await alice.taps(menu, VOCALS)
    await alice.shows(menu, "⏳")
    await stage.tasks_rest()
    stage.telegram.delete_message(alice.chat_id, sent.message_id)
    stage.telegram.delete_message(alice.chat_id, menu.message_id)
    assert (await stage.provider.call_back()).status_code == 200
    await alice.sees(lambda: any(shown.text.startswith("✅") for shown in told(alice)))
    assert alice.titles() == ["Deleted (Vocals)", "Deleted (Instrumental)"]
    assert len(told(alice)) == 1
    assert all(audio.reply_to is None for audio in alice.audios())
    assert {message.thread_id for message in alice.after(sent)} == {topic}


async def five_times(person: Person, menu: object, number: int) -> None:
    """Press the n-th button five times before anything can happen."""
    await asyncio.gather(*(person.taps(menu, number) for _ in range(5)))  # type: ignore[arg-type]


async def test_every_button_may_be_tapped_five_times_at_once(stage: Stage) -> None:
    alice, bob, carol, dave = (stage.person(name) for name in ("Alice", "Bob", "Carol", "Dave"))

    async def opens_the_list() -> None:
        _, menu = await alice.asks(stage.song("Undecided"))
        await five_times(alice, menu, ONE_INSTRUMENT)
        await alice.shows(menu, "🎵 “Undecided”\nWhich instrument")

    async def picks() -> None:
        _, menu = await bob.asks(stage.song("Impatience"), ONE_INSTRUMENT)
        await five_times(bob, menu, [button["text"] for button in menu.buttons].index("Piano"))
        await bob.shows(menu, "✅")
        assert bob.titles() == ["Impatience (Piano)", "Impatience (Without Piano)"]

    async def cancels() -> None:
        _, menu = await carol.asks(stage.song("Change Of Mind"))
        await five_times(carol, menu, CANCEL)
        await carol.shows(menu, "✖️ Cancelled: “Change Of Mind”.")

    await asyncio.gather(opens_the_list(), picks(), cancels())
    assert len(stage.provider.creates) == 1
    stage.provider.failure = 500
    _, menu = await dave.asks(stage.song("Again And Again"), VOCALS)
    await dave.shows(menu, "⚠️")
    stage.provider.failure = None
    await five_times(dave, menu, 0)
    await dave.shows(menu, "✅")
    assert len(dave.audios()) == 2
    assert len(stage.provider.creates) == 3
    assert [len(told(person)) for person in (alice, bob, carol, dave)] == [1, 1, 1, 1]


async def test_the_same_song_three_times_at_once_is_three_songs(stage: Stage) -> None:
    alice = stage.person()
    song = stage.song("Trinity")
    sent = await asyncio.gather(*(alice.sends(song) for _ in range(3)))
    await alice.sees(lambda: len(told(alice)) == 3)
    menus = told(alice)
    assert {menu.reply_to.message_id for menu in menus} == {message.message_id for message in sent}
    await alice.taps(menus[0], VOCALS)
    await alice.taps(menus[1], CANCEL)
    await alice.shows(menus[0], "✅")
    await alice.shows(menus[1], "✖️")
    assert len(alice.audios()) == 2
    assert menus[2].text.startswith("🎵 “")


async def test_a_cancelled_jobs_late_stems_are_dropped(stage: Stage) -> None:
    stage.provider.answers_by_itself = False
    alice = stage.person()
    _, menu = await alice.asks(stage.song("Never Mind"), VOCALS)
    await alice.shows(menu, "⏳")
    said = stage.telegram.send_text(alice.id, "/cancel")
    answer = await alice.answer_to(said)
    assert answer.text == "Cancelled 1 song."
    await alice.shows(menu, "✖️ Cancelled: “Never Mind”. It had already been submitted")
    assert (await stage.provider.call_back()).status_code == 200
    said = stage.telegram.send_text(alice.id, "/cancel")
    assert (await alice.answer_to(said)).text == "There is nothing to cancel."
    stage.provider.answers_by_itself = True
    _, menu = await alice.asks(stage.song("Do Mind"), VOCALS)
    await alice.shows(menu, "✅")
    assert alice.titles() == ["Do Mind (Vocals)", "Do Mind (Instrumental)"]


async def test_a_file_over_20_mb_is_refused_before_anything_is_made_of_it(
    stage: Stage, tmp_path: Path
) -> None:
    alice = stage.person()
    answer = await alice.answer_to(await alice.sends(silence(tmp_path / "long.wav", 25_000_000)))
    assert answer.text.startswith("This file is too big: 23.8 MB. I can take at most 20 MB")
    assert answer.buttons == []
    assert stage.provider.creates == []


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"This is no song at all.\n" * 100, "I can't find any sound in this file."),
        (b"", "This file is empty. Please send it again."),
    ],
)
async def test_what_only_looks_like_a_song_is_told_at_once(stage: Stage, content: bytes, told: str) -> None:
    alice = stage.person()
    sent = await stage.telegram.send_file(alice.id, BytesIO(content), file_name="song.mp3")
    answer = await alice.answer_to(sent)
    assert answer.text.startswith(told)
    assert answer.reply_to is sent
    assert answer.buttons == []
    assert stage.provider.creates == []


@pytest.mark.parametrize("kind", [FaultKind.BAD_GATEWAY, FaultKind.TOO_MANY_REQUESTS])
async def test_telegram_may_fail_at_every_step_once(stage: Stage, kind: FaultKind) -> None:
    stage.ordinary = ("query is too old", "Can not load invalid JSON data")
    methods = ("sendMessage", "answerCallbackQuery", "editMessageText", "sendMediaGroup")
    faults = [stage.telegram.faults.add(kind, method=method) for method in methods]
    alice = stage.person()
    _, menu = await alice.asks(stage.song(f"Bad Day {kind}"), VOCALS)
    await alice.shows(menu, "✅")
    assert len(alice.audios()) == 2
    assert len(stage.provider.creates) == 1
    assert [fault.hits for fault in faults] == [1, 1, 1, 1]
