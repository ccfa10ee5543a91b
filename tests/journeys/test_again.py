"""A song that was split before is free for every user until Telegram loses its stems."""

import asyncio

import pytest
from deployment import Deployment

pytestmark = pytest.mark.asyncio(loop_scope="module")

VOCALS, ALL_STEMS = 0, 1


async def test_a_song_that_was_split_before_comes_at_once_and_says_so(deployment: Deployment) -> None:
    song = deployment.song("Everybody's")
    alice, bai = deployment.person("Alice"), deployment.person("白", language="zh-hans")
    _, menu = await alice.asks(song, VOCALS)
    menu = await alice.shows(menu, "✅")
    sent, menu_bai = await bai.asks(song)
    assert "免费" in menu_bai.buttons[VOCALS]["text"]
    assert "免费" not in menu_bai.buttons[ALL_STEMS]["text"]
    await bai.taps(menu_bai, VOCALS)
    menu_bai = await bai.shows(menu_bai, "✅")
    assert "免费" in menu_bai.text or "没有花费" in menu_bai.text or "不花" in menu_bai.text
    assert [audio.media["file_id"] for audio in bai.audios() if audio.media] == [
        audio.media["file_id"] for audio in alice.audios() if audio.media
    ]
    assert all(audio.reply_to is sent for audio in bai.audios())
    assert [audio.text for audio in bai.audios()] == ["Everybody's (人声)", "Everybody's (伴奏)"]
    assert len(deployment.provider.creates) == 1
    assert len(deployment.provider.stems_served) == 2


async def test_a_song_whose_stems_telegram_lost_is_fetched_again_after_asking(deployment: Deployment) -> None:
    deployment.ordinary = ("wrong file identifier",)
    song = deployment.song("Forgotten")
    alice, bob = deployment.person("Alice"), deployment.person("Bob")
    _, menu = await alice.asks(song, VOCALS)
    menu = await alice.shows(menu, "✅")
    for audio in alice.audios():
        assert audio.media
        deployment.telegram.forget_file(audio.media["file_id"])
    _, menu = await bob.asks(song, VOCALS)
    await bob.shows(menu, "“Forgotten” was split this way before, but Telegram no longer has")
    assert len(deployment.provider.creates) == 1
    assert [button["text"] for button in menu.buttons] == [
        "Vocals + instrumental · free",
        "✖️ Cancel",
    ]
    await asyncio.gather(*(bob.taps(menu, 0) for _ in range(2)))
    menu = await bob.shows(menu, "✅ “Forgotten”: 2 stems are here.")
    assert len(deployment.provider.creates) == 1
    carol = deployment.person("Carol")
    _, menu = await carol.asks(song, VOCALS)
    menu = await carol.shows(menu, "✅")
    assert len(deployment.provider.creates) == 1


async def test_a_remix_of_the_same_split_is_made_once_and_costs_nothing(deployment: Deployment) -> None:
    song = deployment.song("Mixed")
    alice, bai = deployment.person("Alice"), deployment.person("白", language="zh-hans")
    for person, remix, preset in ((alice, "Remix", "Quiet vocals"), (bai, "重新混音", "人声调低")):
        _, menu = await person.asks(song, VOCALS)
        menu = await person.shows(menu, "✅")
        stems = len(person.audios())
        await person.presses(menu, remix)
        desk = await person.answer_to(menu)
        await person.presses_twice(desk, preset)
        await person.sees(lambda person=person, stems=stems: len(person.audios()) > stems)
    made, again = alice.audios()[-1], bai.audios()[-1]
    assert made.media
    assert again.media
    assert made.media["title"] == "Mixed (quiet vocals)"
    assert again.media["file_id"] == made.media["file_id"]
    assert again.text == "Mixed (人声调低)"
    assert made.reply_to
    assert len(deployment.provider.creates) == 1
