"""Misconfigurations of the separation API."""

from collections.abc import AsyncIterator

from doctor_fixture import DoctorFixture
from misconfiguration import everywhere, misconfiguration
from product import NOBODY
from starlette.responses import HTMLResponse, Response

from sandbox.environment.server import serve
from separator.reports import report_abilities
from stemdrop.doctor.report import CheckResult


@misconfiguration(
    "an API key that the provider refuses",
    "separation API: API key",
    "refuses it",
    "copy SEPARATION_API_KEY again",
)
async def wrong_key(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    doctor_fixture.environ["SEPARATION_API_KEY"] = "not-this-one"
    yield


@misconfiguration(
    "no credits left",
    "separation API: credits",
    "0 left",
    "buy credits at the provider",
)
async def no_credits(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    doctor_fixture.provider.credits = 0
    yield


@misconfiguration(
    "no credits left, reported as a refusal", "separation API: credits", "none are left", "buy credits"
)
async def credits_refused(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    doctor_fixture.provider.credits_refusal = (402, "insufficient credits")
    yield


@misconfiguration(
    "few credits left", "separation API: credits", "60 left", "buy credits", result=CheckResult.WARNING
)
async def few_credits(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    doctor_fixture.provider.credits = 60
    yield


@misconfiguration(
    "half an hour for a song with the engine `htdemucs`",
    "separation API: JOB_TIMEOUT_S",
    "1800 s; on two cores htdemucs takes about as long as a song plays",
    "set JOB_TIMEOUT_S=10800",
    result=CheckResult.WARNING,
)
async def short_time_for_htdemucs(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    doctor_fixture.provider.abilities = report_abilities("htdemucs", ("vocals",), {})
    yield


@misconfiguration(
    "the provider is under maintenance",
    "separation API: API key",
    "code 455",
    "try again later",
    result=CheckResult.WARNING,
)
async def maintenance(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    doctor_fixture.provider.credits_refusal = (455, "maintenance")
    yield


@misconfiguration(
    "no server at `SEPARATION_API_URL`", "separation API: API key", "refuses connections", "is it running"
)
async def no_api(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    doctor_fixture.environ["SEPARATION_API_URL"] = NOBODY
    yield


@misconfiguration(
    "a web site at `SEPARATION_API_URL`",
    "separation API: API key",
    "not like the API",
    "correct SEPARATION_API_URL",
)
async def site_for_api(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    async with serve(everywhere(lambda _: HTMLResponse("<title>Welcome</title>"))) as url:
        doctor_fixture.environ["SEPARATION_API_URL"] = url
        yield


@misconfiguration(
    "no `PUBLIC_URL`, and no server at the upload host",
    "separation API: upload host",
    "refuses connections",
    "correct SEPARATION_UPLOAD_URL",
)
async def no_upload_host(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    doctor_fixture.environ |= {"PUBLIC_URL": "", "SEPARATION_UPLOAD_URL": NOBODY}
    yield


@misconfiguration(
    "no `PUBLIC_URL`, and an upload host that answers 503",
    "separation API: upload host",
    "answers HTTP 503",
    "try again later",
    result=CheckResult.WARNING,
)
async def broken_upload_host(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    async with serve(everywhere(lambda _: Response(status_code=503))) as url:
        doctor_fixture.environ |= {"PUBLIC_URL": "", "SEPARATION_UPLOAD_URL": url}
        yield
