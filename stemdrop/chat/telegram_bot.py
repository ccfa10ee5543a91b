"""The bot object that all processes use, with its timeouts and its limiter."""

import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from anyio import sleep
from telegram import InlineKeyboardMarkup, LinkPreviewOptions
from telegram.error import BadRequest, NetworkError, RetryAfter, TelegramError
from telegram.ext import BaseRateLimiter, Defaults, ExtBot

from stemdrop.chat.refusals import is_gone
from stemdrop.chat.telegram_request import TelegramRequest, Timeouts
from stemdrop.errors import TryLater
from stemdrop.observability.metric_definitions import FLOOD_SECONDS, FLOOD_WAITS, TELEGRAM_CALLS
from stemdrop.settings import Settings
from stemdrop.storage.counters import Counters
from stemdrop.storage.flood_limiter import FloodLimiter

log = logging.getLogger(__name__)

CHAT_ACTION = "sendChatAction"
# Calls that are not worth any delay.
_ORNAMENTS = (CHAT_ACTION, "setMessageReaction")
# A call waits for Telegram's limits for at most this long. If it had to wait longer, its task makes room for
# others and is run again later. A caller that holds files on disk names a longer time in `rate_limit_args`.
TELEGRAM_PATIENCE_S = 5.0
# Pauses between calls while Telegram cannot read a file.
UNAVAILABLE_PAUSES_S = (1.0, 2.0, 4.0)


class RateLimiter(BaseRateLimiter[float]):
    """Makes each call of python-telegram-bot wait for the limiter that all processes share."""

    def __init__(self, flood: FloodLimiter, counters: Counters | None = None) -> None:
        self._flood = flood
        self._counters = counters or Counters(None)
        self._takes_styles = True  # until the server refuses the styles of buttons

    async def initialize(self) -> None:
        """Do nothing: the library requires the method."""

    async def shutdown(self) -> None:
        """Do nothing: the library requires the method."""

    async def process_request(
        self,
        callback: Callable[..., Coroutine[Any, Any, Any]],
        args: Any,
        kwargs: dict[str, Any],
        endpoint: str,
        data: dict[str, Any],
        rate_limit_args: float | None,
    ) -> Any:
        """Make the call as soon as the limits allow it. Raises `TryLater` when that takes too long.

        `rate_limit_args` is how many seconds the call may wait (default: `TELEGRAM_PATIENCE_S`).
        """
        patience_s, seconds = rate_limit_args or TELEGRAM_PATIENCE_S, 0.0
        for _ in range(3):
            if messages := _messages(endpoint, data):
                await self._wait(data.get("chat_id"), messages, patience_s)
            if not self._takes_styles:
                _remove_styles(data)
            try:
                answer = await _while_unavailable(lambda: callback(*args, **kwargs))
                self._counters.add(TELEGRAM_CALLS, "ok")
                return answer
            except RetryAfter as error:
                if endpoint in _ORNAMENTS:
                    raise
                seconds = error._retry_after.total_seconds()
                self._counters.add(TELEGRAM_CALLS, "flood")
                self._count_wait("asked", seconds)
                if messages:
                    await self._flood.pause(seconds)
                elif seconds <= patience_s:
                    await sleep(seconds)
                else:
                    break
            except TelegramError as error:
                self._counters.add(TELEGRAM_CALLS, _outcome(error))
                if not (self._takes_styles and "button style" in str(error).lower()):
                    raise
                self._takes_styles = False
                log.info("Telegram's server takes no styles of buttons, so none are sent: %s", error)
        raise TryLater(seconds, "Telegram asks to slow down")

    async def _wait(self, chat_id: int | str | None, messages: int, patience_s: float) -> None:
        is_booked = False
        while not is_booked:
            delay_s, is_booked = await self._flood.reserve(chat_id, messages, patience_s)
            if delay_s == 0:
                return
            if delay_s > patience_s:
                self._count_wait("put_off", delay_s)
                raise TryLater(delay_s, "Telegram's flood limit")
            self._count_wait("waited", delay_s)
            patience_s -= delay_s
            await sleep(delay_s)
            if is_booked and await self._flood.is_paused():
                is_booked = False

    def _count_wait(self, how: str, seconds: float) -> None:
        self._counters.add(FLOOD_WAITS, how)
        self._counters.add(FLOOD_SECONDS, how, by=seconds)


async def _while_unavailable(call: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Make a call, and repeat it for some seconds while Telegram cannot read the file that it names."""
    for pause_s in UNAVAILABLE_PAUSES_S:
        try:
            return await call()
        except BadRequest as error:
            if not is_file_unavailable(error):
                raise
        await sleep(pause_s)
    return await call()


def _outcome(error: TelegramError) -> str:
    if is_gone(error):
        return "gone"
    if isinstance(error, BadRequest):  # a subclass of `NetworkError` in the library
        return "refused"
    return "network" if isinstance(error, NetworkError) else "failed"


def _messages(endpoint: str, data: dict[str, Any]) -> int:
    """Return the messages that Telegram's limits count for a call; 0 if it shows no message in the chat."""
    if endpoint == "sendMediaGroup":
        return len(data["media"])
    return 1 if endpoint.startswith(("send", "edit")) and endpoint != CHAT_ACTION else 0


def _remove_styles(data: dict[str, Any]) -> None:
    markup = data.get("reply_markup")
    if isinstance(markup, InlineKeyboardMarkup):
        rows = markup.to_dict()["inline_keyboard"]
        bare = [[{key: button[key] for key in button if key != "style"} for button in row] for row in rows]
        data["reply_markup"] = {"inline_keyboard": bare}


@contextmanager
def parsing(method: str) -> Iterator[None]:
    """Raise `TelegramError` where the library fails to parse Telegram's answer to this method."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise TelegramError(f"its answer to {method} cannot be parsed: {error}") from error


class _Bot(ExtBot[float]):
    """Hides the token, which the library's bot shows in `repr`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Bot({self.token.partition(':')[0]})"


def build_bot(settings: Settings, flood: FloodLimiter, counters: Counters | None = None) -> ExtBot[float]:
    """Build the bot with timeouts that fit 50 MB over a slow connection; the library's 5 s do not."""
    token, counters = settings.telegram_bot_token.get_secret_value(), counters or Counters(None)

    def request(connections: int, timeouts: Timeouts) -> TelegramRequest:
        return TelegramRequest(token, settings.proxies, counters, connections, timeouts)

    return _Bot(
        token=token,
        base_url=f"{settings.telegram_api_url}/bot",
        base_file_url=f"{settings.telegram_api_url}/file/bot",
        request=request(64, Timeouts()),
        get_updates_request=request(2, Timeouts(read_s=15)),
        rate_limiter=RateLimiter(flood, counters),
        # a web address in a title must not show a preview of that site
        defaults=Defaults(link_preview_options=LinkPreviewOptions(is_disabled=True)),
        local_mode=settings.telegram_local_mode,
    )


def is_file_unavailable(error: TelegramError) -> bool:
    """Return whether Telegram has the file but cannot read it now."""
    return "temporarily unavailable" in str(error).lower()
