"""A song's whole way, with the product as one process against servers that speak the two contracts."""

from pathlib import Path

import pytest
from chat import Person
from provider import Provider
from sandbox.world import World


async def test_vocals_and_instrumental_come_as_one_album_in_reply(
    world: World, provider: Provider, song: Path
) -> None:
    await world.start("up")
    alice = Person(world.telegram)
    sent = await world.telegram.send_file(alice.id, song)
    menu = await alice.answer_to(sent)
    assert menu.reply_to is sent
    assert [button["text"] for button in menu.buttons] == [
        "🎤 Vocals + instrumental · 10 credits",
        "🎛 All stems · 50 credits",
        "🎸 One instrument… · 20 credits",
        "✖️ Cancel",
    ]
    await alice.taps(menu, 0)
    await alice.shows(menu, "✅")
    assert alice.titles() == ["Morning Line (Vocals)", "Morning Line (Instrumental)"]
    for audio in alice.audios():
        assert audio.reply_to is sent
        assert audio.media_group_id == alice.audios()[0].media_group_id
        assert audio.media
        assert audio.media["duration"] == 30
        assert world.telegram.file_location(audio.media["file_id"]).read_bytes() == provider.stem
    assert provider.sources == [song.read_bytes()]
    assert [create["type"] for create in provider.creates] == ["separate_vocal"]
    assert world.telegram.flood_refusals == 0


@pytest.mark.parametrize("code", [400, 408, 413, 451, 500, 501, 531, 599])
async def test_a_failure_is_one_message_with_its_code(
    world: World, provider: Provider, song: Path, code: int
) -> None:
    provider.failure = code
    await world.start("up")
    alice = Person(world.telegram)
    sent = await world.telegram.send_file(alice.id, song)
    menu = await alice.answer_to(sent)
    await alice.taps(menu, 0)
    await alice.shows(menu, "⚠️")
    assert f"code {code}" in menu.text
    assert alice.after(sent) == [menu]
