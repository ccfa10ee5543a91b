"""Wrong with the separation API."""

from collections.abc import AsyncIterator

from ailment import ailment, everywhere
from clinic import Clinic
from house import NOBODY
from starlette.responses import HTMLResponse, Response

from sandbox.environment.server import serve
from stemdrop.doctor.report import Result


@ailment(
    "an API key that the provider refuses",
    "separation API: API key",
    "refuses it",
    "copy SEPARATION_API_KEY anew",
)
async def wrong_key(clinic: Clinic) -> AsyncIterator[None]:
    clinic.environ["SEPARATION_API_KEY"] = "not-this-one"
    yield


@ailment(
    "no credits left",
    "separation API: credits",
    "0 left: too few for any song",
    "buy credits at the provider",
)
async def no_credits(clinic: Clinic) -> AsyncIterator[None]:
    clinic.provider.credits = 0
    yield


@ailment("no credits left, said as a refusal", "separation API: credits", "none are left", "buy credits")
async def credits_refused(clinic: Clinic) -> AsyncIterator[None]:
    clinic.provider.credits_refusal = (402, "insufficient credits")
    yield


@ailment("few credits left", "separation API: credits", "60 left", "buy credits", result=Result.WARNING)
async def few_credits(clinic: Clinic) -> AsyncIterator[None]:
    clinic.provider.credits = 60
    yield


@ailment(
    "the provider is under maintenance",
    "separation API: API key",
    "code 455",
    "try again later",
    result=Result.WARNING,
)
async def maintenance(clinic: Clinic) -> AsyncIterator[None]:
    clinic.provider.credits_refusal = (455, "maintenance")
    yield


@ailment("nobody at `SEPARATION_API_URL`", "separation API: API key", "refuses connections", "is it running")
async def no_api(clinic: Clinic) -> AsyncIterator[None]:
    clinic.environ["SEPARATION_API_URL"] = NOBODY
    yield


@ailment(
    "a web site at `SEPARATION_API_URL`",
    "separation API: API key",
    "not as the API does",
    "correct SEPARATION_API_URL",
)
async def site_for_api(clinic: Clinic) -> AsyncIterator[None]:
    async with serve(everywhere(lambda _: HTMLResponse("<title>Welcome</title>"))) as url:
        clinic.environ["SEPARATION_API_URL"] = url
        yield


@ailment(
    "no `PUBLIC_URL`, and nobody at the upload host",
    "separation API: upload host",
    "refuses connections",
    "correct SEPARATION_UPLOAD_URL",
)
async def no_upload_host(clinic: Clinic) -> AsyncIterator[None]:
    clinic.environ |= {"PUBLIC_URL": "", "SEPARATION_UPLOAD_URL": NOBODY}
    yield


@ailment(
    "no `PUBLIC_URL`, and an upload host that is out of order",
    "separation API: upload host",
    "answers HTTP 503",
    "try again later",
    result=Result.WARNING,
)
async def broken_upload_host(clinic: Clinic) -> AsyncIterator[None]:
    async with serve(everywhere(lambda _: Response(status_code=503))) as url:
        clinic.environ |= {"PUBLIC_URL": "", "SEPARATION_UPLOAD_URL": url}
        yield
