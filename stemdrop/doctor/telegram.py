"""Checks Telegram: the token, how updates arrive, other pollers, and the files of a local Bot API server."""

import asyncio
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from stemdrop.chat.shared_disk import readable_size
from stemdrop.doctor.context import CheckContext
from stemdrop.doctor.report import SubjectReport
from stemdrop.doctor.server_requests import ServerUnreachable, origin, quoted, send
from stemdrop.errors import SourceGone, SourceUnavailable, StoreUnavailable
from stemdrop.http.signed_links import SignedLinks
from stemdrop.storage.heartbeats import BEAT_S
from stemdrop.storage.job_store import JobStore

MANY_PENDING = 50
# Older errors of Telegram's requests to the webhook are ignored.
RECENT_S = 600
_PUBLIC = "https://api.telegram.org"
_STOP_IT = "stop the other program, or give this bot a token of its own (@BotFather, /newbot)"
# Our own bot is unknown here if it is an old version, or if it uses another Redis.
_STOP_IT_OR_OURS = f"{_STOP_IT}; if it is your own bot, all its processes need the same version and REDIS_URL"
_MOUNT = "mount its folder here under the same path, readable for stemdrop's user"
_FILES_ASKED = 3


async def check_telegram(context: CheckContext, report: SubjectReport) -> None:
    """Check Telegram without confirming updates, setting a webhook or sending anything."""
    server = origin(context.settings.telegram_api_url)
    try:
        status, answer = await _call(context, "getMe")
    except ServerUnreachable as error:
        report.wrong("bot token", f"{server}: {error}", error.advice)
        return
    if status in (401, 404) and answer:
        report.wrong("bot token", "Telegram refuses it", "copy TELEGRAM_BOT_TOKEN again from @BotFather")
        return
    name = answer.get("result", {}).get("username") if answer.get("ok") else None
    if not name:
        found = f"{server} answers HTTP {status}, but not like the Bot API"
        report.wrong("bot token", found, f"correct TELEGRAM_API_URL ({_PUBLIC}), or try again later")
        return
    report.ok("bot token", f"@{name}")
    for line, check in (("updates", _check_updates), ("files", check_files)):
        try:
            await check(context, report)
        except ServerUnreachable as error:
            report.wrong(line, str(error), error.advice)


async def _call(
    context: CheckContext, method: str, timeout_s: float = 0, **parameters: object
) -> tuple[int, dict[str, Any]]:
    """Return the HTTP status, and the Bot API's answer or an empty one. Raises `ServerUnreachable`."""
    token = context.settings.telegram_bot_token.get_secret_value()
    url = f"{context.settings.telegram_api_url}/bot{token}/{method}"
    response = await send(context, "POST", url, timeout_s=timeout_s, json=parameters)
    return response.status, response.json if "ok" in response.json else {}


async def _check_updates(context: CheckContext, report: SubjectReport) -> None:
    _, answer = await _call(context, "getWebhookInfo")
    info = answer.get("result") or {}
    pending, url = int(info.get("pending_update_count", 0)), str(info.get("url", ""))
    if context.settings.telegram_updates == "webhook":
        _check_our_webhook(context, report, info)
        report.unchecked("second poller", "not needed: Telegram posts the updates")
    else:
        _check_no_webhook(context, report, url)
        if url:
            report.unchecked("second poller", "polling is impossible while a webhook is set")
        else:
            await _check_second_poller(context, report, pending)
    _check_pending(context, report, pending)


def _check_no_webhook(context: CheckContext, report: SubjectReport, url: str) -> None:
    if not url:
        report.ok("webhook", "none is set, as polling requires")
        return
    found = f"Telegram posts updates to a webhook at {quoted(origin(url))}, so they cannot be polled"
    if context.processes("bot"):
        report.wrong("webhook", f"{found}: another program set it after our bot started", _STOP_IT)
    else:
        advice = "the bot removes it when it starts; a program that needs it must use another token"
        report.warning("webhook", found, advice)


def _check_our_webhook(context: CheckContext, report: SubjectReport, info: dict[str, Any]) -> None:
    settings, url = context.settings, str(info.get("url", ""))
    if url != SignedLinks(settings.secret_key.get_secret_value(), settings.public_url).updates_url:
        found = f"it is set to {quoted(origin(url))}, not to this webhook" if url else "none is set"
        if context.processes("bot"):
            report.wrong("webhook", found, _STOP_IT)
        else:
            report.warning("webhook", found, "start the bot: it sets the webhook")
    elif info.get("pending_update_count") and time.time() - int(info.get("last_error_date", 0)) < RECENT_S:
        found = f"Telegram cannot deliver: {quoted(str(info.get('last_error_message', '')))}"
        report.wrong(
            "webhook", found, "correct what is wrong with the public address; updates wait until then"
        )
    else:
        report.ok("webhook", "it is set to this webhook")


