"""Checks the running processes by the heartbeats that they send to Redis."""

import time
from importlib.metadata import version

from stemdrop.doctor.context import CheckContext
from stemdrop.doctor.report import SubjectReport
from stemdrop.storage.heartbeats import Heartbeat

# A process that was started less than this long ago may not work yet.
STARTING_S = 60

_WITHOUT = {
    "bot": "users get no answers",
    "webhook": "callbacks are not received and sources not served",
    "worker": "nothing is submitted or delivered",
}


async def check_processes(context: CheckContext, report: SubjectReport) -> None:
    heartbeats = context.heartbeats
    if heartbeats is None:
        report.unchecked("running", "this needs Redis")
        return
    if not heartbeats:
        found = "no process of stemdrop runs with this Redis"
        report.warning("running", found, "start it: `stemdrop up`, or `docker compose up -d`")
        return
    for role, consequence in _WITHOUT.items():
        if processes := context.processes(role):
            _check_role(report, role, processes)
        elif role != "webhook" or context.settings.public_url:
            report.wrong(role, f"none runs: {consequence}", f"start it: `stemdrop {role}`")
        else:
            report.unchecked(role, "not needed without PUBLIC_URL")
    versions = sorted({it.version for it in heartbeats} | {version("stemdrop")})
    advice = "update all processes to the same version, and restart them"
    report.rate("versions", ", ".join(versions), advice, warning=len(versions) > 1)


def _check_role(report: SubjectReport, role: str, processes: list[Heartbeat]) -> None:
    troubled = [it for it in processes if it.trouble]
    troubles = "; ".join(f"{it.host}: {it.trouble}" for it in troubled)
    of_all = f"{len(troubled)} of {len(processes)}"
    if troubled and all(time.time() - it.started_at < STARTING_S for it in troubled):
        report.warning(role, f"{of_all} is still starting: {troubles}", "run the doctor again in a minute")
    elif troubled:
        report.wrong(role, f"{of_all} cannot work: {troubles}", "look at its log")
    else:
        hosts = ", ".join(dict.fromkeys(it.host for it in processes))
        report.ok(role, f"{len(processes)} running ({hosts})")
