"""Checks the machine on which the doctor runs: free space for stems, and the clock."""

import asyncio
import os
import shutil
import socket
import tempfile
from pathlib import Path

from stemdrop.doctor.context import CheckContext
from stemdrop.doctor.report import SubjectReport
from stemdrop.services.disk_space import BOT_MIN_FREE_BYTES, WORKER_MIN_FREE_BYTES, temp_root

_MEGABYTE = 1024 * 1024
# Tolerated difference to a server: its clock shows whole seconds, and the response takes time.
CLOCK_S = 30
# Tolerated difference between our machines: signatures of callbacks have a time window.
REDIS_CLOCK_S = 10
_SYNCHRONIZE = "`timedatectl set-ntp true`, or chrony"


def temporary_folder() -> Path:
    """Return the folder of temporary files, even if nothing can be written there."""
    try:
        return Path(temp_root())
    except OSError:  # Python found no writable folder
        return Path("/tmp")  # noqa: S108


async def check_disk(context: CheckContext, report: SubjectReport) -> None:
    """Check that stems can be written, and that bot and worker have enough free space."""
    folder = context.folder
    _check_tmpdir(report, folder)
    try:
        await asyncio.to_thread(_write_a_megabyte, folder)
        free = (await asyncio.to_thread(shutil.disk_usage, folder)).free
    except OSError as error:
        found = f"{folder}: nothing can be written ({error.strerror or type(error).__name__})"
        report.wrong("room for stems", found, "free some space, or set TMPDIR to a writable folder")
        return
    roles = {it.role for it in context.heartbeats or () if it.host == socket.gethostname()}
    found = f"{free // _MEGABYTE:,} MB free in {folder}"
    role = "bot" if "bot" in roles and "worker" not in roles else "worker"
    needed = BOT_MIN_FREE_BYTES if role == "bot" else WORKER_MIN_FREE_BYTES
    is_small = free < needed
    if (
        is_small
        and not roles & {"bot", "worker"}
        and (elsewhere := {it.host for it in context.processes("worker")})
    ):
        report.ok(
            "room for stems", f"{found}; workers run on other machines ({', '.join(sorted(elsewhere))})"
        )
        return
    advice = f"free some space, or set TMPDIR to a bigger disk: a {role} needs {needed // _MEGABYTE} MB"
    report.rate(
        "room for stems", found, advice, wrong=is_small and roles & {"bot", "worker"}, warning=is_small
    )


def _check_tmpdir(report: SubjectReport, folder: Path) -> None:
    named = os.environ.get("TMPDIR", "")
    if named and not Path(named).is_dir():
        advice = "create that folder, or set TMPDIR to an existing one"
        report.warning("TMPDIR", f"{named} is no folder: {folder} is used", advice)


def _write_a_megabyte(folder: Path) -> None:
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(_MEGABYTE))
        file.flush()


def check_clock(context: CheckContext, report: SubjectReport) -> None:
    """Compare the clock with those of the servers that the other checks asked."""
    # sorted, because the other checks add their servers in any order
    offsets = dict(sorted(context.offsets.items()))
    servers = {name: offset for name, offset in offsets.items() if name != "Redis"}
    wrong = {name: offset for name, offset in servers.items() if abs(offset) > CLOCK_S}
    if not offsets:
        report.unchecked("clock", "no server reported its time")
    elif wrong and len(wrong) == len(servers):
        found = (
            f"this machine is {_difference(-next(iter(wrong.values())))} (compared with {', '.join(wrong)})"
        )
        report.wrong("clock", found, f"set it, and keep it synchronized: {_SYNCHRONIZE}")
    elif wrong:
        found = "; ".join(f"{name} is {_difference(offset)}" for name, offset in wrong.items())
        report.warning("clock", found, "it is the server's fault: others agree with this machine")
    else:
        report.ok("clock", f"agrees with {', '.join(offsets)}")
    offset = offsets.get("Redis", 0)
    if abs(offset) > REDIS_CLOCK_S:
        advice = f"keep the clocks of all machines synchronized: {_SYNCHRONIZE}"
        report.warning("Redis' clock", f"Redis' machine is {_difference(offset)}", advice)


def _difference(offset_s: float) -> str:
    return f"{abs(offset_s):.0f} s {'ahead' if offset_s > 0 else 'behind'}"
