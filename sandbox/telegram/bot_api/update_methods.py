"""Bot API methods for updates: getUpdates and the three webhook methods."""

import asyncio
import re
from typing import Any
from urllib.parse import urlsplit

from sandbox.telegram.bot_api.parameters import Call
from sandbox.telegram.errors import bad_request
from sandbox.telegram.state import TelegramState
from sandbox.telegram.updates import Webhook

_PORTS = (443, 80, 88, 8443)  # core.telegram.org/bots/api#setwebhook
_LONGEST_POLL_S = 50  # of the public Bot API server
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


async def get_updates(telegram: TelegramState, call: Call) -> list[dict[str, Any]]:
    _store_allowed_kinds(telegram, call)
    limit = min(max(call.get("limit") or 100, 1), 100)
    timeout_s = min(max(call.get("timeout") or 0, 0), _LONGEST_POLL_S)
    poll = asyncio.ensure_future(telegram.updates.poll(call.get("offset"), limit, timeout_s))
    gone = asyncio.ensure_future(call.wait_disconnect())
    try:
        await asyncio.wait((poll, gone), return_when=asyncio.FIRST_COMPLETED)
        # A client that disconnected gets no updates, and confirms none.
        return poll.result() if poll.done() else []
    finally:
        poll.cancel()
        gone.cancel()
        await asyncio.gather(poll, gone, return_exceptions=True)


async def set_webhook(telegram: TelegramState, call: Call) -> bool:
    url = call.get("url") or ""
    if not url:
        return await delete_webhook(telegram, call)
    secret = call.get("secret_token")
    if secret is not None and not re.fullmatch(r"[A-Za-z0-9_-]{1,256}", secret):
        raise bad_request("secret token contains unallowed characters")
    _check_url(url)
    _store_allowed_kinds(telegram, call)
    if call.get("drop_pending_updates"):
        telegram.updates.drop()
    await telegram.updates.set_webhook(Webhook(url, secret, call.get("max_connections") or 40))
    return True


async def delete_webhook(telegram: TelegramState, call: Call) -> bool:
    if call.get("drop_pending_updates"):
        telegram.updates.drop()
    await telegram.updates.set_webhook(None)
    return True


async def get_webhook_info(telegram: TelegramState, call: Call) -> dict[str, Any]:
    updates = telegram.updates
    info: dict[str, Any] = {
        "url": updates.webhook.url if updates.webhook else "",
        "has_custom_certificate": False,
        "pending_update_count": len(updates.pending),
    }
    if updates.webhook:
        info["max_connections"] = updates.webhook.max_connections
    if updates.allowed_kinds:
        info["allowed_updates"] = updates.allowed_kinds
    if updates.last_error_message:
        info |= {
            "last_error_date": updates.last_error_date,
            "last_error_message": updates.last_error_message,
        }
    return info


def _check_url(url: str) -> None:
    try:
        parts, port = urlsplit(url), urlsplit(url).port
    except ValueError as error:
        raise bad_request("bad webhook: invalid webhook URL specified") from error
    if parts.hostname in _LOOPBACK and parts.scheme in ("http", "https"):
        return  # the real Telegram refuses loopback; here the product has no certificate and no fixed port
    if parts.scheme != "https" or not parts.hostname:
        raise bad_request("bad webhook: An HTTPS URL must be provided for webhook")
    if (port or 443) not in _PORTS:
        raise bad_request("bad webhook: Webhook can be set up only on ports 80, 88, 443 or 8443")


def _store_allowed_kinds(telegram: TelegramState, call: Call) -> None:
    """Store `allowed_updates`, valid until the next call that has it; [] means the default."""
    kinds = call.get("allowed_updates")
    if kinds is None:
        return
    if not all(isinstance(kind, str) for kind in kinds):
        raise bad_request("allowed_updates must be an Array of String")
    telegram.updates.allowed_kinds = kinds or None
