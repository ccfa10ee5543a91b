"""The queue of the bot's updates, delivered by long polling or by webhook.

An update stays until it is confirmed by a higher `offset` or by a 2xx of the webhook. (Telegram also drops it
after 24 hours.)
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx

from sandbox.telegram.errors import OTHER_POLLER, WEBHOOK_ACTIVE, conflict

# An offset further ahead than this confirms nothing (td/tddb: "Specified from_id is in the future").
_AHEAD = 10
# All kinds but those that a bot must ask for by name (core.telegram.org/bots/api#getupdates).
DEFAULT_KINDS = (
    *("message", "edited_message", "channel_post", "edited_channel_post"),
    *("callback_query", "my_chat_member"),
)


@dataclass(frozen=True)
class Webhook:
    url: str
    secret_token: str | None
    max_connections: int


class Updates:
    def __init__(
        self,
        clock: Callable[[], float],
        on_change: Callable[[], None],
        *,
        webhook_first_pause_s: float,
    ) -> None:
        """`on_change` is called when an update is confirmed and when a poller comes or goes."""
        self._clock = clock
        self._on_change = on_change
        self._first_pause_s = webhook_first_pause_s
        self._waiting: list[tuple[int, Any]] = []  # each with its number; a higher `offset` confirms it
        self.next_id = 700_000_000
        self._arrived = asyncio.Event()
        self._poller: object | None = None
        self._push: asyncio.Task[None] | None = None
        self._is_closed = False
        self.allowed_kinds: list[str] | None = None
        self.webhook: Webhook | None = None
        self.last_error_date: int | None = None
        self.last_error_message: str | None = None

    @property
    def waiting(self) -> list[tuple[int, Any]]:
        """The updates that are not confirmed, each with its number; a higher `offset` confirms it."""
        return self._waiting

    def restore(self, waiting: list[tuple[int, Any]], next_id: int) -> None:
        """Continue the queue of an earlier process; `start` continues its webhook."""
        self._waiting, self.next_id = waiting, next_id

    def start(self) -> None:
        """Begin to post updates to the webhook, if there is one; needs a running event loop."""
        if self.webhook is not None and self._push is None:
            self._push = asyncio.create_task(self._push_updates(self.webhook))

    @property
    def pending(self) -> list[dict[str, Any]]:
        return [update for _, update in self._waiting]

    @property
    def is_awaited(self) -> bool:
        return self._poller is not None or self.webhook is not None

    def add(self, kind: str, content: dict[str, Any]) -> None:
        """Queue one update if `allowed_updates` includes its kind."""
        if kind not in (self.allowed_kinds or DEFAULT_KINDS):
            return
        self.add_raw({"update_id": self.next_id, kind: content})

    def add_raw(self, update: Any) -> None:
        """Queue an update exactly as it is, also a malformed one; its number is `next_id`."""
        self._waiting.append((self.next_id, update))
        self.next_id += 1
        self._wake()

    def drop(self) -> None:
        self._waiting.clear()

    async def poll(self, offset: int | None, limit: int, timeout_s: float) -> list[dict[str, Any]]:
        """Confirm updates before `offset`, then wait. Raises 409 with a webhook or after a later call."""
        if self.webhook is not None:
            raise conflict(WEBHOOK_ACTIVE)
        me = self._poller = object()
        self._wake()
        try:
            return await self._poll(me, offset, limit, timeout_s)
        finally:
            if self._poller is me:
                self._poller = None
                self._on_change()

    async def _poll(
        self, me: object, offset: int | None, limit: int, timeout_s: float
    ) -> list[dict[str, Any]]:
        if offset is not None and offset < 0:
            del self._waiting[:offset]
        elif offset is not None and offset <= self.next_id + _AHEAD:
            self._waiting = [(number, update) for number, update in self._waiting if number >= offset]
        self._on_change()
        deadline = time.monotonic() + timeout_s
        while not self._waiting and not self._is_closed and (left_s := deadline - time.monotonic()) > 0:
            try:
                await asyncio.wait_for(self._arrived.wait(), left_s)
            except TimeoutError:
                break
            if self._poller is not me:
                raise conflict(OTHER_POLLER)
            if self.webhook is not None:
                raise conflict(WEBHOOK_ACTIVE)
        return self.pending[:limit]

    async def set_webhook(self, webhook: Webhook | None) -> None:
        """Post updates to this webhook from now on; None ends it."""
        await self._end_push()
        self.webhook = webhook
        self.last_error_date = self.last_error_message = None
        self._wake()
        self.start()

    async def close(self) -> None:
        self._is_closed = True
        await self._end_push()
        self._wake()

    async def _end_push(self) -> None:
        if self._push is not None:
            self._push.cancel()
            await asyncio.gather(self._push, return_exceptions=True)
            self._push = None

    def _wake(self) -> None:
        # The waiting tasks hold the old event; later ones get the new event.
        self._arrived.set()
        self._arrived = asyncio.Event()

    async def _push_updates(self, webhook: Webhook) -> None:
        headers = {}
        if webhook.secret_token is not None:
            headers["X-Telegram-Bot-Api-Secret-Token"] = webhook.secret_token
        pause_s = self._first_pause_s
        async with httpx.AsyncClient(headers=headers, timeout=30, trust_env=False) as client:
            while True:
                while not self._waiting:
                    await self._arrived.wait()
                first = self._waiting[0]
                error = await self._post(client, webhook.url, first[1])
                if error is None:
                    pause_s = self._first_pause_s
                    self._waiting = [waiting for waiting in self._waiting if waiting is not first]
                    self._on_change()
                    continue
                self.last_error_date, self.last_error_message = int(self._clock()), error
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, 60)

    @staticmethod
    async def _post(client: httpx.AsyncClient, url: str, update: Any) -> str | None:
        """Return None for a 2xx, else the error message for getWebhookInfo."""
        try:
            response = await client.post(url, json=update)
        except httpx.TimeoutException:
            return "Read timeout expired"
        except httpx.TransportError:
            return "Connection refused"
        if response.is_success:
            return None
        phrase = HTTPStatus(response.status_code).phrase
        return f"Wrong response from the webhook: {response.status_code} {phrase}"
