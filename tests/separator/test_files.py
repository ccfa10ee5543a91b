"""Files in and out: uploads, downloads, ranges, expiry, names that try to leave their folder."""

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

from separator.files import Shelf, safe_name

Start = Callable[..., AbstractContextManager[Any]]

UPLOAD = "/api/file-stream-upload"


def _upload(separator: Any, data: bytes, **fields: str) -> dict[str, Any]:
    fields = {"uploadPath": "songs/today", "fileName": "My Song.mp3"} | fields
    answer = separator.http.post(UPLOAD, data=fields, files={"file": ("sent.mp3", data)})
    assert answer.status_code == 200
    return dict(answer.json())


def test_an_upload_can_be_separated(separator: Any, outside: Any, short_song: bytes) -> None:
    answer = _upload(separator, short_song)
    assert (answer["success"], answer["code"]) == (True, 200)
    data = answer["data"]
    assert data["fileName"] == "My Song.mp3"
    assert data["filePath"] == "songs/today/My Song.mp3"
    assert data["fileSize"] == len(short_song)
    assert data["mimeType"] == "audio/mpeg"
    assert httpx.get(data["downloadUrl"]).content == short_song
    task_id = separator.task(
        audioUrl=data["downloadUrl"], type="separate_vocal", callBackUrl=outside.callback_url
    )
    assert separator.ended(task_id)["successFlag"] == "SUCCESS"


def test_an_upload_needs_no_way_back_to_the_server(start: Start, outside: Any, short_song: bytes) -> None:
    """Its public address may lead through a proxy that cannot be reached from where the server is."""
    with start(origin="http://public.invalid/") as public:
        url = _upload(public, short_song)["data"]["downloadUrl"]
        assert url.startswith("http://public.invalid/uploads/")
        task_id = public.task(audioUrl=url, type="separate_vocal", callBackUrl=outside.callback_url)
        assert public.ended(task_id)["successFlag"] == "SUCCESS"


def test_uploads_of_the_same_name_do_not_meet(separator: Any) -> None:
    urls = [_upload(separator, data)["data"]["downloadUrl"] for data in (b"one", b"two")]
    assert [httpx.get(url).content for url in urls] == [b"one", b"two"]


@pytest.mark.parametrize(
    "name", ["../../evil.mp3", "/etc/evil.mp3", "..\\evil.mp3", "....//evil.mp3", "..", "\0"]
)
def test_an_upload_cannot_leave_its_folder(start: Start, name: str) -> None:
    with start() as separator:
        answer = _upload(separator, b"data", fileName=name, uploadPath="../../../tmp")
        url = answer["data"]["downloadUrl"]
        assert httpx.get(url).content == b"data"
        assert ".." not in answer["data"]["filePath"]
        (file,) = (
            path for path in separator.settings.data.rglob("*") if path.is_file() and path.stat().st_size == 4
        )
        assert file.parent.parent == separator.settings.data / "uploads"


def test_an_upload_beyond_the_limit_is_refused(start: Start) -> None:
    with start(max_source_bytes=300_000) as separator:
        assert _upload(separator, bytes(300_000))["code"] == 200
        assert _upload(separator, bytes(500_000))["code"] == 413
        assert len(list((separator.settings.data / "uploads").iterdir())) == 1


def test_an_upload_without_a_file_is_refused(separator: Any) -> None:
    files = {"uploadPath": (None, "songs")}  # multipart, but only a field
    assert separator.http.post(UPLOAD, files=files).json()["code"] == 422
    assert separator.http.post(UPLOAD, json={}).json()["code"] == 400
    broken = {"Content-Type": "multipart/form-data"}
    assert separator.http.post(UPLOAD, content=b"x", headers=broken).json()["code"] == 400


def test_a_download_has_ranges_and_a_head(separator: Any) -> None:
    url = _upload(separator, bytes(range(200)))["data"]["downloadUrl"]
    head = httpx.head(url)
    assert (head.status_code, head.headers["content-length"], head.content) == (200, "200", b"")
    assert head.headers["accept-ranges"] == "bytes"
    part = httpx.get(url, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, bytes(range(10, 20)))
    assert part.headers["content-range"] == "bytes 10-19/200"


def test_only_the_exact_address_serves(separator: Any) -> None:
    url = _upload(separator, b"data")["data"]["downloadUrl"]
    folder, _, name = url.rpartition("/")
    origin = separator.settings.origin
    for wrong in (
        f"{folder}/other.mp3",
        f"{folder}x/{name}",
        f"{origin}/files/{folder.rsplit('/')[-1]}/{name}",
        f"{origin}/uploads/..%2f/tasks.sqlite3",
        f"{origin}/uploads/%2e%2e/tasks.sqlite3",
        f"{folder}/..%2f..%2ftasks.sqlite3",
    ):
        assert httpx.get(wrong).status_code == 404, wrong


def test_results_expire_at_once_and_are_swept(
    start: Start, outside: Any, short_song: bytes, poll: Any
) -> None:
    with start(sweep_every_s=0.1) as separator:
        task_id = separator.task(
            audioUrl=outside.source(short_song), type="separate_vocal", callBackUrl=outside.callback_url
        )
        url = separator.ended(task_id)["response"]["vocalUrl"]
        upload_url = _upload(separator, b"data")["data"]["downloadUrl"]
        assert httpx.get(url).status_code == 200
        results = separator.settings.data / "results"
        _age(results, 13)
        _age(separator.settings.data / "uploads", 2.9)
        assert httpx.get(url).status_code == 200
        assert httpx.get(upload_url).status_code == 200
        _age(results, 14.01)
        _age(separator.settings.data / "uploads", 3.01)
        assert httpx.get(url).status_code == 404
        assert httpx.get(upload_url).status_code == 404
        poll(lambda: not list(results.iterdir()), "the sweep")


def _age(shelf: Path, days: float) -> None:
    """Make the shelf's folders as old as this."""
    for folder in shelf.iterdir():
        made_at = time.time() - days * 24 * 3600
        os.utime(folder, (made_at, made_at))


def test_what_has_expired_is_gone_before_the_sweep(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "shelf", keep_s=60, url="http://host/files")
    shelf.open()
    file = shelf.add() / "a b.mp3"
    file.write_bytes(b"data")
    assert shelf.url(file) == f"http://host/files/{file.parent.name}/a%20b.mp3"
    assert shelf.find(file.parent.name, "a b.mp3") == file
    _age(tmp_path / "shelf", 1)
    assert shelf.find(file.parent.name, "a b.mp3") is None
    assert file.exists()
    shelf.sweep()
    assert not file.parent.exists()


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("song.mp3", "song.mp3"),
        ("Ärger & Söhne.flac", "Ärger & Söhne.flac"),
        ("../../etc/passwd", "passwd"),
        ("C:\\music\\song.mp3", "song.mp3"),
        (".hidden", "hidden"),
        ("..", "file"),
        ("", "file"),
        ("a\n\x1b[31mb.mp3", "a[31mb.mp3"),
        ("ü" * 500 + ".mp3", "ü" * 60 + ".mp3"),
    ],
)
def test_a_name_is_made_safe(name: str, safe: str) -> None:
    assert safe_name(name) == safe
    assert safe_name(safe) == safe
