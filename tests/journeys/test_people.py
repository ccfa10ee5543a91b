"""Deleted messages, repeated songs, cancellations, and files that cannot be split."""

import asyncio
from io import BytesIO
from pathlib import Path

import pytest
from deployment import Deployment
from kinds import silence

from sandbox.telegram.faults import FaultKind

pytestmark = pytest.mark.asyncio(loop_scope="module")

VOCALS, CANCEL = 0, 3
# in groups a song is taken up when its caption says so
ASK = "/stems"


async def test_stems_come_although_the_song_and_the_bots_message_were_deleted(deployment: Deployment) -> None:
    deployment.provider.answers_by_itself = False
    deployment.ordinary = ("message to edit not found",)
    alice = deployment.person()
    alice.chat_id = deployment.telegram.add_group("Tidy", [deployment.telegram.user(alice.id)], forum=True).id
    topic = deployment.telegram.add_topic(alice.chat_id, "Stems")
    sent = await alice.sends(deployment.song("Deleted"), thread_id=topic, caption=ASK)
    menu = await alice.answer_to(sent)
    await alice.taps(menu, VOCALS)
    await deployment.separating()
    await deployment.tasks_rest()
    deployment.telegram.delete_message(alice.chat_id, sent.message_id)
    deployment.telegram.delete_message(alice.chat_id, menu.message_id)
    assert (await deployment.provider.call_back()).status_code == 200
    await alice.sees(lambda: [shown.text[:1] for shown in deployment.texts(alice)] == ["✅"])
    assert alice.titles() == ["Deleted (Vocals)", "Deleted (Instrumental)"]
    assert all(audio.reply_to is None for audio in alice.audios())
    assert {message.thread_id for message in alice.after(sent)} == {topic}


async def test_the_same_song_three_times_at_once_is_three_songs(deployment: Deployment) -> None:
    alice = deployment.person()
    song = deployment.song("Trinity")
    sent = await asyncio.gather(*(alice.sends(song) for _ in range(3)))
    await alice.sees(lambda: len(deployment.texts(alice)) == 3)
    menus = deployment.texts(alice)
    assert {menu.reply_to.message_id for menu in menus} == {message.message_id for message in sent}
    await alice.taps(menus[0], VOCALS)
    await alice.taps(menus[1], CANCEL)
    menus[0] = await alice.shows(menus[0], "✅")
    await alice.shows(menus[1], "✖️")
    assert len(alice.audios()) == 2
    assert menus[2].text.startswith("🎵 “")


async def test_an_album_is_picked_by_one_tap(deployment: Deployment) -> None:
    alice = deployment.person()
    sent = [await alice.sends(deployment.song(name), media_group_id="9") for name in ("Side A", "Side B")]
    await alice.sees(lambda: deployment.texts(alice))
    (menu,) = deployment.texts(alice)
    assert menu.text.startswith("🎵 2 songs.")
    await alice.taps(menu, VOCALS)
    await alice.sees(lambda: [shown.text[:1] for shown in deployment.texts(alice)] == ["🎵", "✅", "✅"])
    assert sorted(alice.titles()) == [
        *("Side A (Instrumental)", "Side A (Vocals)", "Side B (Instrumental)", "Side B (Vocals)")
    ]
    assert {shown.reply_to.message_id for shown in alice.after(menu) if shown.reply_to} == {
        message.message_id for message in sent
    }


async def test_a_cancelled_jobs_late_stems_are_kept_for_the_next_time(deployment: Deployment) -> None:
    deployment.provider.answers_by_itself = False
    alice = deployment.person()
    song = deployment.song("Never Mind")
    _, menu = await alice.asks(song, VOCALS)
    await deployment.separating()
    said = deployment.telegram.send_text(alice.id, "/cancel")
    answer = await alice.answer_to(said)
    assert answer.text == "Cancelled 1 song."
    await alice.shows(menu, "✖️ Cancelled: “Never Mind”. It had already been submitted")
    assert (await deployment.provider.call_back()).status_code == 200
    said = deployment.telegram.send_text(alice.id, "/cancel")
    assert (await alice.answer_to(said)).text == "There is nothing to cancel."
    assert alice.titles() == []
    bob = deployment.person("Bob")
    _, again = await bob.asks(song, VOCALS)
    await bob.shows(again, "✅")
    await alice.presses(menu, "Continue")
    await alice.shows(menu, "✅")
    assert alice.titles() == ["Never Mind (Vocals)", "Never Mind (Instrumental)"]
    assert len(deployment.provider.creates) == 1


async def test_a_file_over_20_mb_is_refused_before_anything_is_made_of_it(
    deployment: Deployment, tmp_path: Path
) -> None:
    alice = deployment.person()
    answer = await alice.answer_to(await alice.sends(silence(tmp_path / "long.wav", 25_000_000)))
    assert answer.text.startswith("This file is too big: 23.8 MB. I can take at most 20 MB")
    assert answer.buttons == []
    assert deployment.provider.creates == []


async def test_a_file_without_audio_is_refused_at_once(deployment: Deployment) -> None:
    alice = deployment.person()
    content = BytesIO(b"This is no song at all.\n" * 100)
    sent = await deployment.telegram.send_file(alice.id, content, file_name="song.mp3")
    answer = await alice.answer_to(sent)
    assert answer.text.startswith("I can't find any sound in this file.")
    assert answer.reply_to is sent
    assert answer.buttons == []
    assert deployment.provider.creates == []


async def test_telegram_may_refuse_every_method_once(deployment: Deployment) -> None:
    deployment.ordinary = ("query is too old",)
    methods = ("sendMessage", "answerCallbackQuery", "editMessageText", "sendMediaGroup")
    faults = [
        deployment.telegram.faults.add(FaultKind.TOO_MANY_REQUESTS, method=method) for method in methods
    ]
    alice = deployment.person()
    _, menu = await alice.asks(deployment.song("Bad Day"), VOCALS)
    menu = await alice.shows(menu, "✅")
    assert len(alice.audios()) == 2
    assert len(deployment.provider.creates) == 1
    assert [fault.hits for fault in faults] == [1, 1, 1, 1]
