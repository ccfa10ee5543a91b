"""Uploads and downloads: ranges, expiry, hostile file names."""

import os
import resource
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

from separator.file_store import ExpiringFiles, safe_name

Start = Callable[..., AbstractContextManager[Any]]

UPLOAD = "/api/file-stream-upload"


def _upload(separator: Any, data: bytes, **fields: str) -> dict[str, Any]:
    fields = {"uploadPath": "songs/today", "fileName": "My Song.mp3"} | fields
    answer = separator.http.post(UPLOAD, data=fields, files={"file": ("sent.mp3", data)})
    assert answer.status_code == 200
    return dict(answer.json())


def test_an_upload_is_separated_and_results_expire(
    start: Start, client: Any, short_song: bytes, poll: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The public address may lead through a proxy that the server itself cannot reach.

    A disk that is away for a while does not end the clean-up.
    """
    with start(origin="http://public.invalid/", clean_up_every_s=0.1) as separator:

        def status(url: str) -> int:
            return int(separator.http.get(url.removeprefix("http://public.invalid")).status_code)

        answer = _upload(separator, short_song)
        assert (answer["success"], answer["code"]) == (True, 200)
        data = answer["data"]
        assert data["fileName"] == "My Song.mp3"
        assert data["filePath"] == "songs/today/My Song.mp3"
        assert data["fileSize"] == len(short_song)
        assert data["mimeType"] == "audio/mpeg"
        upload_url = data["downloadUrl"]
        assert upload_url.startswith("http://public.invalid/uploads/")
        task_id = separator.task(audioUrl=upload_url, type="separate_vocal", callBackUrl=client.callback_url)
        url = separator.ended(task_id)["response"]["vocalUrl"]
        results, uploads = separator.settings.data / "results", separator.settings.data / "uploads"
        _age(results, 13)
        _age(uploads, 2.9)
        assert (status(url), status(upload_url)) == (200, 200)
        away = results.rename(results.parent / "away")
        poll(lambda: "expired files cannot be removed" in caplog.text, "the failure")
        away.rename(results)
        _age(results, 14.01)
        _age(uploads, 3.01)
        assert (status(url), status(upload_url)) == (404, 404)
        poll(lambda: not list(results.iterdir()), "the clean-up")


def _age(folder: Path, days: float) -> None:
    """Make the folders in `folder` as old as this."""
    for item in folder.iterdir():
        created_at = time.time() - days * 24 * 3600
        os.utime(item, (created_at, created_at))


def test_uploads_of_the_same_name_are_different_files(separator: Any) -> None:
    urls = [_upload(separator, data)["data"]["downloadUrl"] for data in (b"one", b"two")]
    assert [httpx.get(url).content for url in urls] == [b"one", b"two"]


def test_an_upload_cannot_leave_its_folder(start: Start) -> None:
    names = ["../../evil.mp3", "/etc/evil.mp3", "..\\evil.mp3", "....//evil.mp3", "..", "\0"]
    with start() as separator:
        for number, name in enumerate(names, 1):
            answer = _upload(separator, b"data", fileName=name, uploadPath="../../../tmp")
            assert httpx.get(answer["data"]["downloadUrl"]).content == b"data"
            assert ".." not in answer["data"]["filePath"]
            files = [path for path in separator.settings.data.rglob("*") if path.is_file()]
            uploaded = [path for path in files if path.stat().st_size == 4]
            assert len(uploaded) == number
            assert {path.parent.parent for path in uploaded} == {separator.settings.data / "uploads"}


def test_an_upload_beyond_the_limit_is_refused(start: Start) -> None:
    with start(max_source_bytes=300_000) as separator:
        assert _upload(separator, bytes(300_000))["code"] == 200
        assert _upload(separator, bytes(500_000))["code"] == 413
        assert len(list((separator.settings.data / "uploads").iterdir())) == 1


def test_nothing_is_left_of_an_upload_that_the_disk_does_not_take(start: Start) -> None:
    largest = resource.getrlimit(resource.RLIMIT_FSIZE)
    with start() as separator:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, largest[1]))
            assert (
                separator.http.post(UPLOAD, files={"file": ("song.mp3", bytes(300_000))}).status_code == 500
            )
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, largest)
        assert list((separator.settings.data / "uploads").iterdir()) == []


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


def test_only_the_exact_url_is_served(separator: Any) -> None:
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


def test_an_expired_file_is_not_served_before_the_clean_up(tmp_path: Path) -> None:
    store = ExpiringFiles(tmp_path / "store", keep_s=60, url="http://host/files")
    store.open()
    file = store.add() / "a b.mp3"
    file.write_bytes(b"data")
    assert store.url(file) == f"http://host/files/{file.parent.name}/a%20b.mp3"
    assert store.find(file.parent.name, "a b.mp3") == file
    _age(tmp_path / "store", 1)
    assert store.find(file.parent.name, "a b.mp3") is None
    assert file.exists()
    others = tmp_path / "store" / "holiday"  # the operator's own
    others.mkdir()
    _age(tmp_path / "store", 1)
    store.remove_expired()
    assert not file.parent.exists()
    assert others.exists()


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
def test_safe_names(name: str, safe: str) -> None:
    assert safe_name(name) == safe
    assert safe_name(safe) == safe
