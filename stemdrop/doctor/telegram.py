"""Telegram: the token, how updates come, who else fetches them, and the files of one's own Bot API server."""

import asyncio
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from stemdrop.doctor.asking import NoAnswer, ask, shown, words_of
from stemdrop.doctor.examination import Examination
from stemdrop.doctor.report import Notes
from stemdrop.errors import StoreUnavailable
from stemdrop.http.signed_links import SignedLinks
from stemdrop.storage.heartbeats import BEAT_S
from stemdrop.storage.job_store import JobStore

MANY_PENDING = 50
# A failure of Telegram's webhook calls that is older is no news.
RECENT_S = 600
_PUBLIC = "https://api.telegram.org"
_OTHER = "stop the other program, or give this bot a token of its own (@BotFather, /newbot)"
# A bot of ours that is not in this Redis: of a version that does not say so, or with another Redis.
_OR_OURS = f"{_OTHER}; if it is a bot of yours, all its processes need the same version and REDIS_URL"
_FILES_ASKED = 3


async def examine_telegram(exam: Examination, notes: Notes) -> None:
    """All of it. Nothing is confirmed, set or sent."""
    try:
        status, answer = await _call(exam, "getMe")
    except NoAnswer as error:
        notes.wrong("bot token", f"{shown(exam.settings.telegram_api_url)}: {error}", error.advice)
        return
    if status in (401, 404) and answer:
        notes.wrong("bot token", "Telegram refuses it", "copy TELEGRAM_BOT_TOKEN anew from @BotFather")
        return
    name = answer.get("result", {}).get("username") if answer.get("ok") else None
    if not name:
        found = f"{shown(exam.settings.telegram_api_url)} answers HTTP {status}, and not as the Bot API does"
        notes.wrong("bot token", found, f"correct TELEGRAM_API_URL ({_PUBLIC}), or try again later")
        return
    notes.ok("bot token", f"@{name}")
    try:
        await _updates(exam, notes)
    except NoAnswer as error:
        notes.wrong("updates", str(error), error.advice)
    try:
        await examine_files(exam, notes)
    except NoAnswer as error:
        notes.wrong("files", str(error), error.advice)


async def _call(
    exam: Examination, method: str, timeout_s: float = 0, **parameters: object
) -> tuple[int, dict[str, Any]]:
    """Status and body, empty where it is none of the Bot API's. Raises `NoAnswer`."""
    token = exam.settings.telegram_bot_token.get_secret_value()
    url = f"{exam.settings.telegram_api_url}/bot{token}/{method}"
    how: dict[str, object] = {"timeout_s": timeout_s} if timeout_s else {}
    answer = await ask(exam, "POST", url, json=parameters, **how)
    return answer.status, answer.facts if "ok" in answer.facts else {}


async def _updates(exam: Examination, notes: Notes) -> None:
    _, answer = await _call(exam, "getWebhookInfo")
    info = answer.get("result") or {}
    pending, url = int(info.get("pending_update_count", 0)), str(info.get("url", ""))
    if exam.settings.telegram_updates == "webhook":
        _pushed(exam, notes, info)
        notes.unchecked("second poller", "not needed: Telegram posts the updates")
    else:
        _polled(exam, notes, url)
        if url:
            notes.unchecked("second poller", "nobody can poll while a webhook is set")
        else:
            await _second_poller(exam, notes, pending)
    _pending(exam, notes, pending)


def _polled(exam: Examination, notes: Notes, url: str) -> None:
    if not url:
        notes.ok("webhook", "none is set, as polling needs it")
        return
    found = f"updates go to a webhook at {words_of(shown(url))}, so nobody can fetch them"
    if exam.present("bot"):
        notes.wrong("webhook", f"{found}: another program has set it since our bot began", _OTHER)
    else:
        advice = (
            "the bot removes it when it starts; if another program needs it, that one needs another token"
        )
        notes.warning("webhook", found, advice)


def _pushed(exam: Examination, notes: Notes, info: dict[str, Any]) -> None:
    ours = SignedLinks(exam.settings.secret_key.get_secret_value(), exam.settings.public_url).updates_url
    url = str(info.get("url", ""))
    if url != ours:
        found = f"it is set to {words_of(shown(url))}, not to this webhook" if url else "none is set"
        if exam.present("bot"):
            notes.wrong("webhook", found, _OTHER)
        else:
            notes.warning("webhook", found, "start the bot: it sets the webhook")
    elif info.get("pending_update_count") and time.time() - int(info.get("last_error_date", 0)) < RECENT_S:
        found = f"Telegram cannot deliver: {words_of(str(info.get('last_error_message', '')))}"
        notes.wrong("webhook", found, "see what is wrong with the public address; the updates wait meanwhile")
    else:
        notes.ok("webhook", "it is set to this webhook")