def _check_pending(context: CheckContext, report: SubjectReport, pending: int) -> None:
    is_running = bool(context.processes("bot"))
    if pending > MANY_PENDING and is_running:
        found = f"{pending} updates wait at Telegram although the bot runs"
        report.warning("pending updates", found, "look at the bot's log")
    elif pending and not is_running:
        report.ok("pending updates", f"{pending} wait until the bot runs")
    else:
        report.ok("pending updates", str(pending) if pending else "none")


async def _check_second_poller(context: CheckContext, report: SubjectReport, pending: int) -> None:
    check = "second poller"
    if context.heartbeats is None:
        report.unchecked(check, "this needs Redis, to know whether our own bot polls")
        return
    # the last heartbeat of a killed bot stays in Redis for a minute
    now = time.time() + context.offsets.get("Redis", 0)
    bots = [bot for bot in context.processes("bot") if now - bot.seen_at < 3 * BEAT_S]
    if bots:  # our bot must not be disturbed, and detects another poller itself
        trouble = next((bot.trouble for bot in bots if bot.trouble), "")
        if len(bots) > 1:
            hosts = ", ".join(sorted({bot.host for bot in bots}))
            advice = "run one bot, or set TELEGRAM_UPDATES=webhook, with which several share the work"
            report.wrong(check, f"{len(bots)} of our bots poll ({hosts}); only one can", advice)
        elif "another program" in trouble:
            report.wrong(check, trouble, _STOP_IT)
        elif trouble:
            report.unchecked(check, f"our bot has another problem: {trouble}")
        else:
            report.ok(check, "our bot receives its updates undisturbed")
    elif context.is_in_bot or context.processes("bot"):
        report.unchecked(check, "our bot sent no heartbeat just now", "run the doctor again in a minute")
    elif pending:
        report.ok(check, "nothing polls: updates are waiting")
    elif await _is_polled(context):
        report.wrong(check, "another program polls with this bot's token; only one can", _STOP_IT_OR_OURS)
    else:
        report.ok(check, "no other program polls")


async def _is_polled(context: CheckContext) -> bool:
    """Poll for some seconds without an offset, which confirms nothing; return whether another program polls.

    Telegram refuses the earlier of two polls with 409: another poller either ends our poll, or is refused
    because of ours and polls again.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + context.timeouts.listen_s
    while (left_s := deadline - loop.time()) > 0:
        hold_s = max(1, round(left_s))
        try:
            async with asyncio.timeout(left_s):
                status, answer = await _call(
                    context, "getUpdates", hold_s + context.timeouts.answer_s, timeout=hold_s, limit=1
                )
        except TimeoutError:
            return False
        if status == 409:
            return True
        if answer.get("result") or status != 200:  # an update that no other program took, or another error
            return False
    return False


async def check_files(context: CheckContext, report: SubjectReport) -> None:
    """Check that a local Bot API server's files can be read here. Raises `ServerUnreachable`."""
    url, is_local = context.settings.telegram_api_url, context.settings.telegram_local_mode
    if urlsplit(url).hostname == urlsplit(_PUBLIC).hostname:
        if is_local:
            found = "TELEGRAM_LOCAL_MODE is on, but api.telegram.org is no local server"
            report.wrong("files", found, "set TELEGRAM_API_URL to your own server, or switch it off")
        else:
            report.ok("files", "from api.telegram.org, up to 20 MB")
        return
    path = await _path_of_a_song(context)
    if path is None:
        report.unchecked("files", "no song was sent yet", "send the bot a song, then run the doctor again")
    elif is_local and not path.startswith("/"):
        found = "TELEGRAM_LOCAL_MODE is on, but the Bot API server does not run with --local"
        report.wrong("files", found, "start the server with --local, or set TELEGRAM_LOCAL_MODE=false")
    elif is_local and (problem := await asyncio.to_thread(_disk_problem, Path(path))):
        report.wrong("files", f"the Bot API server's files {problem}", _MOUNT)
    elif not is_local and path.startswith("/"):
        found = "the Bot API server runs with --local, but TELEGRAM_LOCAL_MODE is off"
        report.wrong("files", found, f"set TELEGRAM_LOCAL_MODE=true, and {_MOUNT}")
    else:
        report.ok("files", "on the disk shared with it" if is_local else "from this Bot API server")


def _disk_problem(path: Path) -> str:
    """Return why the file cannot be read here; empty if it can."""
    try:
        readable_size(path)
    except SourceGone:
        return "do not exist on this machine"
    except SourceUnavailable as error:
        return f"cannot be read: {error}"
    return ""


async def _path_of_a_song(context: CheckContext) -> str | None:
    """Return the server's path of a song that a user sent; None if there is no such song or path."""
    if context.heartbeats is None:
        return None
    store = JobStore(context.redis)
    try:
        jobs = await store.delivered_jobs(_FILES_ASKED) or await store.open_jobs()
    except StoreUnavailable:
        return None
    for job in jobs[-_FILES_ASKED:]:
        _, answer = await _call(context, "getFile", file_id=job.source.file_id)
        if path := (answer.get("result") or {}).get("file_path"):
            return str(path)
    return None
