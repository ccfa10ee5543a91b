"""Downloads of stems from servers that misbehave in every way."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from fileserver import FileServer, raw_server
from product import until
from starlette.responses import Response, StreamingResponse

import worker.stems.fetcher
from stemdrop.errors import AddressRefused, FetchFailed, StemGone, StemTooBig
from worker.stems.address_rules import AddressRules
from worker.stems.fetcher import (
    MAX_REDIRECTS,
    MAX_SLOW_TRIES,
    MAX_TINY_CHUNKS,
    PAUSES_S,
    PORTION_BYTES,
    PORTION_TIMEOUT_S,
    STEM_CHUNK_BYTES,
    TINY_CHUNK_BYTES,
    StemFetcher,
)

MAX_BYTES = 100_000
TRIES = len(PAUSES_S) + 1


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker.stems.fetcher, "PAUSES_S", tuple(0.001 for _ in PAUSES_S))


def fetching_from(url: str) -> StemFetcher:
    """Return a fetcher, to be entered, that may fetch from this server only."""
    return StemFetcher(AddressRules([url], []), MAX_BYTES)


@pytest.fixture
async def fetcher(files: FileServer) -> AsyncIterator[StemFetcher]:
    """A fetcher that may fetch from `files` only."""
    async with fetching_from(files.url) as opened:
        yield opened


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "stem"


def read(path: Path) -> bytes:
    """Return what was written; empty if there is no file."""
    return path.read_bytes() if path.exists() else b""


async def test_a_stem_is_written_to_disk(fetcher: StemFetcher, files: FileServer, target: Path) -> None:
    content = bytes(range(256)) * 300
    url = files.put("a.mp3", content)
    assert await fetcher.fetch(url, target) == ".mp3"
    assert read(target) == content
    (request,) = files.requests
    assert request.headers["host"] == files.host
    assert request.headers["accept-encoding"] == "identity"


async def test_a_file_of_exactly_the_limit_is_downloaded(
    fetcher: StemFetcher, files: FileServer, target: Path
) -> None:
    await fetcher.fetch(files.put("a.mp3", bytes(MAX_BYTES)), target)
    assert len(read(target)) == MAX_BYTES


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 418, 206, 204])
async def test_a_permanent_error_is_not_retried(
    fetcher: StemFetcher, files: FileServer, target: Path, status: int
) -> None:
    with pytest.raises(StemGone):
        await fetcher.fetch(files.put("a.mp3", b"", status=status), target)
    assert len(files.requests) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408, 425, 429])
async def test_a_temporary_error_is_retried_and_then_raised(
    fetcher: StemFetcher, files: FileServer, target: Path, status: int
) -> None:
    with pytest.raises(FetchFailed) as failed:
        await fetcher.fetch(files.put("a.mp3", b"x", status=status), target)
    assert not isinstance(failed.value, StemGone | StemTooBig | AddressRefused)
    assert len(files.requests) == TRIES


async def test_a_retry_overwrites_the_earlier_answer(
    fetcher: StemFetcher, files: FileServer, target: Path
) -> None:
    answers = [Response(b"", 503), Response(b"half", 500), Response(b"whole", media_type="audio/mpeg")]
    files.files["a.mp3"] = lambda: answers.pop(0)
    await fetcher.fetch(f"{files.url}/a.mp3", target)
    assert read(target) == b"whole"


async def test_an_empty_file_is_retried(fetcher: StemFetcher, files: FileServer, target: Path) -> None:
    with pytest.raises(FetchFailed, match="empty"):
        await fetcher.fetch(files.put("a.mp3", b""), target)
    assert len(files.requests) == TRIES


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nContent-Length: 1000\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-Header: and another\r\n" * 10_000 + b"\r\nhalf",
        b"HTTP/1.1 200 OK\r\nX-Header: " + b"x" * 200_000,
        b"HTTP/1.1 999999 OK\r\n\r\nhalf",
        b"this is no HTTP\r\n\r\n",
        b"\x16\x03\x01 nor is this",
        b"",
    ],
    ids=[
        *("truncated", "chunk missing", "negative", "no number", "longer than numbers are", "two lengths"),
        *("unknown coding", "bad chunk", "many headers", "one endless header", "no status", "no HTTP", "TLS"),
        "nothing",
    ],
)
async def test_an_incomplete_answer_is_an_error(target: Path, answer: bytes) -> None:
    async with raw_server(answer) as url, fetching_from(url) as fetcher:
        with pytest.raises(FetchFailed) as failed:
            await fetcher.fetch(f"{url}/a.mp3", target)
    assert not isinstance(failed.value, StemGone | StemTooBig)


async def test_a_refused_connection_is_an_error(target: Path) -> None:
    url = "http://127.0.0.1:9"
    async with fetching_from(url) as fetcher:
        with pytest.raises(FetchFailed):
            await fetcher.fetch(f"{url}/a.mp3", target)


async def test_a_file_whose_header_exceeds_the_limit_is_refused(
    fetcher: StemFetcher, files: FileServer, target: Path
) -> None:
    with pytest.raises(StemTooBig):
        await fetcher.fetch(files.put("a.mp3", bytes(MAX_BYTES + 1)), target)
    assert len(files.requests) == 1
    assert read(target) == b""


async def test_a_file_whose_content_exceeds_the_limit_is_refused(
    fetcher: StemFetcher, files: FileServer, target: Path
) -> None:
    async def long() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield bytes(10_000)

    files.files["a.mp3"] = lambda: StreamingResponse(long(), media_type="audio/mpeg")
    with pytest.raises(StemTooBig):
        await fetcher.fetch(f"{files.url}/a.mp3", target)
    assert len(read(target)) < MAX_BYTES * 3
    assert len(files.requests) == 1


async def test_a_huge_content_length_is_refused(target: Path) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nhalf"
    async with raw_server(answer) as url, fetching_from(url) as fetcher:
        with pytest.raises(StemTooBig):
            await fetcher.fetch(f"{url}/a.mp3", target)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "gzip, gzip, gzip", "br", "aws-chunked", "nonsense"])
async def test_a_content_encoding_is_not_decoded(
    fetcher: StemFetcher, files: FileServer, target: Path, coding: str
) -> None:
    """A few bytes could become gigabytes."""
    bomb = gzip.compress(bytes(10 * MAX_BYTES))
    headers: dict[str, Any] = {"content-encoding": coding}
    await fetcher.fetch(files.put("a.mp3", bomb, **headers), target)
    assert read(target) == bomb


async def test_cookies_are_not_kept(fetcher: StemFetcher, files: FileServer, target: Path) -> None:
    headers: dict[str, Any] = {"set-cookie": "who=they"}
    url = files.put("a.mp3", b"sound", **headers)
    await fetcher.fetch(url, target)
    await fetcher.fetch(url, target)
    assert "cookie" not in files.requests[1].headers


async def test_a_file_in_tiny_chunks_is_refused(target: Path) -> None:
    chunks = b"1\r\nx\r\n" * (MAX_TINY_CHUNKS + 1)
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    async with raw_server(answer) as url, fetching_from(url) as fetcher:
        with pytest.raises(StemGone, match="chunks of a few bytes"):
            await fetcher.fetch(f"{url}/a.mp3", target)


async def test_a_file_in_many_small_chunks_is_downloaded(target: Path) -> None:
    count, piece = 2 * MAX_TINY_CHUNKS, b"x" * 2 * TINY_CHUNK_BYTES
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = chunked + (b"%x\r\n%b\r\n" % (len(piece), piece)) * count + b"0\r\n\r\n"
    async with raw_server(answer) as url, StemFetcher(AddressRules([url], []), 5 * MAX_BYTES) as fetcher:
        await fetcher.fetch(f"{url}/a.mp3", target)
    assert read(target) == piece * count


class Waits:
    """The loop's clock, which a test can advance to end a wait at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        self._now, self._passed_s = loop.time, 0.0
        monkeypatch.setattr(loop, "time", lambda: self._now() + self._passed_s)

    def pass_by(self, seconds: float) -> None:
        self._passed_s += seconds


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-",
        b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100,
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 700000\r\n\r\n" + bytes(PORTION_BYTES - 1),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 1000,
    ],
    ids=["no answer", "half a header", "only hints", "no body", "less than a portion", "tiny chunks"],
)
async def test_a_slow_server_is_tried_twice(
    target: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    waits, asked = Waits(monkeypatch), []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        await writer.drain()
        waits.pass_by(PORTION_TIMEOUT_S + 1)
        await reader.read()  # until the client disconnects

    async with raw_server(serve) as url, StemFetcher(AddressRules([url], []), 2 * PORTION_BYTES) as fetcher:
        with pytest.raises(FetchFailed, match=f"less than {PORTION_BYTES} bytes in {PORTION_TIMEOUT_S} s"):
            await fetcher.fetch(f"{url}/a.mp3", target)
    assert len(asked) == MAX_SLOW_TRIES


@pytest.mark.parametrize(
    ("portion_bytes", "arrives"), [(PORTION_BYTES + STEM_CHUNK_BYTES, True), (100_000, False)]
)
async def test_the_deadline_moves_with_each_portion(
    target: Path, monkeypatch: pytest.MonkeyPatch, portion_bytes: int, arrives: bool
) -> None:
    waits, count = Waits(monkeypatch), 3

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {count * portion_bytes}\r\n\r\n".encode())
        for number in range(1, count):
            writer.write(bytes(portion_bytes))
            written = number * portion_bytes - STEM_CHUNK_BYTES  # at least
            await until(lambda written=written: len(read(target)) >= written)
            waits.pass_by(0.7 * PORTION_TIMEOUT_S)
        if not arrives:
            with suppress(TimeoutError):
                await asyncio.wait_for(reader.read(), 3)  # the client disconnects
        writer.write(bytes(portion_bytes))

    async with raw_server(serve) as url, StemFetcher(AddressRules([url], []), 9 * PORTION_BYTES) as fetcher:
        if arrives:
            await fetcher.fetch(f"{url}/a.mp3", target)
            assert len(read(target)) == count * portion_bytes
        else:
            with pytest.raises(FetchFailed, match="less than"):
                await fetcher.fetch(f"{url}/a.mp3", target)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_followed(
    fetcher: StemFetcher, files: FileServer, target: Path, status: int
) -> None:
    files.put("deep/b c.flac", b"sound", media_type=None)
    files.redirect("two", "/deep/b c.flac", status)
    assert await fetcher.fetch(files.redirect("one", f"{files.url}/two", status), target) == ".flac"
    assert read(target) == b"sound"


async def test_a_redirect_loop_ends(fetcher: StemFetcher, files: FileServer, target: Path) -> None:
    with pytest.raises(StemGone):
        await fetcher.fetch(files.redirect("a.mp3", "/a.mp3"), target)
    assert len(files.requests) == MAX_REDIRECTS + 1


@pytest.mark.parametrize("status", [300, 302, 304])
async def test_a_redirect_without_a_location_is_an_error(
    fetcher: StemFetcher, files: FileServer, target: Path, status: int
) -> None:
    with pytest.raises(StemGone):
        await fetcher.fetch(files.redirect("a.mp3", None, status), target)


@pytest.mark.parametrize("to", ["http://[::1", "https://a b:x/", "http://\x7f/", "https://:0:0/"])
async def test_an_invalid_redirect_is_refused(
    fetcher: StemFetcher, files: FileServer, target: Path, to: str
) -> None:
    with pytest.raises(AddressRefused):
        await fetcher.fetch(files.redirect("a.mp3", to), target)
    assert files.asked == ["a.mp3"]


async def test_a_redirect_to_a_forbidden_server_is_refused(
    fetcher: StemFetcher, files: FileServer, target: Path
) -> None:
    async with FileServer().run() as private:
        secret = private.put("secret.mp3", b"inner")
        places = [
            secret,
            secret.replace("127.0.0.1", "localhost"),
            secret.replace("http:", "https:"),
            "file:///etc/passwd",
        ]
        for place in places:
            with pytest.raises(AddressRefused):
                await fetcher.fetch(files.redirect("a.mp3", place), target)
        assert private.requests == []
        assert len(files.requests) == len(places)
        with pytest.raises(AddressRefused):
            await fetcher.fetch(secret, target)
        assert private.requests == []
    assert read(target) == b""


async def test_credentials_in_a_url_are_not_sent(
    fetcher: StemFetcher, files: FileServer, target: Path
) -> None:
    url = files.put("a.mp3", b"sound").replace("http://", "http://user:word@")
    await fetcher.fetch(url, target)
    (request,) = files.requests
    assert "authorization" not in request.headers


async def test_spaces_and_special_characters_in_a_url_are_kept(
    fetcher: StemFetcher, files: FileServer, target: Path
) -> None:
    files.put("x_Lead Vocal (é).mp3", b"sound")
    await fetcher.fetch(f"{files.url}/x_Lead Vocal (é).mp3?token=a%2Fb+c&x=1", target)
    (request,) = files.requests
    assert request.query_params["token"] == "a/b c"


@pytest.mark.parametrize(
    ("path", "media_type", "extension"),
    [
        ("a.mp3", "audio/mpeg", ".mp3"),
        ("a.MP3", None, ".mp3"),
        ("a.wav", "audio/mpeg", ".mp3"),
        ("a.m4b", "audio/mp4", ".m4b"),
        ("a.m4a", "application/octet-stream", ".m4a"),
        ("a", "audio/wav", ".wav"),
        ("a", "audio/x-wav; rate=44100", ".wav"),
        ("a", "audio/flac", ".flac"),
        ("a", "AUDIO/MP4", ".m4a"),
        ("a.exe", "audio/ogg", ".ogg"),
        ("a.exe", "application/octet-stream", ".mp3"),
        ("a", None, ".mp3"),
    ],
)
async def test_the_extension_comes_from_the_type_or_else_from_the_name(
    fetcher: StemFetcher, files: FileServer, target: Path, path: str, media_type: str | None, extension: str
) -> None:
    assert await fetcher.fetch(files.put(path, b"sound", media_type=media_type), target) == extension
