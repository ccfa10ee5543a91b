"""Verifies fal's webhooks (fal.ai/docs, 'Webhooks'): ED25519, by keys that fal publishes and changes."""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence

import httpx

from stemdrop.errors import AnswerLost, BadContract, ForgedRequest
from stemdrop.provider.fal.answers import read_keys
from stemdrop.provider.http_calls import HttpCalls
from stemdrop.provider.json_body import parse_json

# How far a signature's time may be off, in both directions (fal's documentation).
SIGNATURE_WINDOW_S = 300
# fal allows clients to cache its keys for a day.
KEEP_S = 24 * 3600
# For a signature that fits no known key, the keys are fetched again, at most once in this time.
RENEW_S = 60
# fal waits 15 seconds for the answer to a webhook.
_TIMEOUT = httpx.Timeout(5)
_SIGNATURE_BYTES = 64


class WebhookKeys:
    """fal's keys, fetched from `url` when the first webhook comes."""

    def __init__(self, calls: HttpCalls, url: str, clock: Callable[[], float] = time.time) -> None:
        self._calls = calls
        self._url = url
        self._clock = clock
        self._keys: Sequence[bytes] = ()
        self._fetched_at = 0.0

    async def check(self, headers: Mapping[str, str], body: bytes) -> None:
        """Verify a webhook. Raises `ForgedRequest`, or `SeparationError` if the keys cannot be fetched."""
        names = ("request-id", "user-id", "timestamp", "signature")
        request_id, user_id, timestamp, written = (headers.get(f"x-fal-webhook-{name}", "") for name in names)
        if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
            raise ForgedRequest("the callback's signature has no readable time")
        if abs(self._clock() - int(timestamp)) > SIGNATURE_WINDOW_S:
            raise ForgedRequest("the callback's signature is too old or too new")
        signature = _from_hex(written)
        message = "\n".join((request_id, user_id, timestamp, hashlib.sha256(body).hexdigest())).encode()
        for kept_for_s in (KEEP_S, RENEW_S):
            if self._clock() - self._fetched_at >= kept_for_s:
                await self._fetch()
            if _is_signed(message, signature, self._keys):
                return
        raise ForgedRequest("the callback's signature is wrong")

    async def _fetch(self) -> None:
        answer = await self._calls.send("GET", self._url, timeout=_TIMEOUT)
        if answer.status != 200:
            raise AnswerLost(f"fal answered HTTP {answer.status} instead of its keys")
        try:
            self._keys = read_keys(parse_json(answer.body))
        except BadContract as error:
            raise AnswerLost(f"fal's keys are not readable: {error}") from error
        self._fetched_at = self._clock()


def _from_hex(written: str) -> bytes:
    try:
        signature = bytes.fromhex(written)
    except ValueError:
        signature = b""
    if len(signature) != _SIGNATURE_BYTES:
        raise ForgedRequest("the callback's signature is not readable")
    return signature


def _is_signed(message: bytes, signature: bytes, keys: Sequence[bytes]) -> bool:
    # only processes that receive fal's webhooks load PyNaCl
    from nacl.exceptions import BadSignatureError  # noqa: PLC0415
    from nacl.signing import VerifyKey  # noqa: PLC0415

    for key in keys:
        try:
            VerifyKey(key).verify(message, signature)
        except (BadSignatureError, ValueError):
            continue
        return True
    return False
