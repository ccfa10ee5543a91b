"""Requests to the Bot API as they go over the wire."""

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from telegram import Bot, InputFile
from telegram.error import NetworkError, TimedOut

from sandbox.environment.server import serve
from stemdrop.chat.telegram_request import PIECE_BYTES, TelegramRequest, Timeouts
from stemdrop.http.proxies import DIRECT
from stemdrop.storage.counters import Counters

TOKEN = "7000000001:AAword"


class PiecewiseFile(io.FileIO):
    """A file that notes how much of it is read at once."""

    sizes: tuple[int, ...] = ()

    def read(self, size: int | None = -1, /) -> bytes:
        assert size
        self.sizes += (size,)
        return super().read(size)


@pytest.fixture
async def echo() -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    """The URL of a server that keeps each request's headers and its form, and answers `true`."""
    received: list[dict[str, Any]] = []

    async def answer(request: Request) -> JSONResponse:
        fields: dict[str, Any] = dict(request.headers)
        async with request.form() as form:
            for name, value in form.items():
                if isinstance(value, UploadFile):
                    fields["file"] = (value.filename, value.content_type, await value.read())
                else:
                    fields[name] = value
        received.append(fields)
        return JSONResponse({"ok": True, "result": True})

    async with serve(Starlette(routes=[Route("/{path:path}", answer, methods=["POST"])])) as url:
        yield url, received


async def post(url: str, method: str, data: dict[str, Any], **timeouts: float) -> None:
    requests = [TelegramRequest(TOKEN, DIRECT, Counters(None), 2, Timeouts(**timeouts)) for _ in range(2)]
    bot = Bot(TOKEN, f"{url}/bot", request=requests[0], get_updates_request=requests[1])
    try:
        await bot._post(method, data)
    finally:
        await requests[0].shutdown()


async def test_a_file_is_sent_in_pieces_beside_the_other_fields(
    echo: tuple[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    url, received = echo
    content = bytes(range(256)) * 5000
    (tmp_path / "stem").write_bytes(content)
    named = 'Bach "小" \r\n.mp3'
    with PiecewiseFile(tmp_path / "stem") as stem:
        upload = InputFile(stem, filename=named, read_file_handle=False)
        await post(url, "sendAudio", {"audio": upload, "title": 'Ба "х"\r\n', "chat_id": 7})
        assert max(stem.sizes) <= PIECE_BYTES < sum(stem.sizes) == len(content)
    (fields,) = received
    assert fields["file"] == ("Bach %22小%22 %0D%0A.mp3", "audio/mpeg", content)
    assert (fields["title"], fields["chat_id"]) == ('Ба "х"\r\n', "7")
    assert int(fields["content-length"]) > len(content)
    assert fields["accept-encoding"] == "identity"


async def test_a_form_without_files_and_none_at_all(echo: tuple[str, list[dict[str, Any]]]) -> None:
    url, received = echo
    await post(url, "sendMessage", {"text": "a&b=ü", "chat_id": 7})
    await post(url, "getMe", {})
    texts, nothing = received
    assert (texts["text"], texts["chat_id"]) == ("a&b=ü", "7")
    assert nothing["content-length"] == "0"


async def test_a_login_in_the_url_is_used(echo: tuple[str, list[dict[str, Any]]]) -> None:
    url, received = echo
    await post(url.replace("://", "://user:p%40ss@"), "getMe", {})
    await post(url.replace("://", "://user@"), "getMe", {})
    # user:p@ss, and without a password
    assert [fields["authorization"] for fields in received] == ["Basic dXNlcjpwQHNz", "Basic dXNlcjo="]
    assert "p%40ss" not in received[0]["host"]


async def test_failures_are_told_in_the_librarys_words(echo: tuple[str, list[dict[str, Any]]]) -> None:
    url, _ = echo
    with pytest.raises(TimedOut):
        await post(url, "getMe", {}, read_s=0)
    with pytest.raises(NetworkError, match=r"^ConnectError: "):
        await post("http://127.0.0.1:1", "getMe", {})
    with pytest.raises(NetworkError, match=r"^UnsupportedProtocol: "):
        await post("ftp://127.0.0.1:1", "getMe", {})
