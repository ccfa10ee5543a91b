"""Wrong with the machine."""

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

from stemdrop.doctor.report import Result


@misconfiguration(
    "this machine's clock is an hour behind",
    "machine: clock",
    "3600 s behind",
    "set it, and keep it right",
)
async def clock(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    async with ahead(doctor_fixture, "TELEGRAM_API_URL"), ahead(doctor_fixture, "SEPARATION_API_URL"):
        yield


@misconfiguration(
    "the provider's clock is an hour ahead",
    "machine: clock",
    "the API is 3600 s ahead",
    "it is theirs",
    result=Result.WARNING,
)
async def clock_of_the_api(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    async with ahead(doctor_fixture, "SEPARATION_API_URL"):
        yield


@asynccontextmanager
async def ahead(doctor_fixture: DoctorFixture, name: str) -> AsyncIterator[None]:
    """The server of that setting has a clock that is an hour ahead."""

    def change(said: bytes) -> bytes:
        # a `Date` knows no fractions: just after a second's turn it is right for almost another
        time.sleep(1 - time.time() % 1)
        date = formatdate(time.time() + 3600, usegmt=True).encode()
        return re.sub(rb"(?i)^date: .*(?=\r$)", b"date: " + date, said, flags=re.M)

    async with doctor_fixture.wire(doctor_fixture.environ[name], change=change) as port:
        doctor_fixture.environ[name] = f"http://127.0.0.1:{port}"
        yield


@misconfiguration(
    "nothing can be written where temporary files lie",
    "machine: room for stems",
    "nothing can be written",
    "make room there, or let TMPDIR name",
)
async def unwritable(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    doctor_fixture.folder = doctor_fixture.folder / "missing"
    yield


@misconfiguration(
    "the disk for temporary files is full",
    "machine: room for stems",
    "No space left on device",
    "make room there, or let TMPDIR name",
)
async def full_disk(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    async with small_disk(doctor_fixture, "64k"):
        yield


@misconfiguration(
    "a disk too small for stems, and no worker yet",
    "machine: room for stems",
    "MB free in",
    "make room, or let TMPDIR name a bigger disk",
    result=Result.WARNING,
    also=["processes: worker"],
)
async def too_small_disk(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    await doctor_fixture.heartbeats("bot", "webhook")
    async with small_disk(doctor_fixture, "20m"):
        yield


@asynccontextmanager
async def small_disk(doctor_fixture: DoctorFixture, size: str) -> AsyncIterator[None]:
    """A file system of its own; whoever may not mount one cannot run this case."""
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
    "make room, or let TMPDIR name a bigger disk",
)
async def too_small_for_the_worker(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    await doctor_fixture.heartbeats("bot", "webhook", "worker", host=socket.gethostname())
    async with small_disk(doctor_fixture, "20m"):
        yield


@misconfiguration(
    "`TMPDIR` names no folder",
    "machine: TMPDIR",
    "/nowhere is no folder",
    "make that folder, or let TMPDIR name one that is there",
    result=Result.WARNING,
)
async def no_such_folder(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", "/nowhere")
        yield


@misconfiguration(
    "a disk too small for a bot to listen into files",
    "machine: room for stems",
    "MB free in",
    "make room: a bot that listens into files needs 80 MB",
    result=Result.WARNING,
    also=["processes: worker"],
)
async def too_small_for_the_bot(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    await doctor_fixture.heartbeats("bot", "webhook", host=socket.gethostname())
    async with small_disk(doctor_fixture, "20m"):
        yield
