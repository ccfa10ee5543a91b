"""Checks the separation API: the key, the credits, and the host to which sources are uploaded.

If PROVIDERS names other providers, each provider is a subject of its own.
"""

import asyncio
import time
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
from stemdrop.errors import BadContract, Refused, SeparationError, StoreUnavailable
from stemdrop.provider.capabilities import CAPABILITIES
from stemdrop.provider.interface import Provider
from stemdrop.provider.registry import build_abilities_cache, build_providers, first_name
from stemdrop.services.stem_host import find_stem_host_problem
from stemdrop.storage.circuits import Circuits
from stemdrop.storage.counters import Counters

_BUY = "buy credits at the provider"
# The time for two of the longest songs, of an hour each, on two cores.
_HTDEMUCS_TIMEOUT_S = 7200


async def check_separation(context: CheckContext, report: SubjectReport) -> None:
    """Check the API without creating a task or uploading a file, so that nothing is charged."""
    await _check_first(context, report, _provider(context, first_name(context.settings)))


async def check_provider(context: CheckContext, report: SubjectReport, name: str) -> None:
    """Check one of several providers in the same way, and its songs, results, orders and price."""
    provider = _provider(context, name)
    if name == first_name(context.settings):
        await _check_first(context, report, provider)
    else:
        await _check_key(context, report, provider)
    _check_transfers(context, report, provider)
    await _check_orders(context, report, provider)


def _provider(context: CheckContext, name: str) -> Provider:
    return build_providers(context.settings, context.http, Counters(None))[name]


async def _check_first(context: CheckContext, report: SubjectReport, provider: Provider) -> None:
    upload_report = SubjectReport(report.subject)
    await asyncio.gather(_check_key(context, report, provider), _check_upload_host(context, upload_report))
    report.findings += upload_report.findings
    await check_stem_host(context, report)


async def _check_key(context: CheckContext, report: SubjectReport, provider: Provider) -> None:
    settings, timeout_s = context.settings, context.timeouts.answer_s
    # with which the names of the provider's settings begin
    prefix = "SEPARATION" if provider.name == first_name(settings) else provider.name.upper()
    url: str = getattr(settings, f"{prefix.lower()}_api_url")
    try:
        await resolve(context, url)
        async with asyncio.timeout(timeout_s):
            balance = await provider.balance()
        if balance is None:
            await send(context, "GET", url)
    except ServerUnreachable as error:
        report.wrong("API key", f"{origin(url)}: {error}", error.advice)
    except Refused as error:
        _explain_refusal(report, url, prefix, error)
    except (SeparationError, BadContract, TimeoutError) as error:
        cause = error if isinstance(error, TimeoutError) else error.__cause__
        if cause:
            problem = explained(cause, timeout_s, proxy_of(context, url))
            report.wrong("API key", f"{origin(url)}: {problem}", problem.advice)
        else:
            found = f"{origin(url)} answers, but not like the API: {error}"
            report.wrong("API key", found, f"correct {prefix}_API_URL, or try again later")
    else:
        if balance is None:
            found = (
                f"{origin(url)} answers, but has no question free of charge that shows whether it is right"
            )
            report.unchecked("API key", found)
            return
        report.ok("API key", f"{origin(url)} accepts it")
        abilities = await _abilities(provider, timeout_s)
        _check_engine(report, abilities, settings.job_timeout_s)
        if provider.capabilities.rates or not abilities.is_free:
            _check_credits(report, balance, provider)


async def _abilities(provider: Provider, timeout_s: float) -> Abilities:
    with suppress(Refused, SeparationError, BadContract, TimeoutError):  # older separators cannot say
        async with asyncio.timeout(timeout_s):
            return await provider.abilities() or ALL
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


def _explain_refusal(report: SubjectReport, url: str, prefix: str, error: Refused) -> None:
    if error.code in (401, 403):
        advice = f"copy {prefix}_API_KEY again from the provider"
        report.wrong("API key", f"{origin(url)} refuses it", advice)
    elif error.code == 402:
        report.ok("API key", f"{origin(url)} accepts it")
        report.wrong("credits", "none are left", _BUY)
    elif error.code in (404, 405, 501):
        found = f"{origin(url)} does not know the request for credits (code {error.code})"
        report.wrong("API key", found, f"correct {prefix}_API_URL")
    else:
        found = f"{origin(url)}: {quoted(str(error), 120)}"
        report.warning("API key", found, "try again later; the provider's status page may say more")


def _check_credits(report: SubjectReport, balance: float, provider: Provider) -> None:
    few, unit = provider.capabilities.few_left, provider.capabilities.balance_unit
    found = f"{balance:,.0f}{f' {unit}' if unit else ''} left"
    # `few_left` pays for two songs in all stems, and a tenth of it for no song at all
    report.rate("credits", found, _BUY, wrong=balance < few / 10, warning=balance < few)


def _check_transfers(context: CheckContext, report: SubjectReport, provider: Provider) -> None:
    capabilities, public_url = provider.capabilities, context.settings.public_url
    if public_url and capabilities.takes_url:
        report.ok("songs", "it fetches them from PUBLIC_URL")
    elif capabilities.takes_upload:
        report.ok("songs", "they are uploaded to it")
    else:
        advice = "set PUBLIC_URL, or take it out of PROVIDERS"
        report.wrong("songs", "it takes no uploads, and fetches songs only from PUBLIC_URL", advice)
    if not CAPABILITIES[provider.name].has_callbacks:
        report.ok("results", "polled: it has no callbacks")
    elif not public_url:
        report.ok("results", "polled: PUBLIC_URL is empty")
    elif not capabilities.has_callbacks:
        secret = f"{provider.name.upper()}_WEBHOOK_SECRET"
        report.ok("results", f"polled: {secret} is empty, so callbacks could not be verified")
    else:
        report.ok("results", "by callbacks to PUBLIC_URL")


async def _check_orders(context: CheckContext, report: SubjectReport, provider: Provider) -> None:
    """Check in Redis whether the provider gets orders, and what they cost."""
    try:
        circuit = await Circuits(context.redis).get(provider.name)
        abilities = await build_abilities_cache(context.settings, context.redis).of(provider.name)
    except StoreUnavailable:
        report.unchecked("orders", "this needs Redis")
        return
    if circuit.is_open:
        at = time.strftime("%H:%M:%S", time.localtime(time.time() + circuit.asked_again_s))
        found = f"it gets none until {at}: {quoted(circuit.why, 120)}"
        report.warning("orders", found, "it is asked again by itself; until then the other providers are")
    else:
        report.ok("orders", "it gets them")
    report.ok("price", f"{_price(abilities)}; its own price: {provider.capabilities.price_note}")


def _price(abilities: Abilities) -> str:
    """Return what users pay: `split_stem 50 credits`, or `split_stem 20 credits a minute`."""
    prices = (
        f"{mode} {it.per_minute:g} credits a minute" if it.per_minute else f"{mode} {it.price} credits"
        for mode, it in abilities.modes.items()
    )
    return "nothing" if abilities.is_free else ", ".join(prices)


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
