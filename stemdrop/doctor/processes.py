"""The processes of ours that say that they are there, and whether they are well."""

import time
from importlib.metadata import version

from stemdrop.doctor.examination import Examination
from stemdrop.doctor.report import Notes
from stemdrop.storage.heartbeats import Heartbeat

# Who has just been started may not have come to its work yet.
BEGINNING_S = 60

_ROLES = ("bot", "webhook", "worker")
_FOR = {
    "bot": "nobody answers users",
    "webhook": "nobody takes callbacks or serves sources",
    "worker": "nothing is submitted or delivered",
}


async def examine_processes(exam: Examination, notes: Notes) -> None:
    """Those that are needed, by role; their versions."""
    present = exam.heartbeats
    if present is None:
        notes.unchecked("running", "without Redis nobody knows")
        return
    if not present:
        advice = "start it: `stemdrop up`, or `docker compose up -d`"
        notes.warning("running", "no process of stemdrop runs with this Redis", advice)
        return
    for role in _ROLES:
        if there := exam.present(role):
            _role(notes, role, there)
        elif role != "webhook" or exam.settings.public_url:
            notes.wrong(role, f"none runs: {_FOR[role]}", f"start it: `stemdrop {role}`")
        else:
            notes.unchecked(role, "not needed without PUBLIC_URL")
    versions = sorted({it.version for it in present} | {version("stemdrop")})
    if len(versions) > 1:
        advice = "update all processes to the same version, and start them anew"
        notes.warning(
            "versions", f"{', '.join(versions)} side by side (this one: {version('stemdrop')})", advice
        )
    else:
        notes.ok("versions", versions[0])


def _role(notes: Notes, role: str, there: list[Heartbeat]) -> None:
    troubled = [it for it in there if it.trouble]
    told = "; ".join(f"{it.host}: {it.trouble}" for it in troubled)
    if troubled and all(time.time() - it.started_at < BEGINNING_S for it in troubled):
        notes.warning(role, f"{len(troubled)} of {len(there)} just begins: {told}", "look again in a minute")
    elif troubled:
        notes.wrong(role, f"{len(troubled)} of {len(there)} cannot do its work: {told}", "its log says more")
    else:
        hosts = ", ".join(dict.fromkeys(it.host for it in there))
        notes.ok(role, f"{len(there)} {'runs' if len(there) == 1 else 'run'}, well ({hosts})")
