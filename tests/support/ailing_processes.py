"""Wrong with the processes of ours."""

from collections.abc import AsyncIterator
from dataclasses import replace

from ailment import ailment
from clinic import Clinic

from stemdrop.doctor.report import Result


@ailment(
    "nothing runs yet",
    "processes: running",
    "no process of stemdrop",
    "start it: `stemdrop up`",
    result=Result.WARNING,
)
async def nothing_runs(clinic: Clinic) -> AsyncIterator[None]:
    await clinic.presences()
    clinic.patience = replace(clinic.patience, listen_s=0.1)
    yield


@ailment("no worker", "processes: worker", "nothing is submitted or delivered", "start it: `stemdrop worker`")
async def no_worker(clinic: Clinic) -> AsyncIterator[None]:
    await clinic.presences("bot", "webhook")
    yield


@ailment(
    "no webhook although `PUBLIC_URL` is set",
    "processes: webhook",
    "nobody takes callbacks",
    "start it: `stemdrop webhook`",
)
async def no_webhook(clinic: Clinic) -> AsyncIterator[None]:
    await clinic.presences("bot", "worker")
    yield


@ailment("a bot that gets no updates", "processes: bot", "updates cannot be fetched", "its log says more")
async def troubled_bot(clinic: Clinic) -> AsyncIterator[None]:
    await clinic.presences("webhook", "worker")
    await clinic.add_presence("bot", "updates cannot be fetched: Timed out")
    yield


@ailment(
    "two versions side by side",
    "processes: versions",
    "0.0.1-older",
    "update all processes to the same version",
    result=Result.WARNING,
)
async def two_versions(clinic: Clinic) -> AsyncIterator[None]:
    await clinic.presences("bot", "webhook", "worker", release="0.0.1-older")
    yield


@ailment(
    "a bot that has just been started",
    "processes: bot",
    "just begins",
    "look again in a minute",
    result=Result.WARNING,
)
async def beginning_bot(clinic: Clinic) -> AsyncIterator[None]:
    await clinic.presences("webhook", "worker")
    await clinic.add_presence("bot", "no updates have been fetched yet", age_s=5)
    yield
