"""The whole examination: every subject, side by side, and each within its time."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import httpx

from stemdrop.doctor.asking import place, time_said
from stemdrop.doctor.choices import examine_choices
from stemdrop.doctor.examination import Examination, Patience
from stemdrop.doctor.machine import examine_clock, examine_room, temporary_folder
from stemdrop.doctor.processes import examine_processes
from stemdrop.doctor.public_address import examine_public_address
from stemdrop.doctor.redis_server import examine_redis
from stemdrop.doctor.report import Finding, Notes
from stemdrop.doctor.separation import examine_separation
from stemdrop.doctor.telegram import examine_telegram
from stemdrop.observability.logging import hidden
from stemdrop.settings import Settings
from stemdrop.storage.connection import connect

log = logging.getLogger(__name__)

_Subject = Callable[[Examination, Notes], Awaitable[None]]


async def examine(
    settings: Settings,
    patience: Patience | None = None,
    folder: Path | None = None,
    *,
    is_in_bot: bool = False,
) -> list[Finding]:
    """Check the settings against the real world. `folder`: where temporary files lie; `is_in_bot`: the bot
    itself looks.

    Costs no credits, confirms no updates, changes nothing; raises nothing.
    """
    patience = patience or Patience()
    trusted = httpx.create_ssl_context()
    offsets: dict[str, float] = {}
    timekeepers = {
        place(settings.telegram_api_url): "Telegram",
        place(settings.separation_api_url): "the API",
    }

    async def note_time(answer: httpx.Response) -> None:
        name = timekeepers.get(place(str(answer.url)))
        if name and (offset := time_said(answer)) is not None:
            offsets[name] = offset

    async with (
        connect(settings.redis_url) as redis,
        httpx.AsyncClient(verify=trusted, event_hooks={"response": [note_time]}) as http,
    ):
        where = folder or temporary_folder()
        exam = Examination(settings, patience, redis, http, trusted, where, is_in_bot, offsets=offsets)
        # first, since others ask Redis who is there
        redis_notes = await _bounded("Redis", examine_redis, exam, patience.redis_s)
        others: dict[str, _Subject] = {
            "settings": examine_choices,
            "Telegram": examine_telegram,
            "separation API": examine_separation,
            "public address": examine_public_address,
            "machine": examine_room,
            "processes": examine_processes,
        }
        notes = await asyncio.gather(
            *(_bounded(name, subject, exam, patience.subject_s) for name, subject in others.items())
        )
    by_subject = dict(zip(others, notes, strict=True))
    examine_clock(exam, by_subject["machine"])
    in_order = [by_subject.pop("settings"), redis_notes, *by_subject.values()]
    return _hiding([finding for it in in_order for finding in it.findings], settings)


async def _bounded(name: str, subject: _Subject, exam: Examination, within_s: float) -> Notes:
    """What was found by then."""
    notes = Notes(name)
    try:
        async with asyncio.timeout(within_s):
            await subject(exam, notes)
    except TimeoutError:
        notes.unchecked(
            "the rest", f"it was not done within {within_s:g} s", "put right what is wrong, look again"
        )
    except Exception as error:
        log.debug("the doctor failed at %s", name, exc_info=True)
        notes.unchecked(
            "the rest", f"the doctor itself failed ({type(error).__name__})", "please report this"
        )
    return notes


def _hiding(findings: list[Finding], settings: Settings) -> list[Finding]:
    """No line holds a secret; a server's words that are repeated in one might."""
    translations = [text for finding in findings for text in (finding.found, finding.advice)]
    shown = iter(hidden("\0".join(translations), settings.secrets).split("\0"))
    return [replace(finding, found=next(shown), advice=next(shown)) for finding in findings]
