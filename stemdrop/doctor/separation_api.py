"""Checks the separation API: the key, the credits, and the host to which sources are uploaded."""

import asyncio
from contextlib import suppress

from stemdrop.doctor.context import CheckContext
from stemdrop.doctor.report import SubjectReport
from stemdrop.doctor.server_requests import (
    ServerUnreachable,
    explained,
    origin,
    proxy_of,
    quoted,
    resolve,
    send,
)
from stemdrop.domain.abilities import ALL, Abilities
from stemdrop.domain.jobs import CREDITS
from stemdrop.errors import BadContract, Refused, SeparationError
from stemdrop.provider.sunoapi.client import SeparationClient
from stemdrop.services.admin_alerts import LOW_CREDITS
from stemdrop.services.stem_host import find_stem_host_problem

_BUY = "buy credits at the provider"
# The time for two of the longest songs, of an hour each, on two cores.
_HTDEMUCS_TIMEOUT_S = 7200


async def check_separation(context: CheckContext, report: SubjectReport) -> None:
    """Check the API without creating a task or uploading a file, so that nothing is charged."""
    upload_report = SubjectReport("separation API")
    await asyncio.gather(_check_key(context, report), _check_upload_host(context, upload_report))
    report.findings += upload_report.findings
    await check_stem_host(context, report)


async def _check_key(context: CheckContext, report: SubjectReport) -> None:
    settings, timeout_s = context.settings, context.timeouts.answer_s
    url, key = settings.separation_api_url, settings.separation_api_key.get_secret_value()
    client = SeparationClient(context.http, url, settings.upload_url, key)
    try:
        await resolve(context, url)
        async with asyncio.timeout(timeout_s):
            credits = await client.balance()
    except ServerUnreachable as error:
        report.wrong("API key", f"{origin(url)}: {error}", error.advice)
    except Refused as error:
        _explain_refusal(report, url, error)
    except (SeparationError, BadContract, TimeoutError) as error:
        cause = error if isinstance(error, TimeoutError) else error.__cause__
        if cause:
            problem = explained(cause, timeout_s, proxy_of(context, url))
            report.wrong("API key", f"{origin(url)}: {problem}", problem.advice)
        else:
            found = f"{origin(url)} answers, but not like the API: {error}"
            report.wrong("API key", found, "correct SEPARATION_API_URL, or try again later")
    else:
        report.ok("API key", f"{origin(url)} accepts it")
        abilities = await _abilities(client, timeout_s)
        _check_engine(report, abilities, settings.job_timeout_s)
        if not abilities.is_free:
            _check_credits(report, credits)


async def _abilities(client: SeparationClient, timeout_s: float) -> Abilities:
    with suppress(Refused, SeparationError, BadContract, TimeoutError):  # older separators cannot say
        async with asyncio.timeout(timeout_s):
            return await client.abilities()
    return ALL


def _check_engine(report: SubjectReport, abilities: Abilities, job_timeout_s: float) -> None:
    if abilities.engine:
        better = f"; for better stems run {abilities.engine_advice}" if abilities.engine_advice else ""
        report.ok("engine", f"own separator, engine {abilities.engine}{better}")
    if abilities.engine == "htdemucs":
        found = f"{job_timeout_s:.0f} s; on two cores htdemucs takes about as long as a song plays"
        report.rate(
            "JOB_TIMEOUT_S", found, "set JOB_TIMEOUT_S=10800", warning=job_timeout_s < _HTDEMUCS_TIMEOUT_S
        )


def _explain_refusal(report: SubjectReport, url: str, error: Refused) -> None:
    if error.code in (401, 403):
        report.wrong(
            "API key", f"{origin(url)} refuses it", "copy SEPARATION_API_KEY again from the provider"
        )
    elif error.code == 402:
        report.ok("API key", f"{origin(url)} accepts it")
        report.wrong("credits", "none are left", _BUY)
    elif error.code in (404, 405, 501):
        found = f"{origin(url)} does not know the request for credits (code {error.code})"
        report.wrong("API key", found, "correct SEPARATION_API_URL")
    else:
        found = f"{origin(url)}: {quoted(str(error), 120)}"
        report.warning("API key", found, "try again later; the provider's status page may say more")


def _check_credits(report: SubjectReport, credits: float) -> None:
    is_low, is_out = credits < LOW_CREDITS, credits < min(CREDITS.values())
    report.rate("credits", f"{credits:,.0f} left", _BUY, wrong=is_out, warning=is_low)


async def check_stem_host(context: CheckContext, report: SubjectReport) -> None:
    """Check that stems, once paid for, could be downloaded."""
    settings, host = context.settings, context.settings.known_stem_host
    if not host:
        return
    if proxy := proxy_of(context, f"https://{host}"):
        report.ok("stem host", f"{host}, through the proxy {proxy}")
    elif problem := await find_stem_host_problem(settings):
        found, _, advice = problem.partition("; " if "; " in problem else ": ")
        report.wrong("stem host", found, advice)
    else:
        report.ok("stem host", f"{host} is reached directly")


async def _check_upload_host(context: CheckContext, report: SubjectReport) -> None:
    url = context.settings.upload_url
    if context.settings.public_url:
        report.unchecked("upload host", "not needed: sources are fetched from PUBLIC_URL")
        return
    try:
        response = await send(context, "GET", url)
    except ServerUnreachable as error:
        advice = "correct SEPARATION_UPLOAD_URL, or let this machine reach it"
        advice = error.advice if proxy_of(context, url) else advice
        report.wrong("upload host", f"{origin(url)}: {error}", advice)
        return
    found = f"{origin(url)} answers HTTP {response.status}"
    report.rate("upload host", found, "try again later", warning=response.status >= 500)
