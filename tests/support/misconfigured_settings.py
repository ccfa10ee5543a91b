"""Settings that are valid but unwise."""

from collections.abc import AsyncIterator

from doctor_fixture import DoctorFixture
from misconfiguration import misconfiguration
from pydantic import SecretStr

from stemdrop.doctor.report import CheckResult


@misconfiguration(
    "`SECRET_KEY` of 8 characters",
    "settings: SECRET_KEY",
    "8 characters",
    "make a longer one",
    result=CheckResult.WARNING,
)
async def short_key(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    doctor_fixture.environ["SECRET_KEY"] = "8-letter"
    async with doctor_fixture.behind(doctor_fixture.webhook(secret_key=SecretStr("8-letter"))):
        yield


@misconfiguration(
    "`ACCESS=open` without `DAILY_CREDITS`",
    "settings: ACCESS",
    "any stranger can spend all your credits",
    "set DAILY_CREDITS, or ACCESS=invite",
    result=CheckResult.WARNING,
)
async def open_product(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    doctor_fixture.environ["ACCESS"] = "open"
    yield


@misconfiguration(
    "a mistyped name",
    "settings: names",
    "DAILY_CREDIT is no setting and has no effect",
    "is DAILY_CREDITS meant?",
    result=CheckResult.WARNING,
)
async def mistyped(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    doctor_fixture.environ["DAILY_CREDIT"] = "50"
    yield


@misconfiguration(
    "a bot without an admin",
    "settings: admin",
    "this bot has no admin yet",
    "open the link",
    result=CheckResult.WARNING,
)
async def no_admin(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    del doctor_fixture.environ["ADMINS"]
    yield


@misconfiguration(
    "`ACCESS=open` without `ADMINS`",
    "settings: admin",
    "this bot has no admin",
    "name yourself in ADMINS",
    result=CheckResult.WARNING,
)
async def open_without_admin(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    del doctor_fixture.environ["ADMINS"]
    doctor_fixture.environ |= {"ACCESS": "open", "DAILY_CREDITS": "50"}
    yield
