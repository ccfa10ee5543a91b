"""The machine itself: its disk is full, its clock jumps, it is told to stop, it gets a new version."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from deployment import until
from fault_case import Case
from ledger import ALL_STEMS, VOCALS

from sandbox.environment.process import Process

ROOT = Path(__file__).resolve().parent.parent.parent
_MEGABYTE = 1024 * 1024
GRACE_S = 30


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[Path]:
    """A file system of its own; the case is skipped where none may be mounted."""
    folder.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "stemdrop", str(folder)]
    if not shutil.which("mount") or subprocess.run(options, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Leave not a byte."""
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(disk).free)
    return ballast


@pytest.mark.full
async def test_disk_full(case: Case) -> None:
    """Before anything is fetched, and while it is being written."""
    disk = case.stack.enter_context(small_disk(case.folder / "disk", 600 * _MEGABYTE))
    deployment, ledger = await case.open("bot", "webhook")
    deployment.settings["TMPDIR"] = str(disk)
    ballast = fill(disk)
    deployment.processes += [await deployment.environment.start("worker", "worker", deployment.settings)]
    waiting = await ledger.play_all([VOCALS, ALL_STEMS] * 3)
    log = deployment.processes[-1].log
    await until(lambda: "bytes are free for songs and stems" in log.read_text())
    ballast.unlink()
    deployment.provider.hold_stems.clear()
    writing = await ledger.play_all([VOCALS, ALL_STEMS] * 3)
    await until(lambda: deployment.provider.stem_requests)
    ballast = fill(disk)
    deployment.provider.hold_stems.set()
    await until(lambda: "cannot be written" in log.read_text())
    ballast.unlink()
    case.healed()
    await case.settle(ledger, "Disk full, before and while stems are written", len(waiting + writing))


