"""The refusals of the Bot API and the stricter ones of the local Telegram, with their words.

Calls with JSON are in the table of `refusals`; here are those that need files and other requests.
"""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import telegram as ptb
from refusals.row import Refusal
from refusals.table import REFUSALS
from refusals.world import World

from sandbox.telegram.app import create_app
from sandbox.telegram.chats import User
from sandbox.telegram.media import jpeg_from_colour
from sandbox.telegram.person_actions import Telegram

_PREFIXES = {
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    409: "Conflict",
    429: "Too Many Requests",
}
Maker = Callable[..., Path]


def refusal(answer: httpx.Response, status: int = 400) -> str:
    body = answer.json()
    assert (answer.status_code, body["ok"], body["error_code"]) == (status, False, status)
    return str(body["description"])


@pytest.fixture
async def told(tmp_path: Path) -> AsyncIterator[Telegram]:
    """A local Telegram that is not on the network."""
    telegram = Telegram(tmp_path / "telegram")
    yield telegram
    await telegram.close()


@pytest.mark.parametrize("row", REFUSALS, ids=str)
async def test_the_table(told: Telegram, tone: bytes, row: Refusal) -> None:
    world = World(told, tone)
    parameters = await world.resolve(row.parameters)
    expected = await world.resolve(row.answer)
    seen = told.events.last_number
    transport = httpx.ASGITransport(create_app(told))
    async with httpx.AsyncClient(
        transport=transport, base_url=f"http://localhost/bot{told.token}/"
    ) as client:
        answer = await client.post(row.method, json=parameters)
    description = f"{_PREFIXES[row.status]}: {row.description}"
    body = {"ok": False, "error_code": row.status, "description": description}
    assert answer.json() == body | ({"parameters": expected} if expected else {})
    assert answer.status_code == row.status
    assert told.events.last_number == seen  # a refused call has no effect


HALF = "\ud83c"  # of a note, as JavaScript cuts one
NOT_UTF_8 = "Bad Request: strings must be encoded in UTF-8"
MALFORMED: list[tuple[str, dict[str, Any], str]] = [
    ("sendMessage", {"json": {"text": HALF}}, NOT_UTF_8),
    ("sendMessage", {"json": {HALF: "x"}}, NOT_UTF_8),
    ("sendMessage", {"json": {"reply_markup": HALF}}, NOT_UTF_8),
    ("sendMessage", {"data": {"text": "x", "reply_markup": json.dumps({"text": HALF})}}, NOT_UTF_8),
    ("sendMessage", {"json": {"text": "x", "entities": [{"type": []}]}}, "Bad Request: can't parse MessageE"),
    ("sendMessage", {"content": b'{"text": 1e999}'}, "Bad Request: can't parse JSON object"),
    ("sendMessage", {"content": b"[" * 100_000}, "Bad Request: can't parse JSON object"),
    ("sendMessage", {"content": b'{"text": "\xed\xa0"}'}, "Bad Request: can't parse JSON object"),
    ("setMyCommands", {"json": {"commands": [], "scope": {"type": []}}}, "Bad Request: can't parse BotComm"),
    (
        "setMyCommands",
        {"json": {"commands": [], "scope": {"type": "chat", "chat_id": {}}}},
        'Bad Request: parameter "chat_id" must be of type Integer',
    ),
    ("setWebhook", {"json": {"url": "https://["}}, "Bad Request: bad webhook: invalid webhook URL specified"),
    ("setWebhook", {"json": {"url": "https://x:y"}}, "Bad Request: bad webhook: invalid webhook URL specif"),
    *(
        ("sendMediaGroup", {"json": {"media": [{"type": "audio", "media": "x", **item}] * 2}}, words)
        for item, words in list[tuple[dict[str, Any], str]](
            [
                ({"type": ["audio"]}, "Bad Request: can't parse InputMedia: type "),
                ({"caption": 5}, 'Bad Request: parameter "caption" must be of type String'),
                ({"thumbnail": [5]}, 'Bad Request: parameter "thumbnail" must be of type String'),
            ]
        )
    ),
]


def as_bytes(request: dict[str, Any]) -> dict[str, Any]:
    """Encode JSON here, because httpx refuses halves of characters."""
    if "data" in request:
        return request
    content = request.get("content") or json.dumps(request["json"])
    return {"content": content, "headers": {"Content-Type": "application/json"}}


async def test_malformed_texts_and_values(
    api: httpx.AsyncClient, chat: httpx.AsyncClient, alice: User
) -> None:
    to_alice = {"chat_id": alice.id}
    for method, request, words in MALFORMED:
        params = to_alice if method.startswith("send") else {}
        answer = await api.post(method, params=params, **as_bytes(request))
        assert refusal(answer)[: len(words)] == words
    assert (await chat.get("records")).status_code == 200  # they are logged, and can be shown


async def test_a_form_in_a_character_set_with_halves_of_characters(api: httpx.AsyncClient) -> None:
    kind = {"Content-Type": "multipart/form-data; boundary=b; charset=utf-7"}
    for head in ('name="text"', 'name="x"; filename="+2AA-.mp3"', 'name="+2AA-"'):
        body = f"--b\r\nContent-Disposition: form-data; {head}\r\n\r\n+2AA-\r\n--b--\r\n"
        assert refusal(await api.post("sendMessage", content=body, headers=kind)) == NOT_UTF_8


async def test_no_poll_lasts_longer_than_telegrams(api: httpx.AsyncClient, tg: Telegram, alice: User) -> None:
    tg.send_text(alice.id, "hello")
    assert len((await api.post("getUpdates", json={"timeout": 10**400})).json()["result"]) == 1