def _pending(exam: Examination, notes: Notes, pending: int) -> None:
    if pending > MANY_PENDING and exam.present("bot"):
        found = f"{pending} updates wait at Telegram although the bot runs"
        notes.warning("pending updates", found, "look at the bot's log")
    elif pending and not exam.present("bot"):
        notes.ok("pending updates", f"{pending} wait until the bot runs")
    else:
        notes.ok("pending updates", str(pending) if pending else "none")


async def _second_poller(exam: Examination, notes: Notes, pending: int) -> None:
    check = "second poller"
    if exam.heartbeats is None:
        notes.unchecked(check, "without Redis nobody knows whether our own bot polls")
        return
    # who was killed is in Redis for a while
    now = time.time() + exam.offsets.get("Redis", 0)
    bots = [bot for bot in exam.present("bot") if now - bot.seen_at < 3 * BEAT_S]
    if bots:  # which are not to be disturbed, and hear of the other by themselves
        trouble = next((bot.trouble for bot in bots if bot.trouble), "")
        if len(bots) > 1:
            hosts = ", ".join(sorted({bot.host for bot in bots}))
            advice = "run one bot, or set TELEGRAM_UPDATES=webhook, with which any number share the work"
            notes.wrong(check, f"{len(bots)} bots of ours poll ({hosts}); only one can", advice)
        elif "another program" in trouble:
            notes.wrong(check, trouble, _OTHER)
        elif trouble:
            notes.unchecked(check, f"our bot has another trouble: {trouble}")
        else:
            notes.ok(check, "our bot gets its updates undisturbed")
    elif exam.is_in_bot or exam.present("bot"):
        notes.unchecked(check, "our bot has not said just now how it is", "look again in a minute")
    elif pending:
        notes.ok(check, "nobody takes the updates that wait")
    elif await _is_polled(exam):
        notes.wrong(check, "another program polls with this bot's token; only one can", _OR_OURS)
    else:
        notes.ok(check, "nobody else polls")


async def _is_polled(exam: Examination) -> bool:
    """Poll for some seconds, without an offset, which confirms nothing: another poller ends that, or cannot
    go on itself and comes again. Telegram refuses the poll that was there first."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + exam.patience.listen_s
    while (left_s := deadline - loop.time()) > 0:
        hold_s = max(1, round(left_s))
        try:
            async with asyncio.timeout(left_s):
                status, answer = await _call(
                    exam, "getUpdates", hold_s + exam.patience.answer_s, timeout=hold_s, limit=1
                )
        except TimeoutError:
            return False
        if status == 409:
            return True
        if answer.get("result"):  # somebody writes to the bot just now, and nobody took it
            return False
        if status != 200:
            return False
    return False


async def examine_files(exam: Examination, notes: Notes) -> None:
    """A Bot API server with `--local` names paths on its disk, which must be ours too. Raises `NoAnswer`."""
    url, is_local = exam.settings.telegram_api_url, exam.settings.telegram_local_mode
    is_public = urlsplit(url).hostname == urlsplit(_PUBLIC).hostname
    if is_public and is_local:
        advice = "set TELEGRAM_API_URL to your own Bot API server, or TELEGRAM_LOCAL_MODE=false"
        notes.wrong("files", "TELEGRAM_LOCAL_MODE is on, but api.telegram.org is nobody's own server", advice)
        return
    if is_public:
        notes.ok("files", "from api.telegram.org, up to 20 MB")
        return
    path = await _some_file(exam)
    if path is None:
        why = "the bot knows no file yet to ask for"
        notes.unchecked("files", why, "send it a song, then look again")
    elif is_local and not path.startswith("/"):
        advice = "start the Bot API server with --local, or set TELEGRAM_LOCAL_MODE=false"
        notes.wrong(
            "files", "TELEGRAM_LOCAL_MODE is on, but the Bot API server does not run with --local", advice
        )
    elif is_local and not await asyncio.to_thread(Path(path).is_file):
        advice = "mount its directory here under the same path, readable for stemdrop's user"
        notes.wrong("files", "the Bot API server's files are not on a disk that is visible here", advice)
    elif not is_local and path.startswith("/"):
        advice = "set TELEGRAM_LOCAL_MODE=true, and mount its directory here under the same path"
        notes.wrong("files", "the Bot API server runs with --local, but TELEGRAM_LOCAL_MODE is off", advice)
    else:
        notes.ok("files", "on the disk that is shared with it" if is_local else "from this Bot API server")


async def _some_file(exam: Examination) -> str | None:
    """Where the server says a song lies that somebody sent, if there is one."""
    if exam.heartbeats is None:
        return None
    store = JobStore(exam.redis)
    try:
        jobs = await store.delivered_jobs(_FILES_ASKED) or await store.open_jobs()
    except StoreUnavailable:
        return None
    for job in jobs[-_FILES_ASKED:]:
        _, answer = await _call(exam, "getFile", file_id=job.source.file_id)
        if path := (answer.get("result") or {}).get("file_path"):
            return str(path)
    return None
