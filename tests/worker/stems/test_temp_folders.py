"""Temporary folders, the removal of those that killed workers left, and cancellable threads."""

import asyncio
import os
import shutil
import tempfile
import threading
import time
from collections import namedtuple
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import sounds
from product import Product
from waits import WAIT_S

from stemdrop.domain.audio_types import AudioFormat
from stemdrop.domain.queues import Queue
from stemdrop.errors import TryLater
from stemdrop.services.disk_space import WORKER_MIN_FREE_BYTES, temp_folder
from worker.audio.silence import is_silent
from worker.audio.tags import Tags, write_tags
from worker.audio.voice_encoder import OPUS, encode_voice
from worker.cancellable_thread import ThreadCancelled, raise_if_cancelled, run_in_thread
from worker.run import run_worker
from worker.stems import temp_folders
from worker.stems.temp_folders import STALE_S, remove_leftovers
from worker.zip_file import add_to_zip


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.delenv("TMPDIR", raising=False)
    return folder


def aged(path: Path, age_s: float) -> Path:
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def test_a_folder_is_removed_with_its_files(temporary: Path) -> None:
    with temp_folder(WORKER_MIN_FREE_BYTES) as folder:
        assert folder.parent == temporary
        assert list(folder.iterdir()) == []
        (folder / "stem").write_bytes(b"sound")
    assert list(temporary.iterdir()) == []


def test_the_folder_is_in_tmpdir_even_if_that_disk_is_full(
    temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = tmp_path / "named"
    named.mkdir()
    monkeypatch.setenv("TMPDIR", str(named))
    with temp_folder(WORKER_MIN_FREE_BYTES) as folder:
        assert folder.parent == named
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
    with temp_folder(WORKER_MIN_FREE_BYTES) as folder:
        assert folder.parent == temporary


def test_a_folder_that_cannot_be_created_postpones_the_task(
    temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary.rmdir()
    with pytest.raises(TryLater, match="no room for songs and stems"), temp_folder(WORKER_MIN_FREE_BYTES):
        pass


def test_a_full_disk_postpones_the_task(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 1000))
    with pytest.raises(TryLater), temp_folder(WORKER_MIN_FREE_BYTES):
        pass
    with temp_folder(0):
        pass
    assert list(temporary.iterdir()) == []


def test_folders_of_killed_workers_are_removed_after_a_day(temporary: Path) -> None:
    with temp_folder(WORKER_MIN_FREE_BYTES) as folder:
        (folder / "stem").write_bytes(b"sound")
        left = [shutil.copytree(folder, temporary / f"stemdrop-{name}") for name in ("a1b2c3d_", "zzzzzzzz")]
        aged(left[0], STALE_S + 60)
        aged(left[1], STALE_S - 60)
        assert remove_leftovers() == 1
        assert [path.exists() for path in (folder, *left)] == [True, False, True]
        assert remove_leftovers() == 0


async def test_a_worker_removes_what_grows_old_while_it_runs(
    product: Product, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(temp_folders, "REMOVE_EVERY_S", 0.02)
    left = temporary / "stemdrop-a1b2c3d4"
    left.mkdir()
    working = asyncio.create_task(run_worker(product, asyncio.Event()))
    async with asyncio.timeout(WAIT_S):
        while not await product.redis.exists(f"{Queue.RENDERS}:stream"):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        assert left.exists()
        aged(left, STALE_S + 60)
        while left.exists():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        working.cancel()
        await asyncio.wait({working})


def test_other_folders_are_not_removed(temporary: Path) -> None:
    names = (
        "stemdrop-sandbox-a1b2c3d4",
        "stemdrop-demo-a1b2c3d4",
        "stemdrop",
        "other-a1b2c3d4",
        "stemdrop-abc",
    )
    for name in names:
        (temporary / name).mkdir()
    (temporary / "stemdrop-a1b2c3d4").write_bytes(b"a file")
    elsewhere = temporary.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "dear").write_bytes(b"dear")
    (temporary / "stemdrop-a1b2c3d5").symlink_to(elsewhere)
    before = sorted(temporary.iterdir())
    for path in before:
        aged(path, STALE_S * 3)
    os.utime(temporary / "stemdrop-a1b2c3d5", (0, 0), follow_symlinks=False)
    assert remove_leftovers() == 0
    assert sorted(temporary.iterdir()) == before
    assert (elsewhere / "dear").exists()


def test_a_folder_that_cannot_be_removed_stays(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stemdrop-a1b2c3d4", "stemdrop-a1b2c3d5"):
        (temporary / name).mkdir()
        aged(temporary / name, STALE_S + 60)
    remove = shutil.rmtree
    refused: list[Path] = []

    def stubborn(path: Path) -> None:
        if not refused:
            refused.append(path)
            raise PermissionError("not yours")
        remove(path)

    monkeypatch.setattr(shutil, "rmtree", stubborn)
    assert remove_leftovers() == 1
    assert list(temporary.iterdir()) == refused


SILENCE = 0 * sounds.tone()
BLOCKING: dict[str, Callable[[Path], object]] = {
    "listening": lambda path: is_silent(path, AudioFormat.WAV),
    "recording": lambda path: encode_voice(path, path.with_name("small"), OPUS),
    "tagging": lambda path: write_tags(path, AudioFormat.WAV, Tags("a", "b", "c"), 10**9),
    "packing": lambda path: add_to_zip(path.with_name("stems.zip"), path, "stem.wav"),
}


@pytest.mark.parametrize("work", BLOCKING)
async def test_the_thread_of_a_cancelled_task_ends_soon(tmp_path: Path, work: str) -> None:
    path = sounds.record(tmp_path / "stem.wav", "wav", SILENCE)
    begun, ends = threading.Event(), list[str]()

    def call() -> None:
        begun.set()
        with suppress(ThreadCancelled):
            for _ in range(20_000):
                raise_if_cancelled()
                time.sleep(0.001)
        try:
            BLOCKING[work](path)
            ends.append("done to the end")
        except ThreadCancelled:
            ends.append("broken off")
            raise

    running = asyncio.create_task(run_in_thread(call))
    assert await asyncio.to_thread(begun.wait, 20)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ends == ["broken off"]


async def test_a_thread_returns_its_result_or_raises_its_error(tmp_path: Path) -> None:
    path = sounds.record(tmp_path / "stem.wav", "wav", SILENCE)
    assert await run_in_thread(is_silent, path, AudioFormat.WAV) is True
    with pytest.raises(ZeroDivisionError):
        await run_in_thread(divmod, 1, 0)
    raise_if_cancelled()  # does nothing outside such a thread
