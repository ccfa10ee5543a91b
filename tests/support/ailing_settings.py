"""Wrong in the settings, each of which is right by itself."""

from collections.abc import AsyncIterator

from ailment import ailment
from clinic import Clinic
from pydantic import SecretStr

from stemdrop.doctor.report import Result


@ailment(
    "`SECRET_KEY` of 8 characters",
    "settings: SECRET_KEY",
    "8 characters",
    "make a longer one",
    result=Result.WARNING,
)
async def short_key(clinic: Clinic) -> AsyncIterator[None]:
    clinic.environ["SECRET_KEY"] = "8-letter"
    async with clinic.behind(clinic.webhook(secret_key=SecretStr("8-letter"))):
        yield


@ailment(
    "`ACCESS=open` without `DAILY_CREDITS`",
    "settings: ACCESS",
    "any stranger can spend all your credits",
    "set DAILY_CREDITS, or ACCESS=invite",
    result=Result.WARNING,
)
async def open_house(clinic: Clinic) -> AsyncIterator[None]:
    clinic.environ["ACCESS"] = "open"
    yield


@ailment(
    "a URL in `STEM_HOSTS`",
    "settings: STEM_HOSTS",
    "https://cdn.example: neither",
    "write host or host:port, with commas between them",
)
async def url_for_host(clinic: Clinic) -> AsyncIterator[None]:
    clinic.environ["STEM_HOSTS"] = "10.0.0.5:9000, https://cdn.example"
    yield


@ailment(
    "nobody is admin yet",
    "settings: admin",
    "nobody runs this bot yet",
    "open the link",
    result=Result.WARNING,
)
async def no_admin(clinic: Clinic) -> AsyncIterator[None]:
    del clinic.environ["ADMINS"]
    yield


@ailment(
    "`ACCESS=open` and nobody in `ADMINS`",
    "settings: admin",
    "nobody runs this bot",
    "name yourself in ADMINS",
    result=Result.WARNING,
)
async def open_without_admin(clinic: Clinic) -> AsyncIterator[None]:
    del clinic.environ["ADMINS"]
    clinic.environ |= {"ACCESS": "open", "DAILY_CREDITS": "50"}
    yield