async def test_a_reply_to_a_missing_message_is_sent_when_allowed(api: httpx.AsyncClient, alice: User) -> None:
    reply = {"message_id": 999, "allow_sending_without_reply": True}
    answer = await api.post("sendMessage", json={"chat_id": alice.id, "text": "x", "reply_parameters": reply})
    assert "reply_to_message" not in answer.json()["result"]


async def test_an_unused_uploaded_part_is_refused(
    api: httpx.AsyncClient, alice: User, make_audio: Maker
) -> None:
    song = ("a.mp3", make_audio("a.mp3").read_bytes(), "audio/mpeg")
    media = json.dumps([{"type": "audio", "media": f"attach://{name}"} for name in ("one", "two")])
    form = {"chat_id": str(alice.id), "media": media}
    answer = await api.post("sendMediaGroup", data=form, files={"one": song, "two": song, "spare": song})
    assert refusal(answer) == 'Bad Request: uploaded part "spare" is not referred to'
    assert (await api.post("sendMediaGroup", data=form, files={"one": song, "two": song})).json()["ok"]
    text = {"chat_id": str(alice.id), "text": "x"}
    answer = await api.post("sendMessage", data=text, files={"stray": song})
    assert refusal(answer) == 'Bad Request: uploaded part "stray" is not referred to'


async def test_audio_is_checked_by_its_content(api: httpx.AsyncClient, alice: User) -> None:
    for content, words in [
        (b"", "Bad Request: file must be non-empty"),
        (b"no music " * 99, "Bad Request: sendAudio takes MP3 or M4A, and this is neither"),
    ]:
        file = ("a.mp3", content, "audio/mpeg")
        answer = await api.post("sendAudio", data={"chat_id": str(alice.id)}, files={"audio": file})
        assert refusal(answer) == words


async def test_a_wav_is_not_audio_and_a_flac_is_not_voice(
    bot: ptb.Bot, alice: User, make_audio: Maker
) -> None:
    with pytest.raises(ptb.error.BadRequest, match=r"(?i)takes MP3 or M4A"):
        await bot.send_audio(alice.id, make_audio("a.wav"), filename="a.mp3")
    with pytest.raises(ptb.error.BadRequest, match=r"(?i)takes OGG with Opus"):
        await bot.send_voice(alice.id, make_audio("a.flac"))


async def test_thumbnails(bot: ptb.Bot, alice: User, make_audio: Maker) -> None:
    song = make_audio("a.mp3")
    for thumbnail, words in [
        (b"GIF89a", "Thumbnail is not a JPEG"),
        (jpeg_from_colour(322, 100), "Thumbnail is larger than 320×320"),
        (jpeg_from_colour(320, 320) + b"\0" * 200_000, "Thumbnail is larger than 200 kb"),
    ]:
        with pytest.raises(ptb.error.BadRequest, match=f"(?i){words}"):
            await bot.send_audio(alice.id, song, thumbnail=thumbnail)


async def test_files_too_big_to_fetch_or_to_send(
    api: httpx.AsyncClient, bot: ptb.Bot, tg: Telegram, alice: User, tmp_path: Path
) -> None:
    path = tmp_path / "big.bin"
    with path.open("wb") as file:
        file.truncate(50 * 1024 * 1024 + 1)
    message = await tg.send_file(alice.id, path)
    assert message.media is not None
    with pytest.raises(ptb.error.BadRequest, match="File is too big"):
        await bot.get_file(message.media["file_id"])
    for extra in (0, 2 * 1024 * 1024):
        with path.open("r+b") as file:
            file.truncate(50 * 1024 * 1024 + 1 + extra)
        with path.open("rb") as file:
            answer = await api.post(
                "sendDocument", data={"chat_id": str(alice.id)}, files={"document": ("big.bin", file)}
            )
        assert refusal(answer, 413) == "Request Entity Too Large"


async def test_unknown_tokens_methods_and_paths(
    url: str, api: httpx.AsyncClient, tg: Telegram, new_bot: Callable[..., Any]
) -> None:
    with pytest.raises(ptb.error.InvalidToken):
        await new_bot(token="1234567:wrong-but-well-formed")
    async with httpx.AsyncClient(trust_env=False) as client:
        assert refusal(await client.get(f"{url}/bot123:wrong/getMe"), 401) == "Unauthorized"
        assert refusal(await client.get(f"{url}/botnonsense/getMe"), 404) == "Not Found"
        assert refusal(await client.get(f"{url}/elsewhere"), 404) == "Not Found"
        assert refusal(await client.put(f"{url}/bot{tg.token}/getMe"), 501) == "Not Implemented"
        assert (await client.get(f"{url}/bot{tg.token}/GETME")).json()["ok"]  # names ignore case
        path = f"{url}/file/bot{tg.token}/music/file_99.mp3"
        assert refusal(await client.get(path), 404) == "Not Found"
    assert refusal(await api.post("sendMessage", content="[", headers={"content-type": "application/json"}))


async def test_a_broken_multipart_body(api: httpx.AsyncClient, alice: User) -> None:
    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = await api.post("sendMessage", content="no boundary here", headers=headers)
    assert "can't parse the body" in refusal(answer)


async def test_parameters_may_come_in_the_query(api: httpx.AsyncClient, alice: User) -> None:
    answer = await api.get("sendMessage", params={"chat_id": alice.id, "text": "by GET"})
    assert answer.json()["result"]["text"] == "by GET"
