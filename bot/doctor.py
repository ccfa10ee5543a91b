"""`/doctor`: whether everything works, and what to do where it does not (`stemdrop.doctor`), for admins."""

import asyncio
import logging
from collections.abc import Sequence

from telegram import Update
from telegram.constants import MessageLimit

from bot.admission import is_for_admin
from bot.answers import answer
from bot.context import Context
from stemdrop.chat.translations import Language
from stemdrop.doctor.checks import run_checks
from stemdrop.doctor.report import CheckResult, Finding, count_results, summary
from stemdrop.settings import Settings

log = logging.getLogger(__name__)

_MARKS = {CheckResult.WRONG: "✗", CheckResult.WARNING: "!"}
_LONGEST = 500  # of one finding's found, and of its advice


class Doctor:
    """The handler for `/doctor`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._turn = asyncio.Lock()

    async def command(self, update: Update, context: Context) -> None:
        """Look, which takes a while, and say so until then."""
        message = update.effective_message
        if message is None or not await is_for_admin(update, context):
            return
        async with self._turn:
            shown = await answer(message, context.say("doctor.looking"))
            findings = await run_checks(self._settings, is_in_bot=True)
            log.info("admin %d asked the doctor: %s", context.person.id, summary(findings))
            await shown.edit_text(report(findings, context.say))


def report(findings: Sequence[Finding], say: Language) -> str:
    """What is wrong, then what is to be looked at; the lines themselves are English. Fits one message."""
    bad = [it for result in _MARKS for it in findings if it.result is result]
    fine = say.plural("doctor.fine", count_results(findings)[CheckResult.OK])
    if not bad:
        return f"{say('doctor.well')}\n{fine}"
    room = MessageLimit.MAX_TEXT_LENGTH - _length(f"{say('doctor.bad')}\n\n\n\n{say('doctor.rest')}\n{fine}")
    lines = list[str]()
    for it in bad:
        line = (
            f"\n{_MARKS[it.result]} {it.subject}, {it.check}: {it.found[:_LONGEST]}\n→ {it.advice[:_LONGEST]}"
        )
        room -= _length(line) + 1
        if room < 0:
            break
        lines.append(line)
    rest = [say("doctor.rest")] if len(lines) < len(bad) else []
    return "\n".join([say("doctor.bad"), *lines, "", *rest, fine])


def _length(text: str) -> int:
    """As Telegram counts."""
    return len(text.encode("utf-16-le")) // 2
