"""Deleted messages, repeated songs, cancellations, and files that cannot be split."""

import asyncio
from io import BytesIO
from pathlib import Path

import pytest
from kinds import silence
from stage import Stage

from sandbox.telegram.faults import FaultKind

pytestmark = pytest.mark.asyncio(loop_scope="module")

VOCALS, CANCEL = 0, 3
# in groups a song is taken up when its caption says so
ASK = "/stems"


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
    await alice.sees(lambda: [shown.text[:1] for shown in stage.texts(alice)] == ["✅"])
    assert alice.titles() == ["Deleted (Vocals)", "Deleted (Instrumental)"]
    assert all(audio.reply_to is None for audio in alice.audios())
    assert {message.thread_id for message in alice.after(sent)} == {topic}


async def test_the_same_song_three_times_at_once_is_three_songs(stage: Stage) -> None:
    alice = stage.person()
    song = stage.song("Trinity")
    sent = await asyncio.gather(*(alice.sends(song) for _ in range(3)))
    await alice.sees(lambda: len(stage.texts(alice)) == 3)
    menus = stage.texts(alice)
    assert {menu.reply_to.message_id for menu in menus} == {message.message_id for message in sent}
    await alice.taps(menus[0], VOCALS)
    await alice.taps(menus[1], CANCEL)
    menus[0] = await alice.shows(menus[0], "✅")
    await alice.shows(menus[1], "✖️")
    assert len(alice.audios()) == 2
    assert menus[2].text.startswith("🎵 “")


async def test_an_album_is_picked_by_one_tap(stage: Stage) -> None:
    alice = stage.person()
    sent = [await alice.sends(stage.song(name), media_group_id="9") for name in ("Side A", "Side B")]
    await alice.sees(lambda: stage.texts(alice))
    (menu,) = stage.texts(alice)
    assert menu.text.startswith("🎵 2 songs.")
    await alice.taps(menu, VOCALS)
    await alice.sees(lambda: [shown.text[:1] for shown in stage.texts(alice)] == ["🎵", "✅", "✅"])
    assert sorted(alice.titles()) == [
        *("Side A (Instrumental)", "Side A (Vocals)", "Side B (Instrumental)", "Side B (Vocals)")
    ]
    assert {shown.reply_to.message_id for shown in alice.after(menu) if shown.reply_to} == {
        message.message_id for message in sent
    }


async def test_a_cancelled_jobs_late_stems_are_kept_for_the_next_time(stage: Stage) -> None:
    stage.provider.answers_by_itself = False
    alice = stage.person()
    song = stage.song("Never Mind")
    _, menu = await alice.asks(song, VOCALS)
    await alice.shows(menu, "⏳")
    said = stage.telegram.send_text(alice.id, "/cancel")
    answer = await alice.answer_to(said)
    assert answer.text == "Cancelled 1 song."
    await alice.shows(menu, "✖️ Cancelled: “Never Mind”. It had already been submitted")
    assert (await stage.provider.call_back()).status_code == 200
    said = stage.telegram.send_text(alice.id, "/cancel")
    assert (await alice.answer_to(said)).text == "There is nothing to cancel."
    assert alice.titles() == []
    bob = stage.person("Bob")
    _, again = await bob.asks(song, VOCALS)
    await bob.shows(again, "✅")
    await alice.presses(menu, "Continue")
    await alice.shows(menu, "✅")
    assert alice.titles() == ["Never Mind (Vocals)", "Never Mind (Instrumental)"]
    assert len(stage.provider.creates) == 1


async def test_a_file_over_20_mb_is_refused_before_anything_is_made_of_it(
    stage: Stage, tmp_path: Path
) -> None:
    alice = stage.person()
    answer = await alice.answer_to(await alice.sends(silence(tmp_path / "long.wav", 25_000_000)))
    assert answer.text.startswith("This file is too big: 23.8 MB. I can take at most 20 MB")
    assert answer.buttons == []
    assert stage.provider.creates == []


async def test_a_file_without_audio_is_refused_at_once(stage: Stage) -> None:
    alice = stage.person()
    content = BytesIO(b"This is no song at all.\n" * 100)
    sent = await stage.telegram.send_file(alice.id, content, file_name="song.mp3")
    answer = await alice.answer_to(sent)
    assert answer.text.startswith("I can't find any sound in this file.")
    assert answer.reply_to is sent
    assert answer.buttons == []
    assert stage.provider.creates == []


async def test_telegram_may_refuse_every_method_once(stage: Stage) -> None:
    stage.ordinary = ("query is too old",)
    methods = ("sendMessage", "answerCallbackQuery", "editMessageText", "sendMediaGroup")
    faults = [stage.telegram.faults.add(FaultKind.TOO_MANY_REQUESTS, method=method) for method in methods]
    alice = stage.person()
    _, menu = await alice.asks(stage.song("Bad Day"), VOCALS)
    menu = await alice.shows(menu, "✅")
    assert len(alice.audios()) == 2
    assert len(stage.provider.creates) == 1
    assert [fault.hits for fault in faults] == [1, 1, 1, 1]
