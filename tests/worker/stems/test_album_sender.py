"""How stems are put into albums, and sent when Telegram does not want them so."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from builders import make_job
from telegram import Audio, Chat, Document, Message
from telegram.error import BadRequest, NetworkError, TelegramError, TimedOut
from telegram.ext import ExtBot

from stemdrop.domain.outcomes import Sent
from worker.stems.album_sender import MAX_ALBUM, PATIENCE_S, AlbumSender, StemFile, album_sizes


@pytest.mark.parametrize("count", range(1, 31))
def test_albums_take_what_telegram_takes(count: int) -> None:
    sizes = album_sizes(count)
    assert sum(sizes) == count
    assert max(sizes) <= MAX_ALBUM
    assert min(sizes) >= 2 or count == 1
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) == -(-count // MAX_ALBUM)


def test_albums_of_the_usual_results() -> None:
    assert [album_sizes(count) for count in (1, 2, 10, 11, 12, 21)] == [
        [1],
        [2],
        [10],
        [6, 5],
        [6, 6],
        [7, 7, 7],
    ]


TOO_LARGE = NetworkError("Request Entity Too Large")
COVER = b"\xff\xd8 a picture"


class Scripted:
    """A bot whose calls are answered from `script`, one entry each; when it is at its end, all goes well.

    `calls` tells each as (what was sent, by which names, with a cover).
    """

    def __init__(self, *script: TelegramError | None) -> None:
        self.script = list(script)
        self.calls: list[tuple[str, tuple[str, ...], bool]] = []
        self.patience: set[float] = set()

    async def send_media_group(self, _: int, media: Sequence[Any], **how: Any) -> list[Message]:
        names = tuple(str(item.media.filename) for item in media)
        has_cover = any(getattr(item, "thumbnail", None) for item in media)
        return self._answer("album", names, has_cover, how)

    async def send_audio(self, _: int, upload: Any, **how: Any) -> Message:
        return self._answer("audio", (upload.filename,), "thumbnail" in how, how)[0]

    async def send_document(self, _: int, upload: Any, **how: Any) -> Message:
        return self._answer("document", (upload.filename,), "thumbnail" in how, how)[0]

    def _answer(self, kind: str, names: tuple[str, ...], cover: bool, how: dict[str, Any]) -> list[Message]:
        self.calls.append((kind, names, cover))
        self.patience.add(how["rate_limit_args"])
        if self.script and (error := self.script.pop(0)):
            raise error
        return [_message(kind, 10 * len(self.calls) + index) for index in range(len(names))]


def _message(kind: str, number: int) -> Message:
    chat, unique = Chat(1, "private"), f"unique-{number}"
    if kind == "document":
        return Message(number, None, chat, document=Document(f"file-{number}", unique))  # type: ignore[arg-type]
    return Message(number, None, chat, audio=Audio(f"file-{number}", unique, 1))  # type: ignore[arg-type]


@pytest.fixture
def pieces(tmp_path: Path) -> list[StemFile]:
    """Three stems that Telegram plays."""
    for name in "abc":
        (tmp_path / name).write_bytes(b"sound")
    return [StemFile(name, name, f"Song ({name}).mp3", tmp_path / name, 30) for name in "abc"]


async def send(bot: Scripted, stems: Sequence[StemFile], ticks: list[dict[str, Sent]]) -> set[str]:
    """Send them with a cover; each tick is put into `ticks`."""

    async def tick(sent: dict[str, Sent]) -> None:
        ticks.append(sent)

    sender = AlbumSender(cast(ExtBot[float], bot))
    return await sender.send(make_job(), stems, COVER, tick)


def name_of(key: str) -> tuple[str, ...]:
    return (f"Song ({key}).mp3",)


async def test_an_album_is_one_tick(pieces: list[StemFile]) -> None:
    bot, ticks = Scripted(), list[dict[str, Sent]]()
    assert await send(bot, pieces, ticks) == {"a", "b", "c"}
    (tick,) = ticks
    assert {key: sent.message_id for key, sent in tick.items()} == {"a": 10, "b": 11, "c": 12}
    assert [(kind, has_cover) for kind, _, has_cover in bot.calls] == [("album", True)]
    assert bot.patience == {PATIENCE_S}


@pytest.mark.parametrize("error", [TOO_LARGE, BadRequest("Wrong file identifier")])
async def test_an_album_that_is_refused_comes_alone_with_its_cover(
    pieces: list[StemFile], error: TelegramError
) -> None:
    bot, ticks = Scripted(error), list[dict[str, Sent]]()
    assert await send(bot, pieces, ticks) == {"a", "b", "c"}
    assert bot.calls[1:] == [("audio", name_of(key), True) for key in "abc"]
    assert [list(tick) for tick in ticks] == [["a"], ["b"], ["c"]]
    assert bot.patience == {PATIENCE_S}


async def test_a_stem_too_large_alone_is_too_large_in_any_form(pieces: list[StemFile]) -> None:
    bot, ticks = Scripted(TOO_LARGE, None, TOO_LARGE), list[dict[str, Sent]]()
    assert await send(bot, pieces, ticks) == {"a", "c"}
    assert bot.calls[1:] == [("audio", name_of(key), True) for key in "abc"]


async def test_a_single_stem_too_large_is_tried_once(pieces: list[StemFile]) -> None:
    bot, ticks = Scripted(TOO_LARGE), list[dict[str, Sent]]()
    assert await send(bot, pieces[:1], ticks) == set()
    assert bot.calls == [("audio", name_of("a"), True)]
    assert ticks == []


async def test_what_is_refused_is_tried_without_its_cover_and_then_as_a_file(pieces: list[StemFile]) -> None:
    bot, ticks = Scripted(*[BadRequest("IMAGE_PROCESS_FAILED")] * 2), list[dict[str, Sent]]()
    assert await send(bot, pieces[:1], ticks) == {"a"}
    assert [(kind, has_cover) for kind, _, has_cover in bot.calls] == [
        *(("audio", True), ("audio", False), ("document", False))
    ]
    assert [list(tick) for tick in ticks] == [["a"]]


@pytest.mark.parametrize("error", [TimedOut(), NetworkError("Bad Gateway")])
async def test_a_connection_lost_among_single_stems_loses_no_tick(
    pieces: list[StemFile], error: TelegramError
) -> None:
    bot, ticks = Scripted(TOO_LARGE, None, error), list[dict[str, Sent]]()
    with pytest.raises(type(error)):
        await send(bot, pieces, ticks)
    assert [list(tick) for tick in ticks] == [["a"]]
    assert len(bot.calls) == 3


async def test_telegrams_limit_inside_an_album_is_no_refusal(pieces: list[StemFile]) -> None:
    error = BadRequest('Failed to send message #2 with the error message "Too Many Requests: retry after 8"')
    bot, ticks = Scripted(error), list[dict[str, Sent]]()
    with pytest.raises(BadRequest):
        await send(bot, pieces, ticks)
    assert len(bot.calls) == 1
    assert ticks == []
