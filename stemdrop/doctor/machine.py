"""The machine that the doctor looks from: room for stems, and its clock."""

import asyncio
import os
import shutil
import socket
import tempfile
from pathlib import Path

from stemdrop.doctor.examination import Examination
from stemdrop.doctor.report import Notes

# A worker takes no job with less (`services.disk_space`); a bot inspects four files of 20 MB at once.
WORKER_NEEDS_MB = 512
BOT_NEEDS_MB = 80
_MEGABYTE = 1024 * 1024
# A clock may be off by so much: the time on a server's answer is whole seconds, and it was under way.
CLOCK_S = 30
# What the provider's signatures may be off (`links.SIGNATURE_WINDOW_S`), and two of our machines.
REDIS_S = 10


def temporary_folder() -> Path:
    """Where a worker puts stems: where TMPDIR says, even if nothing can be written there."""
    named = os.environ.get("TMPDIR", "")
    if named and Path(named).is_dir():
        return Path(named)
    try:
        return Path(tempfile.gettempdir())
    except OSError:  # it has tried all that it knows
        return Path("/tmp")  # noqa: S108


async def examine_room(exam: Examination, notes: Notes) -> None:
    """Whether stems can be written where temporary files lie."""
    folder = exam.folder
    _name(notes, folder)
    try:
        await asyncio.to_thread(_write, str(folder))
        free_mb = (await asyncio.to_thread(shutil.disk_usage, folder)).free // _MEGABYTE
    except OSError as error:
        found = f"{folder}: nothing can be written ({error.strerror or type(error).__name__})"
        notes.wrong(
            "room for stems", found, "make room there, or let TMPDIR name a folder that can be written to"
        )
        return
    here = socket.gethostname()
    roles = {it.role for it in exam.heartbeats or () if it.host == here}
    elsewhere = sorted({it.host for it in exam.present("worker")})
    found = f"{free_mb:,} MB free in {folder}"
    advice = f"make room, or let TMPDIR name a bigger disk: a worker needs {WORKER_NEEDS_MB} MB to take a job"
    if free_mb >= WORKER_NEEDS_MB:
        notes.ok("room for stems", found)
    elif "worker" in roles:
        notes.wrong("room for stems", found, advice)
    elif "bot" in roles and free_mb < BOT_NEEDS_MB:
        notes.warning(
            "room for stems", found, f"make room: a bot that listens into files needs {BOT_NEEDS_MB} MB"
        )
    elif elsewhere:
        notes.ok("room for stems", f"{found}; workers run elsewhere ({', '.join(elsewhere)})")
    else:
        notes.warning("room for stems", found, advice)


def _name(notes: Notes, folder: Path) -> None:
    named = os.environ.get("TMPDIR", "")
    if named and not Path(named).is_dir():
        advice = "make that folder, or let TMPDIR name one that is there"
        notes.warning("TMPDIR", f"{named} is no folder: {folder} is used", advice)


def _write(folder: str) -> None:
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(_MEGABYTE))
        file.flush()


def examine_clock(exam: Examination, notes: Notes) -> None:
    """Against what the servers say that were asked before."""
    outside = {name: offset for name, offset in exam.offsets.items() if name != "Redis"}
    off = {name: offset for name, offset in outside.items() if abs(offset) > CLOCK_S}
    if not exam.offsets:
        notes.unchecked("clock", "no server has said the time")
    elif off and len(off) == len(outside):
        found = f"this machine is {_by(-next(iter(off.values())))} ({', '.join(off)} says so)"
        notes.wrong("clock", found, "set it, and keep it right: `timedatectl set-ntp true`, or chrony")
    elif off:
        told = "; ".join(f"{name} is {_by(offset)}" for name, offset in off.items())
        notes.warning("clock", told, "it is theirs: others agree with this machine")
    else:
        notes.ok("clock", f"agrees with {', '.join(exam.offsets)}")
    redis = exam.offsets.get("Redis")
    if redis is not None and abs(redis) > REDIS_S:
        found = f"Redis' machine is {_by(redis)}, seen from here"
        notes.warning(
            "Redis' clock", found, "keep the clocks of all machines right: `timedatectl set-ntp true`"
        )


def _by(offset_s: float) -> str:
    size = abs(offset_s)
    return f"{size:.0f} s {'ahead' if offset_s > 0 else 'behind'}"
