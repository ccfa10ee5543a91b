"""Settings that are right each by itself and may still not be meant so."""

import re

from stemdrop.doctor.examination import Examination
from stemdrop.doctor.report import Notes
from stemdrop.errors import StoreUnavailable
from stemdrop.settings import SHORT_KEY
from stemdrop.storage.users import Users

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\s/:@?#]+)(:\d{1,5})?")


async def examine_choices(exam: Examination, notes: Notes) -> None:
    """All of it."""
    settings = exam.settings
    length = len(settings.secret_key.get_secret_value())
    if length < SHORT_KEY:
        advice = "make a longer one: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
        notes.warning("SECRET_KEY", f"{length} characters: links can be forged by trying keys", advice)
    else:
        notes.ok("SECRET_KEY", f"{length} characters")
    if settings.access == "open" and not settings.daily_credits:
        advice = "set DAILY_CREDITS, or ACCESS=invite"
        notes.warning("ACCESS", "open without DAILY_CREDITS: any stranger can spend all your credits", advice)
    else:
        limit = f"{settings.daily_credits} credits a day each" if settings.daily_credits else "no daily limit"
        notes.ok("ACCESS", f"{settings.access}, {limit}")
    _stem_hosts(exam, notes)
    await _admins(exam, notes)


def _stem_hosts(exam: Examination, notes: Notes) -> None:
    hosts = sorted(exam.settings.allowed_hosts)
    if bad := [host for host in hosts if not _HOST.fullmatch(host)]:
        advice = "write host or host:port, with commas between them"
        notes.wrong("STEM_HOSTS", f"{', '.join(bad)}: neither a host nor host:port", advice)
    elif hosts:
        notes.ok("STEM_HOSTS", f"private hosts that stems may come from: {', '.join(hosts)}")
    else:
        notes.ok("STEM_HOSTS", "empty: stems come from public addresses and the API's own")


async def _admins(exam: Examination, notes: Notes) -> None:
    if exam.heartbeats is None:
        notes.unchecked("admin", "without Redis nobody knows")
        return
    try:
        count = len(await Users(exam.redis, exam.settings).admins())
    except StoreUnavailable:
        notes.unchecked("admin", "Redis does not tell")
        return
    if count:
        notes.ok("admin", f"{count} run{'s' if count == 1 else ''} this bot")
    elif exam.settings.access == "invite":
        advice = (
            "open the link that the bot prints when it starts (in its log): whoever does first is the admin"
        )
        notes.warning("admin", "nobody runs this bot yet", advice)
    else:
        notes.warning("admin", "nobody runs this bot", "name yourself in ADMINS")
