"""Misconfigurations of stemdrop's processes."""

from collections.abc import AsyncIterator
from dataclasses import replace

from doctor_fixture import DoctorFixture
from misconfiguration import misconfiguration

from stemdrop.doctor.report import CheckResult


@misconfiguration(
    "nothing runs yet",
    "processes: running",
    "no process of stemdrop",
    "start it: `stemdrop up`",
    result=CheckResult.WARNING,
)
async def nothing_runs(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    await doctor_fixture.heartbeats()
    doctor_fixture.timeouts = replace(doctor_fixture.timeouts, listen_s=0.1)
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
    "callbacks are not received",
    "start it: `stemdrop webhook`",
)
async def no_webhook(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    await doctor_fixture.heartbeats("bot", "worker")
    yield


@misconfiguration(
    "a bot that receives no updates", "processes: bot", "updates cannot be fetched", "look at its log"
)
async def troubled_bot(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    await doctor_fixture.heartbeats("webhook", "worker")
    await doctor_fixture.add_heartbeat("bot", "updates cannot be fetched: Timed out")
    yield


@misconfiguration(
    "two versions at the same time",
    "processes: versions",
    "0.0.1-older",
    "update all processes to the same version",
    result=CheckResult.WARNING,
)
async def two_versions(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    await doctor_fixture.heartbeats("bot", "webhook", "worker", release="0.0.1-older")
    yield


@misconfiguration(
    "a bot that was started just now",
    "processes: bot",
    "is still starting",
    "run the doctor again in a minute",
    result=CheckResult.WARNING,
)
async def beginning_bot(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    await doctor_fixture.heartbeats("webhook", "worker")
    await doctor_fixture.add_heartbeat("bot", "no updates have been fetched yet", age_s=5)
    yield
