"""Checks settings that are valid but may not be what the operator wants."""

from stemdrop.doctor.context import CheckContext
from stemdrop.doctor.report import SubjectReport
from stemdrop.errors import StoreUnavailable
from stemdrop.settings import SHORT_KEY
from stemdrop.storage.users import Users


async def check_settings(context: CheckContext, report: SubjectReport) -> None:
    """Check the settings' names, SECRET_KEY, ACCESS, STEM_HOSTS, and whether the bot has an admin."""
    settings = context.settings
    for warning in settings.warnings:
        name, _, advice = warning.partition(": ")
        report.warning("names", name, advice)
    length = len(settings.secret_key.get_secret_value())
    make = "python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
    advice = f"make a longer one, or links can be forged: {make}"
    report.rate("SECRET_KEY", f"{length} characters", advice, warning=length < SHORT_KEY)
    if settings.access == "open" and not settings.daily_credits:
        found = "open without DAILY_CREDITS: any stranger can spend all your credits"
        report.warning("ACCESS", found, "set DAILY_CREDITS, or ACCESS=invite")
    else:
        report.ok(
            "ACCESS", f"{settings.access}, {settings.daily_credits or 'unlimited'} credits a day per user"
        )
    _check_stem_hosts(context, report)
    await _check_admins(context, report)


def _check_stem_hosts(context: CheckContext, report: SubjectReport) -> None:
    settings = context.settings
    private = [*sorted(settings.stem_hosts), *map(str, settings.stem_networks)]
    if private:
        report.ok("STEM_HOSTS", f"stems may come from these private hosts: {', '.join(private)}")
    else:
        report.ok("STEM_HOSTS", "empty: stems come from public addresses and from the providers' own hosts")


async def _check_admins(context: CheckContext, report: SubjectReport) -> None:
    if context.heartbeats is None:
        report.unchecked("admin", "this needs Redis")
        return
    try:
        count = len(await Users(context.redis, context.settings).admins())
    except StoreUnavailable:
        report.unchecked("admin", "Redis does not answer")
        return
    if count:
        report.ok("admin", f"{count} admin{'' if count == 1 else 's'}")
    elif context.settings.access == "invite":
        advice = "open the link in the log of the bot's start: the first user to open it becomes admin"
        report.warning("admin", "this bot has no admin yet", advice)
    else:
        report.warning("admin", "this bot has no admin", "name yourself in ADMINS")
