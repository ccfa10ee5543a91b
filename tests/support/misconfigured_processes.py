"""Wrong with the processes of ours."""

from collections.abc import AsyncIterator
from dataclasses import replace

from doctor_fixture import DoctorFixture
from misconfiguration import misconfiguration

from stemdrop.doctor.report import Result


@misconfiguration(
    "nothing runs yet",
    "processes: running",
    "no process of stemdrop",
    "start it: `stemdrop up`",
    result=Result.WARNING,
)
async def nothing_runs(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    await doctor_fixture.heartbeats()
    doctor_fixture.patience = replace(doctor_fixture.patience, listen_s=0.1)
    yield


@misconfiguration(
    "no worker", "processes: worker", "nothing is submitted or delivered", "start it: `stemdrop worker`"
)
async def no_worker(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    await doctor_fixture.heartbeats("bot", "webhook")
    yield


@misconfiguration(
    "no webhook although `PUBLIC_URL` is set",
    "processes: webhook",
    "nobody takes callbacks",
    "start it: `stemdrop webhook`",
)
async def no_webhook(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    await doctor_fixture.heartbeats("bot", "worker")
    yield


@misconfiguration(
    "a bot that gets no updates", "processes: bot", "updates cannot be fetched", "its log says more"
)
async def troubled_bot(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    await doctor_fixture.heartbeats("webhook", "worker")
    await doctor_fixture.add_presence("bot", "updates cannot be fetched: Timed out")
    yield


@misconfiguration(
    "two versions side by side",
    "processes: versions",
    "0.0.1-older",
    "update all processes to the same version",
    result=Result.WARNING,
)
async def two_versions(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    await doctor_fixture.heartbeats("bot", "webhook", "worker", release="0.0.1-older")
    yield


@misconfiguration(
    "a bot that has just been started",
    "processes: bot",
    "just begins",
    "look again in a minute",
    result=Result.WARNING,
)
async def beginning_bot(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    await doctor_fixture.heartbeats("webhook", "worker")
    await doctor_fixture.add_presence("bot", "no updates have been fetched yet", age_s=5)
    yield
