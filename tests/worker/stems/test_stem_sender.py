"""How stems are grouped into albums, and sent when Telegram refuses an album."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from builders import make_job
from telegram import Audio, Chat, Document, InputFile, Message
from telegram.error import BadRequest, Forbidden, NetworkError, TelegramError, TimedOut
from telegram.ext import ExtBot

from stemdrop.domain.outcomes import Sent
from stemdrop.errors import CachedFileGone
from worker.stems.stem_sender import (
    AUDIO,
    MAX_ALBUM,
    UPLOAD_PATIENCE_S,
    OutgoingStem,
    StemSender,
    Upload,
    albums,
)

TOO_LARGE = NetworkError("Request Entity Too Large")
FLOOD = BadRequest('Failed to send message #2 with the error message "Too Many Requests: retry after 8"')
COVER = b"\xff\xd8 a picture"


def test_albums_have_sizes_that_telegram_accepts() -> None:
    for count in range(1, 31):
        sizes = [len(album) for album in albums(range(count))]
        assert sum(sizes) == count
        assert sizes == sorted(sizes, reverse=True)
        assert max(sizes) <= MAX_ALBUM
        assert min(sizes) >= 2 or count == 1
        assert max(sizes) - min(sizes) <= 1
        assert len(sizes) == -(-count // MAX_ALBUM)


class ScriptedBot:
    """A bot whose calls raise the errors of `script` in turn; further calls succeed.

    `calls` holds the kind of each call, the files' names or ids, and whether it had a cover or its caption.
    """

    def __init__(self, *script: TelegramError | None) -> None:
        self.script = list(script)
        self.calls: list[tuple[str, tuple[str, ...], object]] = []
        self.patience: set[float | None] = set()

    async def send_media_group(self, _: int, media: Sequence[Any], **options: Any) -> list[Message]:
        return self._answer("album", [item.media for item in media], _extra(vars_of(media[0])), options)

    async def send_audio(self, _: int, media: Any, **options: Any) -> Message:
        return self._answer("audio", [media], _extra(options), options)[0]

    async def send_document(self, _: int, media: Any, **options: Any) -> Message:
        return self._answer("document", [media], _extra(options), options)[0]

    def _answer(self, kind: str, media: list[Any], extra: object, options: dict[str, Any]) -> list[Message]:
        names = tuple(str(item.filename) if isinstance(item, InputFile) else item for item in media)
        self.calls.append((kind, names, extra))
        self.patience.add(options.get("rate_limit_args"))
        if self.script and (error := self.script.pop(0)):
            raise error
        return [_message(kind, 10 * len(self.calls) + index) for index in range(len(names))]


def vars_of(media: Any) -> dict[str, Any]:
    return {name: getattr(media, name, None) for name in ("thumbnail", "caption")}


def _extra(options: dict[str, Any]) -> object:
    return options.get("caption") or bool(options.get("thumbnail"))


def _message(kind: str, number: int) -> Message:
    chat, unique = Chat(1, "private"), f"unique-{number}"
    if kind == "document":
        return Message(number, None, chat, document=Document(f"file-{number}", unique))  # type: ignore[arg-type]
    return Message(number, None, chat, audio=Audio(f"file-{number}", unique, 1))  # type: ignore[arg-type]


@pytest.fixture
def uploads(tmp_path: Path) -> list[OutgoingStem]:
    """Three audio files on disk."""
    for name in "abc":
        (tmp_path / name).write_bytes(b"sound")
    return [
        OutgoingStem(key, key, AUDIO, Upload(tmp_path / key, f"Song ({key}).mp3"), {"thumbnail": COVER})
        for key in "abc"
    ]


# Three audio files that Telegram has; the first user's title of the first one was another.
CACHED = [
    OutgoingStem(key, f"Song ({key})", AUDIO, f"id-{key}", {"caption": "Lied (a)"} if key == "a" else {})
    for key in "abc"
]


async def send(bot: ScriptedBot, stems: Sequence[OutgoingStem], records: list[dict[str, Sent]]) -> set[str]:
    async def record(sent: dict[str, Sent]) -> None:
        records.append(sent)

    async def check_owner() -> None:
        pass

    return await StemSender(cast(ExtBot[float], bot)).send(make_job(), stems, record, check_owner)


def name_of(key: str) -> tuple[str, ...]:
    return (f"Song ({key}).mp3",)


async def test_an_album_is_recorded_at_once(uploads: list[OutgoingStem]) -> None:
    bot, records = ScriptedBot(), list[dict[str, Sent]]()
    assert await send(bot, uploads, records) == {"a", "b", "c"}
    (record,) = records
    assert {key: sent.message_id for key, sent in record.items()} == {"a": 10, "b": 11, "c": 12}
    assert [(kind, has_cover) for kind, _, has_cover in bot.calls] == [("album", True)]
    assert bot.patience == {UPLOAD_PATIENCE_S}


@pytest.mark.parametrize("error", [TOO_LARGE, BadRequest("Wrong file identifier")])
async def test_the_stems_of_a_refused_album_are_sent_singly(
    uploads: list[OutgoingStem], error: TelegramError
) -> None:
    bot, records = ScriptedBot(error), list[dict[str, Sent]]()
    assert await send(bot, uploads, records) == {"a", "b", "c"}
    assert bot.calls[1:] == [("audio", name_of(key), True) for key in "abc"]
    assert [list(record) for record in records] == [["a"], ["b"], ["c"]]


async def test_a_stem_that_is_too_large_is_tried_once(uploads: list[OutgoingStem]) -> None:
    bot, records = ScriptedBot(TOO_LARGE, None, TOO_LARGE), list[dict[str, Sent]]()
    assert await send(bot, uploads, records) == {"a", "c"}
    assert bot.calls[1:] == [("audio", name_of(key), True) for key in "abc"]


async def test_a_refused_stem_is_tried_without_its_cover_and_then_as_a_document(
    uploads: list[OutgoingStem],
) -> None:
    bot, records = ScriptedBot(*[BadRequest("IMAGE_PROCESS_FAILED")] * 2), list[dict[str, Sent]]()
    assert await send(bot, uploads[:1], records) == {"a"}
    assert [(kind, has_cover) for kind, _, has_cover in bot.calls] == [
        *(("audio", True), ("audio", False), ("document", False))
    ]
    assert [list(record) for record in records] == [["a"]]


@pytest.mark.parametrize("error", [TimedOut(), NetworkError("Bad Gateway")])
async def test_a_lost_connection_loses_no_record(uploads: list[OutgoingStem], error: TelegramError) -> None:
    bot, records = ScriptedBot(TOO_LARGE, None, error), list[dict[str, Sent]]()
    with pytest.raises(type(error)):
        await send(bot, uploads, records)
    assert [list(record) for record in records] == [["a"]]
    assert len(bot.calls) == 3


async def test_a_flood_limit_inside_an_album_is_not_a_refusal(uploads: list[OutgoingStem]) -> None:
    bot, records = ScriptedBot(FLOOD), list[dict[str, Sent]]()
    with pytest.raises(BadRequest):
        await send(bot, uploads, records)
    assert (len(bot.calls), records) == (1, [])


async def test_cached_stems_of_a_refused_album_are_sent_singly_with_their_captions() -> None:
    refusal = BadRequest("Wrong type of the web page content")
    bot, records = ScriptedBot(refusal, None, refusal), list[dict[str, Sent]]()
    assert await send(bot, CACHED, records) == {"a", "c"}
    assert bot.calls[1:] == [
        *(("audio", ("id-a",), "Lied (a)"), ("audio", ("id-b",), False), ("audio", ("id-c",), False))
    ]
    assert [list(record) for record in records] == [["a"], ["c"]]
    assert records[0]["a"] == Sent(20, "file-20", "unique-20", "audio", "Song (a)")
    assert bot.patience == {None}


@pytest.mark.parametrize(
    "words",
    [
        "Wrong file identifier/HTTP URL specified",
        "Wrong remote file identifier specified: wrong string length",
        "Wrong file_id or the file is temporarily unavailable",
        'Failed to send message #2 with the error message "FILE_REFERENCE_EXPIRED"',
        "Can't use file of type Voice as Audio",
        "MEDIA_EMPTY",
    ],
)
@pytest.mark.parametrize("count", [1, 3])
async def test_a_file_that_telegram_has_lost_is_recognised(words: str, count: int) -> None:
    bot, records = ScriptedBot(BadRequest(words)), list[dict[str, Sent]]()
    with pytest.raises(CachedFileGone):
        await send(bot, CACHED[:count], records)
    assert (len(bot.calls), records) == (1, [])


@pytest.mark.parametrize(
    "error",
    [
        FLOOD,
        BadRequest("Chat not found"),
        Forbidden("bot was blocked"),
        NetworkError("Bad Gateway"),
        TimedOut(),
    ],
)
@pytest.mark.parametrize("count", [1, 3])
async def test_other_errors_are_raised_as_they_are(error: TelegramError, count: int) -> None:
    bot, records = ScriptedBot(error), list[dict[str, Sent]]()
    with pytest.raises(type(error)):
        await send(bot, CACHED[:count], records)
    assert (len(bot.calls), records) == (1, [])
