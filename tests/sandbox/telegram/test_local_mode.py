"""Local mode: files are passed by path, and can be larger."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import telegram as ptb

from sandbox.telegram.chats import User
from sandbox.telegram.person_actions import Telegram

pytestmark = pytest.mark.parametrize("is_local", [True])
NewBot = Callable[..., Awaitable[ptb.Bot]]


async def test_files_are_sent_and_fetched_by_path(
    new_bot: NewBot, tg: Telegram, alice: User, make_audio: Callable[..., Path]
) -> None:
    bot = await new_bot(local=True)
    path = make_audio("a song é.mp3")
    sent = await bot.send_audio(alice.id, path)
    assert tg.calls[-1].parameters["audio"].startswith("file://")
    assert sent.audio is not None
    assert sent.audio.file_name == "a song é.mp3"
    file = await bot.get_file(sent.audio.file_id)
    assert file.file_path is not None
    assert file.file_path.startswith("/")
    assert file.file_path.endswith(".mp3")
    assert bytes(await file.download_as_bytearray()) == path.read_bytes()


async def test_a_file_above_20_mb_can_be_fetched(
    new_bot: NewBot, tg: Telegram, alice: User, tmp_path: Path
) -> None:
    path = tmp_path / "big.wav"
    with path.open("wb") as file:
        file.truncate(21 * 1024 * 1024)
    message = await tg.send_file(alice.id, path)
    assert message.media is not None
    bot = await new_bot(local=True)
    assert (await bot.get_file(message.media["file_id"])).file_size == 21 * 1024 * 1024


@pytest.mark.parametrize(
    "path", ["file:///nowhere/song.mp3", "file:///", "file://[", "file:///a%00b", f"file:///{'x' * 5000}"]
)
async def test_a_missing_path_is_refused(new_bot: NewBot, alice: User, path: str) -> None:
    bot = await new_bot(local=True)
    with pytest.raises(ptb.error.BadRequest, match="no local file"):
        await bot.send_document(alice.id, path)
