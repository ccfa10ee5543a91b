"""Stems are fetched to disk: from a server that does everything wrong that a server can."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fileserver import FileServer, raw_server
from starlette.responses import Response, StreamingResponse

import webhook.fetch
from stemdrop.errors import AddressRefused, FetchFailed, StemGone, StemTooBig
from webhook.addresses import AddressRules
from webhook.fetch import MAX_REDIRECTS, PAUSES_S, StemFetcher

MAX_BYTES = 100_000
TRIES = len(PAUSES_S) + 1


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook.fetch, "PAUSES_S", tuple(0.001 for _ in PAUSES_S))


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(follow_redirects=False, trust_env=False) as client:
        yield client


@pytest.fixture
def fetcher(http: httpx.AsyncClient, files: FileServer) -> StemFetcher:
    """Trusts `files` and nobody else."""
    return StemFetcher(http, AddressRules(files.url, []), MAX_BYTES)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "stem"


def read(path: Path) -> bytes:
    """What was written; nothing where there is no file."""
    return path.read_bytes() if path.exists() else b""


async def test_a_stem_is_written_to_disk(fetcher: StemFetcher, files: FileServer, target: Path) -> None:
    content = bytes(range(256)) * 300
    url = files.put("a.mp3", content)
    assert await fetcher.fetch(url, target) == ".mp3"
    assert read(target) == content
    (request,) = files.requests
    assert request.headers["host"] == files.host
    assert request.headers["accept-encoding"] == "identity"


async def test_exactly_the_limit_is_taken(fetcher: StemFetcher, files: FileServer, target: Path) -> None:
    await fetcher.fetch(files.put("a.mp3", bytes(MAX_BYTES)), target)
    assert len(read(target)) == MAX_BYTES


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 418, 206, 204])
async def test_gone_is_gone_at_once(
    fetcher: StemFetcher, files: FileServer, target: Path, status: int
) -> None:
    with pytest.raises(StemGone):
        await fetcher.fetch(files.put("a.mp3", b"", status=status), target)
    assert len(files.requests) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408, 425, 429])
async def test_trouble_is_tried_again_and_then_told(
    fetcher: StemFetcher, files: FileServer, target: Path, status: int
) -> None:
    with pytest.raises(FetchFailed) as failed:
        await fetcher.fetch(files.put("a.mp3", b"x", status=status), target)
    assert not isinstance(failed.value, StemGone | StemTooBig | AddressRefused)
    assert len(files.requests) == TRIES


async def test_trouble_that_passes_is_forgotten(
    fetcher: StemFetcher, files: FileServer, target: Path
) -> None:
    answers = [Response(b"", 503), Response(b"half", 500), Response(b"whole", media_type="audio/mpeg")]
    files.files["a.mp3"] = lambda: answers.pop(0)
    await fetcher.fetch(f"{files.url}/a.mp3", target)
    assert read(target) == b"whole"


async def test_all_tries_together_have_one_deadline(
    fetcher: StemFetcher, files: FileServer, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook.fetch, "LONGEST_FETCH_S", 0.5)
    monkeypatch.setattr(webhook.fetch, "PAUSES_S", (0.2,) * 100)
    url = files.put("a.mp3", b"x", status=503)
    async with asyncio.timeout(10):
        with pytest.raises(FetchFailed, match="not there in"):
            await fetcher.fetch(url, target)
    assert 1 <= len(files.requests) <= 3


async def test_who_keeps_us_waiting_is_not_asked_again(
    fetcher: StemFetcher, files: FileServer, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook.fetch, "LONGEST_FETCH_S", 0.2)
    files.hold("a.mp3")
    with pytest.raises(FetchFailed, match="not there in"):
        await fetcher.fetch(files.put("a.mp3", b"sound"), target)
    assert len(files.requests) == 1


async def test_an_empty_file_is_tried_again(fetcher: StemFetcher, files: FileServer, target: Path) -> None:
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
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhalf\r\n",
        b"this is no HTTP\r\n\r\n",
        b"",
    ],
    ids=["truncated", "chunk missing", "negative", "no number", "bad chunk", "no HTTP", "nothing"],
)
async def test_half_an_answer_is_no_stem(http: httpx.AsyncClient, target: Path, answer: bytes) -> None:
    async with raw_server(answer) as url:
        fetcher = StemFetcher(http, AddressRules(url, []), MAX_BYTES)
        with pytest.raises(FetchFailed) as failed:
            await fetcher.fetch(f"{url}/a.mp3", target)
    assert not isinstance(failed.value, StemGone)


async def test_nobody_there_is_told(fetcher: StemFetcher, http: httpx.AsyncClient, target: Path) -> None:
    nobody = "http://127.0.0.1:9"
    with pytest.raises(FetchFailed):
        await StemFetcher(http, AddressRules(nobody, []), MAX_BYTES).fetch(f"{nobody}/a.mp3", target)


@pytest.mark.parametrize(
    "media_type",
    [
        "text/html",
        "text/html; charset=utf-8",
        "TEXT/PLAIN",
        "application/json",
        "application/xml",
        "image/png",
    ],
)
async def test_a_page_is_no_stem(
    fetcher: StemFetcher, files: FileServer, target: Path, media_type: str
) -> None:
    with pytest.raises(StemGone):
        await fetcher.fetch(files.put("a.mp3", b"<html>expired</html>", media_type=media_type), target)
    assert len(files.requests) == 1


async def test_too_big_by_its_header(fetcher: StemFetcher, files: FileServer, target: Path) -> None:
    with pytest.raises(StemTooBig):
        await fetcher.fetch(files.put("a.mp3", bytes(MAX_BYTES + 1)), target)
    assert len(files.requests) == 1
    assert read(target) == b""


async def test_too_big_by_what_comes(fetcher: StemFetcher, files: FileServer, target: Path) -> None:
    async def long() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield bytes(10_000)

    files.files["a.mp3"] = lambda: StreamingResponse(long(), media_type="audio/mpeg")
    with pytest.raises(StemTooBig):
        await fetcher.fetch(f"{files.url}/a.mp3", target)
    assert len(read(target)) < MAX_BYTES * 3
    assert len(files.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_followed(
    fetcher: StemFetcher, files: FileServer, target: Path, status: int
) -> None:
    files.put("deep/b c.flac", b"sound", media_type=None)
    files.redirect("two", "/deep/b c.flac", status)
    assert await fetcher.fetch(files.redirect("one", f"{files.url}/two", status), target) == ".flac"
    assert read(target) == b"sound"


async def test_a_loop_ends(fetcher: StemFetcher, files: FileServer, target: Path) -> None:
    with pytest.raises(StemGone):
        await fetcher.fetch(files.redirect("a.mp3", "/a.mp3"), target)
    assert len(files.requests) == MAX_REDIRECTS + 1


@pytest.mark.parametrize("status", [300, 302, 304])
async def test_a_redirect_to_nowhere_is_gone(
    fetcher: StemFetcher, files: FileServer, target: Path, status: int
) -> None:
    with pytest.raises(StemGone):
        await fetcher.fetch(files.redirect("a.mp3", None, status), target)


@pytest.mark.parametrize("to", ["http://[::1", "https://a b:x/", "http://\x7f/", "https://:0:0/"])
async def test_a_redirect_that_cannot_be_read_is_refused(
    fetcher: StemFetcher, files: FileServer, target: Path, to: str
) -> None:
    with pytest.raises(FetchFailed):
        await fetcher.fetch(files.redirect("a.mp3", to), target)
    assert set(files.asked) == {"a.mp3"}


async def test_a_trusted_server_leads_to_no_untrusted_one(
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


async def test_credentials_in_a_url_are_told_to_nobody(
    fetcher: StemFetcher, files: FileServer, target: Path
) -> None:
    url = files.put("a.mp3", b"sound").replace("http://", "http://user:word@")
    await fetcher.fetch(url, target)
    (request,) = files.requests
    assert "authorization" not in request.headers


async def test_spaces_and_signs_in_a_url_are_kept(
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
        ("a.wav", "audio/mpeg", ".wav"),
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
async def test_the_extension_is_the_names_or_else_the_types(
    fetcher: StemFetcher, files: FileServer, target: Path, path: str, media_type: str | None, extension: str
) -> None:
    assert await fetcher.fetch(files.put(path, b"sound", media_type=media_type), target) == extension
