"""The health of a bot: whether updates arrive, by polling or by webhook."""

import asyncio
import logging
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from telegram import Bot, WebhookInfo
from telegram.error import TelegramError

from stemdrop.chat.telegram_bot import parsing
from stemdrop.errors import TryLater

log = logging.getLogger(__name__)

# An empty poll takes 25 s, and Telegram may be slow.
LONGEST_SILENCE_S = 60.0
# Of two pollers each gets through now and then, so one success does not end the trouble.
DISTURBED_S = 60.0
WATCH_WEBHOOK_EVERY_S = 30.0
# An older error has passed: Telegram retries within two minutes, and waits up to one minute for an answer
# (tdlib's Bot API server).
TRIED_AGAIN_S = 300.0


class UpdateHealth:
    """The last results of polling, or of asking Telegram about the webhook."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._succeeded_at = clock()
        self._disturbed_at = -DISTURBED_S
        self._trouble = "no updates have been fetched yet"
        self._disturbance = ""

    def succeeded(self) -> None:
        self._succeeded_at = self._clock()
        self._trouble = ""

    def failed(self, trouble: str) -> None:
        """Note that updates do not arrive; `trouble` is a sentence for the operator."""
        self._trouble = trouble

    def disturbed(self, trouble: str) -> None:
        """Note that another program takes the updates; this stays trouble for `DISTURBED_S` seconds."""
        self._disturbed_at, self._disturbance = self._clock(), trouble
        self._trouble = trouble

    def trouble(self) -> str:
        """Return a sentence that says why no updates arrive; empty if they arrive."""
        now = self._clock()
        if now - self._disturbed_at < DISTURBED_S:
            return self._disturbance
        if not self._trouble and now - self._succeeded_at > LONGEST_SILENCE_S:
            return f"Telegram has not answered for {now - self._succeeded_at:.0f} s"
        return self._trouble


async def watch_webhook(
    bot: Bot,
    url: str,
    update_health: UpdateHealth,
    stop: asyncio.Event,
    every_s: float = WATCH_WEBHOOK_EVERY_S,
) -> None:
    """Ask Telegram every `every_s` seconds, until `stop` is set, whether it delivers updates to `url`."""
    while not stop.is_set():
        try:
            with parsing("getWebhookInfo"):
                info = await bot.get_webhook_info()
            trouble = _trouble(info, url, time.time() - TRIED_AGAIN_S)
        except (TelegramError, TryLater) as error:
            trouble = f"Telegram cannot be asked about the webhook: {error}"
        if trouble:
            log.warning("%s", trouble)
            update_health.failed(trouble)
        else:
            update_health.succeeded()
        try:
            await asyncio.wait_for(stop.wait(), every_s)
        except TimeoutError:
            continue


def _trouble(info: WebhookInfo, url: str, since: float) -> str:
    if info.url != url:
        # only the host: the path may contain a secret of another program
        elsewhere = urlsplit(info.url).hostname
        return f"Telegram brings this bot's updates elsewhere: {elsewhere or 'its webhook was removed'}"
    if info.pending_update_count and info.last_error_date and info.last_error_date.timestamp() > since:
        return f"Telegram could not bring updates: {info.last_error_message}"
    return ""
