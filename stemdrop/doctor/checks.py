"""Runs all checks of the doctor side by side, each subject within its timeout."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import httpx

from stemdrop.doctor.context import CheckContext, DoctorTimeouts
from stemdrop.doctor.machine import check_clock, check_disk, temporary_folder
from stemdrop.doctor.processes import check_processes
from stemdrop.doctor.public_address import check_public_address
from stemdrop.doctor.redis_server import check_redis
from stemdrop.doctor.report import Finding, SubjectReport
from stemdrop.doctor.separation_api import check_provider, check_separation
from stemdrop.doctor.setting_choices import check_settings
from stemdrop.doctor.telegram import check_telegram
from stemdrop.errors import StemdropError
from stemdrop.http.clients import client_options
from stemdrop.observability.logging import hidden
from stemdrop.provider.registry import provider_titles
from stemdrop.settings import Settings
from stemdrop.storage.connection import connect

log = logging.getLogger(__name__)

_SubjectCheck = Callable[[CheckContext, SubjectReport], Awaitable[None]]


async def run_checks(
    settings: Settings,
    timeouts: DoctorTimeouts | None = None,
    folder: Path | None = None,
    *,
    is_in_bot: bool = False,
) -> list[Finding]:
    """Check the settings against the real world. Spends no credits, confirms no updates, changes nothing.

    `folder`: the folder of temporary files; `is_in_bot`: the running bot itself performs the checks. Raises
    `StemdropError` when the trusted certificates cannot be read.
    """
    timeouts, folder = timeouts or DoctorTimeouts(), folder or temporary_folder()
    try:
        trusted = httpx.create_ssl_context()
    except OSError as error:
        raise StemdropError(f"SSL_CERT_FILE or SSL_CERT_DIR cannot be read: {error}") from error
    options = client_options(settings.proxies, verify=trusted)
    checks = _checks(settings)
    async with connect(settings.redis_url) as redis, httpx.AsyncClient(**options) as http:
        context = CheckContext(settings, timeouts, redis, http, trusted, folder, is_in_bot)
        http.event_hooks = {"response": [context.note_clock]}
        # first, since the other checks need the heartbeats
        redis_report = await _bounded("Redis", check_redis, context, timeouts.redis_s)
        others = await asyncio.gather(
            *(_bounded(subject, check, context, timeouts.subject_s) for subject, check in checks.items())
        )
    reports = dict(zip(checks, others, strict=True))
    check_clock(context, reports["machine"])
    in_order = [reports.pop("settings"), redis_report, *reports.values()]
    return _without_secrets([finding for it in in_order for finding in it.findings], settings)


def _checks(settings: Settings) -> dict[str, _SubjectCheck]:
    """Return the checks by their subject; each provider is a subject if several are to be asked."""
    providers = {
        title: partial(check_provider, name=name) for name, title in provider_titles(settings).items()
    }
    return {
        "settings": check_settings,
        "Telegram": check_telegram,
        **(providers or {"separation API": check_separation}),
        "public address": check_public_address,
        "machine": check_disk,
        "processes": check_processes,
    }


async def _bounded(name: str, check: _SubjectCheck, context: CheckContext, timeout_s: float) -> SubjectReport:
    report = SubjectReport(name)
    try:
        async with asyncio.timeout(timeout_s):
            await check(context, report)
    except TimeoutError:
        advice = "correct what is wrong, then run the doctor again"
        report.unchecked("the rest", f"it was not done within {timeout_s:g} s", advice)
    except Exception as error:
        log.exception("the doctor's check of %s failed", name)
        found = f"the doctor itself failed ({type(error).__name__})"
        report.unchecked("the rest", found, "please report this, with the traceback from the log")
    return report


def _without_secrets(findings: list[Finding], settings: Settings) -> list[Finding]:
    """Hide the secrets that a server's response may have repeated."""
    lines = [text for finding in findings for text in (finding.found, finding.advice)]
    shown = iter(hidden("\0".join(lines), settings.secrets).split("\0"))
    return [replace(finding, found=next(shown), advice=next(shown)) for finding in findings]
