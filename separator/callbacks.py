"""Sends callbacks, with a few retries."""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import time
from typing import Any
from urllib.parse import urlsplit

import httpx

from separator.settings import SeparatorSettings

_log = logging.getLogger(__name__)


class CallbackSender:
    """Posts results to clients. Only HTTP 200 counts as delivered."""

    def __init__(self, client: httpx.AsyncClient, settings: SeparatorSettings) -> None:
        self._client = client
        self._pauses_s = settings.callback_pauses_s
        self._timeout_s = settings.callback_timeout_s
        self._hmac_key = settings.callback_hmac_key

    async def send(self, url: str, task_id: str, body: dict[str, Any]) -> bool:
        """Post the callback, with retries; return False when every attempt has failed.

        A client that polls gives a host name under `.invalid`, which never resolves (RFC 2606). It gets no
        callback, and the result is True.
        """
        if (urlsplit(url).hostname or "").endswith(".invalid"):
            _log.info("task %s: no callback, its client polls", task_id)
            return True
        content = json.dumps(body).encode()
        for pause_s in (*self._pauses_s, None):
            problem = await self._attempt(url, task_id, content)
            if problem is None:
                return True
            _log.warning("task %s: callback failed: %s", task_id, problem)
            if pause_s is not None:
                await asyncio.sleep(pause_s)
        return False

    async def _attempt(self, url: str, task_id: str, content: bytes) -> str | None:
        """Return None when delivered, else the reason for the log."""
        headers = {"Content-Type": "application/json", **self._signature(task_id)}
        try:
            async with (
                asyncio.timeout(self._timeout_s),  # for the whole request; httpx's timeouts are per read
                self._client.stream("POST", url, content=content, headers=headers) as response,
            ):
                return None if response.status_code == 200 else f"answer {response.status_code}"
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, TimeoutError) as error:
            return type(error).__name__

    def _signature(self, task_id: str) -> dict[str, str]:
        if not self._hmac_key:
            return {}
        timestamp = str(int(time.time()))
        digest = hmac.new(self._hmac_key.encode(), f"{task_id}.{timestamp}".encode(), hashlib.sha256).digest()
        return {"X-Webhook-Timestamp": timestamp, "X-Webhook-Signature": base64.b64encode(digest).decode()}
