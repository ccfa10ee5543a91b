"""`/doctor`: sends an admin the report of `stemdrop.doctor`."""

import asyncio
import logging
from collections.abc import Sequence

from telegram import Update
from telegram.constants import MessageLimit

from bot.access import is_for_admin
from bot.context import Context
from bot.replies import reply
from stemdrop.chat.translations import Language
from stemdrop.doctor.checks import run_checks
from stemdrop.doctor.report import CheckResult, Finding, count_results, summary
from stemdrop.settings import Settings

log = logging.getLogger(__name__)

_MARKS = {CheckResult.WRONG: "✗", CheckResult.WARNING: "!"}
_LONGEST = 500  # characters of a finding's text, and of its advice


class Doctor:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = asyncio.Lock()

    async def command(self, update: Update, context: Context) -> None:
        """Answer that the checks run, then replace that answer by the report; reports are made one by one."""
        message = update.effective_message
        if message is None or not await is_for_admin(update, context):
            return
        async with self._lock:
            shown = await reply(message, context.translate("doctor.looking"))
            findings = await run_checks(self._settings, is_in_bot=True)
            log.info("doctor for admin %d: %s", context.person.id, summary(findings))
            await shown.edit_text(report(findings, context.translate))


def report(findings: Sequence[Finding], translate: Language) -> str:
    """Return what is wrong, then the warnings, as far as they fit one message; findings are in English."""
    bad = [it for result in _MARKS for it in findings if it.result is result]
    fine = translate.plural("doctor.fine", count_results(findings)[CheckResult.OK])
    if not bad:
        return f"{translate('doctor.well')}\n{fine}"
    left = MessageLimit.MAX_TEXT_LENGTH - _length(
        f"{translate('doctor.bad')}\n\n\n\n{translate('doctor.rest')}\n{fine}"
    )
    lines = list[str]()
    for it in bad:
        line = (
            f"\n{_MARKS[it.result]} {it.subject}, {it.check}: {it.found[:_LONGEST]}\n→ {it.advice[:_LONGEST]}"
        )
        left -= _length(line) + 1
        if left < 0:
            break
        lines.append(line)
    rest = [translate("doctor.rest")] if len(lines) < len(bad) else []
    return "\n".join([translate("doctor.bad"), *lines, "", *rest, fine])


def _length(text: str) -> int:
    """Return the length as Telegram counts it."""
    return len(text.encode("utf-16-le")) // 2