@pytest.mark.full
@pytest.mark.parametrize("jump_s", [3600, -3600])
async def test_clock_jumps(case: Case, jump_s: int) -> None:
    """That of every process of the product; Redis' stays."""
    library = faketime()
    clock = case.folder / "clock"
    clock.write_text("+0")
    deployment, ledger = await case.open()
    deployment.environment.process_class = Process  # loaded before anything else: not to be had by forking
    faked = {"LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(clock)}
    deployment.settings |= {**faked, "FAKETIME_NO_CACHE": "1", "DONT_FAKE_MONOTONIC": "1"}
    await deployment.start("bot", "webhook", "worker")
    deployment.provider.answers_by_itself = False
    separating = await ledger.play_all([VOCALS, ALL_STEMS] * 2)
    await deployment.accepted(len(separating))
    deployment.provider.answers_by_itself = True
    playing = asyncio.create_task(ledger.play_all([VOCALS, ALL_STEMS] * 2))
    clock.write_text(f"{jump_s:+d}")
    creates = deployment.provider.creates[: len(separating)]
    await asyncio.gather(playing, *(deployment.provider.post_patiently(create) for create in creates))
    await ledger.play_all([VOCALS] * 2)
    case.healed()
    await case.settle(ledger, f"Clock jumps by {jump_s:+d} s", explained=None)


@pytest.mark.full
async def test_sigterm_amid_everything(case: Case) -> None:
    """Clean within the time that supervisors give; what was in hand is handed back."""
    commands = ("bot", "webhook", "worker")
    deployment, ledger = await case.open(*commands)
    times = case.times(1, 10)
    for _ in range(times):
        playing = asyncio.create_task(ledger.play_all([VOCALS, ALL_STEMS, VOCALS]))
        await asyncio.sleep(case.chance.uniform(0.2, 2))
        codes = await asyncio.gather(*(process.stop(GRACE_S) for process in deployment.processes))
        assert codes == [0] * len(commands)
        await deployment.start(*commands)
        await playing
    case.healed()
    # the provider may come for a song while the webhook is being started again (code 451)
    account = await case.settle(ledger, "SIGTERM to all, amid everything", times, explained=None)
    assert [note for note in account.notes if "explained" in note and "code 451" not in note] == []


@pytest.mark.full
async def test_sigterm_without_redis(case: Case) -> None:
    """Also when what is in hand cannot be handed back in good order."""
    commands = ("bot", "webhook", "worker")
    deployment, ledger = await case.open(*commands)
    deployment.provider.hold_stems.clear()
    playing = asyncio.create_task(ledger.play_all([VOCALS, ALL_STEMS]))
    await until(lambda: deployment.provider.stem_requests)
    deployment.environment.redis.kill()
    codes = await asyncio.gather(*(process.stop(GRACE_S) for process in deployment.processes))
    assert codes == [0] * len(commands)
    deployment.environment.redis.start()
    deployment.provider.hold_stems.set()
    await deployment.start(*commands)
    await playing
    case.healed()
    await case.settle(ledger, "SIGTERM to all while Redis is away")


@pytest.mark.full
async def test_sigterm_without_redis_amid_a_create(case: Case) -> None:
    """Without a public URL no callback comes: a lost answer is told, and not paid for again."""
    commands = ("bot", "webhook", "worker")
    deployment, ledger = await case.open(*commands, PUBLIC_URL="", JOB_TIMEOUT_S="20")
    times = case.times(1, 3)
    for _ in range(times):
        deployment.provider.hold_answer.clear()
        playing = asyncio.create_task(ledger.play(VOCALS))
        await deployment.accepted(len(ledger.plays) + 1)
        deployment.environment.redis.kill()
        deployment.provider.hold_answer.set()
        codes = await asyncio.gather(*(process.stop(GRACE_S) for process in deployment.processes))
        assert codes == [0] * len(commands)
        deployment.environment.redis.start()
        await deployment.start(*commands)
        play = await playing
        await ledger.over()
        assert "code lost" in play.texts[-1].text
    case.healed()
    fault = "SIGTERM to all while Redis is away, amid a create call, without a public URL"
    await case.settle(ledger, fault, times, explained=times)
    assert len(deployment.provider.creates) == times
    assert await ledger.miscounted() == ""


def faketime() -> Path:
    """A library that fakes the time of a program that is started with it."""
    if library := next(Path("/usr/lib").rglob("libfaketime.so.1"), None):
        return library
    pytest.skip("needs Debian's package libfaketime")


def older_version(folder: Path) -> Path:
    """The code as it was: at `STEMDROP_OLD`, at the last tag, or where there is none some changes ago."""
    git = ["git", "-C", str(ROOT)]
    asked = [*git, "describe", "--tags", "--abbrev=0"]
    tag = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    version, archive = os.environ.get("STEMDROP_OLD") or tag or "HEAD~25", folder / "old.tar"
    pack = [*git, "archive", "-o", str(archive), version, "stemdrop", "bot", "webhook", "worker"]
    if subprocess.run(pack, capture_output=True, check=False).returncode:
        pytest.skip(f"there is no older version {version} here")
    shutil.unpack_archive(archive, folder / "old")
    return folder / "old"


@pytest.mark.full
async def test_old_and_new_version_side_by_side(case: Case) -> None:
    old = older_version(case.folder)
    deployment, ledger = await case.open()
    environment, new = deployment.environment, ("bot", "webhook", "worker")
    environment.process_class = Process  # an older version is not in memory to be forked
    before = {"PYTHONPATH": str(old)}
    olds = [await environment.start(name, f"old-{name}", before) for name in ("bot", "webhook", "worker")]
    await ledger.play_all([VOCALS, ALL_STEMS] * 3)
    playing = asyncio.create_task(ledger.play_all([VOCALS, ALL_STEMS] * 3))
    worker = await environment.start("worker", "new-worker")  # both deliver
    await playing
    for command, process in zip(new[:2], olds[:2], strict=True):
        fetched = len(deployment.provider.sources)
        playing = asyncio.create_task(ledger.play_all([VOCALS, ALL_STEMS]))
        if command == "webhook":  # without one a provider gives up a song within seconds
            await until(lambda fetched=fetched: len(deployment.provider.sources) == fetched + 2)
        assert await process.stop(GRACE_S) == 0
        await environment.start(command, f"new-{command}")
        await playing
    # and back again: a version that does not please
    playing = asyncio.create_task(ledger.play_all([VOCALS, ALL_STEMS] * 2))
    assert await worker.stop(GRACE_S) == 0
    await playing
    case.healed()
    await case.settle(ledger, "Old and new version side by side, forth and back")
