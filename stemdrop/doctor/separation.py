"""The separation API: the key, the credits, and where sources are uploaded."""

import asyncio

from stemdrop.doctor.asking import NoAnswer, ask, no_answer, resolve, shown, words_of
from stemdrop.doctor.examination import Examination
from stemdrop.doctor.report import Notes
from stemdrop.domain.jobs import CREDITS
from stemdrop.errors import BadContract, Refused, SeparationError
from stemdrop.provider.client import SeparationClient
from stemdrop.services.admin_alerts import LOW_CREDITS

_MORE = "buy credits at the provider"


async def examine_separation(exam: Examination, notes: Notes) -> None:
    """All of it. Nothing is created or uploaded, so nothing is charged."""
    upload_notes = notes.beside()
    await asyncio.gather(_key(exam, notes), _upload_host(exam, upload_notes))
    notes.findings += upload_notes.findings


async def _key(exam: Examination, notes: Notes) -> None:
    settings, patience = exam.settings, exam.patience
    url = settings.separation_api_url
    client = SeparationClient(
        exam.http, url, settings.upload_url, settings.separation_api_key.get_secret_value()
    )
    try:
        await resolve(exam, url)
        async with asyncio.timeout(patience.answer_s):
            credits = await client.credits()
    except NoAnswer as error:
        notes.wrong("API key", f"{shown(url)}: {error}", error.advice)
    except Refused as error:
        _refused(notes, url, error)
    except (SeparationError, BadContract, TimeoutError) as error:
        cause = error if isinstance(error, TimeoutError) else error.__cause__
        if cause:
            trouble = no_answer(cause, patience.answer_s)
            notes.wrong("API key", f"{shown(url)}: {trouble}", trouble.advice)
        else:
            advice = "correct SEPARATION_API_URL, or try again later"
            notes.wrong("API key", f"{shown(url)} answers, but not as the API does: {error}", advice)
    else:
        notes.ok("API key", f"{shown(url)} takes it")
        _credits(notes, credits)


def _refused(notes: Notes, url: str, error: Refused) -> None:
    if error.code in (401, 403):
        notes.wrong(
            "API key", f"{shown(url)} refuses it", "copy SEPARATION_API_KEY anew from the provider's page"
        )
    elif error.code == 402:
        notes.ok("API key", f"{shown(url)} takes it")
        notes.wrong("credits", "none are left", _MORE)
    elif error.code in (404, 405, 501):
        found = f"{shown(url)} does not know the question for credits (code {error.code})"
        notes.wrong("API key", found, "correct SEPARATION_API_URL")
    else:
        advice = "try again later; the provider's status page may tell more"
        notes.warning("API key", f"{shown(url)}: {words_of(str(error), 120)}", advice)


def _credits(notes: Notes, credits: float) -> None:
    found = f"{credits:,.0f} left"
    if credits < min(CREDITS.values()):
        notes.wrong("credits", f"{found}: too few for any song", _MORE)
    elif credits < LOW_CREDITS:
        notes.warning("credits", found, f"{_MORE} soon")
    else:
        notes.ok("credits", found)


async def _upload_host(exam: Examination, notes: Notes) -> None:
    url = exam.settings.upload_url
    if exam.settings.public_url:
        notes.unchecked("upload host", "not needed: sources are fetched from PUBLIC_URL")
        return
    advice = "correct SEPARATION_UPLOAD_URL, or let this machine reach it"
    try:
        answer = await ask(exam, "GET", url)
    except NoAnswer as error:
        notes.wrong("upload host", f"{shown(url)}: {error}", advice)
        return
    if answer.status >= 500:
        notes.warning("upload host", f"{shown(url)} answers HTTP {answer.status}", "try again later")
    else:
        notes.ok("upload host", f"{shown(url)} answers")
