"""Misconfigurations of the machine."""

import asyncio
import re
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate

import pytest
from doctor_fixture import DoctorFixture
from misconfiguration import misconfiguration

from stemdrop.doctor.report import CheckResult


@misconfiguration(
    "this machine's clock is an hour behind",
    "machine: clock",
    " s behind (compared with Telegram, the API)",
    "set it, and keep it synchronized",
)
async def clock(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    async with ahead(doctor_fixture, "TELEGRAM_API_URL"), ahead(doctor_fixture, "SEPARATION_API_URL"):
        yield


@misconfiguration(
    "the provider's clock is an hour ahead",
    "machine: clock",
    " s ahead",
    "it is the server's fault",
    result=CheckResult.WARNING,
)
async def clock_of_the_api(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    async with ahead(doctor_fixture, "SEPARATION_API_URL"):
        yield


@asynccontextmanager
async def ahead(doctor_fixture: DoctorFixture, name: str) -> AsyncIterator[None]:
    """Set the clock of the server that the setting `name` names an hour ahead."""

    def change(said: bytes) -> bytes:
        date = formatdate(time.time() + 3600, usegmt=True).encode()
        return re.sub(rb"(?i)^date: .*(?=\r$)", b"date: " + date, said, flags=re.M)

    async with doctor_fixture.wire(doctor_fixture.environ[name], change=change) as port:
        doctor_fixture.environ[name] = f"http://127.0.0.1:{port}"
        yield


@misconfiguration(
    "the folder of temporary files is not writable",
    "machine: room for stems",
    "nothing can be written",
    "free some space, or set TMPDIR to a writable folder",
)
async def unwritable(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    doctor_fixture.folder = doctor_fixture.folder / "missing"
    yield


@misconfiguration(
    "the disk for temporary files is full",
    "machine: room for stems",
    "No space left on device",
    "free some space, or set TMPDIR to a writable folder",
)
async def full_disk(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    async with small_disk(doctor_fixture, "64k"):
        yield


@misconfiguration(
    "a disk too small for stems, and no worker yet",
    "machine: room for stems",
    "MB free in",
    "free some space, or set TMPDIR to a bigger disk",
    result=CheckResult.WARNING,
    also=["processes: worker"],
)
async def too_small_disk(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    await doctor_fixture.heartbeats("bot", "webhook")
    async with small_disk(doctor_fixture, "20m"):
        yield


@asynccontextmanager
async def small_disk(doctor_fixture: DoctorFixture, size: str) -> AsyncIterator[None]:
    """Mount a small file system for temporary files; skips the test without the permission for it."""
    folder = doctor_fixture.folder / "disk"
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "stemdrop", str(folder)]
    if not shutil.which("mount"):
        pytest.skip("only root may mount a small disk here")
    mounted = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("only root may mount a small disk here")
    doctor_fixture.folder = folder
    try:
        yield
    finally:
        await asyncio.to_thread(subprocess.run, ["umount", str(folder)], check=True)


@misconfiguration(
    "a disk too small for stems, where a worker runs",
    "machine: room for stems",
    "MB free in",
    "free some space, or set TMPDIR to a bigger disk",
)
async def too_small_for_the_worker(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    await doctor_fixture.heartbeats("bot", "webhook", "worker", host=socket.gethostname())
    async with small_disk(doctor_fixture, "20m"):
        yield


@misconfiguration(
    "`TMPDIR` is no folder",
    "machine: TMPDIR",
    "/nowhere is no folder",
    "create that folder, or set TMPDIR to an existing one",
    result=CheckResult.WARNING,
)
async def no_such_folder(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", "/nowhere")
        yield


@misconfiguration(
    "a disk too small for stems, where a bot runs",
    "machine: room for stems",
    "MB free in",
    "free some space, or set TMPDIR to a bigger disk",
    also=["processes: worker"],
)
async def too_small_for_the_bot(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    await doctor_fixture.heartbeats("bot", "webhook", host=socket.gethostname())
    async with small_disk(doctor_fixture, "20m"):
        yield
