"""Probes: whoever has laid one in Redis asks a webhook for it, and so learns whether it is the right one.

A probe serves once, and soon. A webhook that does not find it signs nothing.
"""

import hashlib
import hmac
import re
import secrets

from redis.asyncio import Redis

from stemdrop.storage.connection import translated
from stemdrop.storage.keys import PROBE, PROBE_LIFETIME_S

# What a webhook says of a probe that it does not find.
UNKNOWN = "this probe is not known here"
_NONCE = re.compile(r"[\w-]{32}", re.ASCII)
_CONTENT_BYTES = 64 * 1024


class Probes:
    """Every method raises `StoreUnavailable` when Redis does not answer."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def lay(self) -> str:
        """A new probe, to be asked for within a minute."""
        nonce = secrets.token_urlsafe(24)
        async with translated():
            await self._redis.set(PROBE.format(nonce), "1", ex=PROBE_LIFETIME_S)
        return nonce

    async def is_laid(self, nonce: str) -> bool:
        """Whether it is there."""
        if not _NONCE.fullmatch(nonce):
            return False
        async with translated():
            return bool(await self._redis.exists(PROBE.format(nonce)))

    async def use_up(self, nonce: str) -> bool:
        """Whether this probe was there; it no longer is."""
        if not _NONCE.fullmatch(nonce):
            return False
        async with translated():
            return bool(await self._redis.delete(PROBE.format(nonce)))


def proof(secret_key: str, nonce: str) -> str:
    """What only who knows the key can answer."""
    return hmac.digest(secret_key.encode(), f"stemdrop.probe.{nonce}".encode(), "sha256").hex()


def content(nonce: str) -> bytes:
    """64 KiB that stand for a source: the same for the same probe, and not to be compressed."""
    return hashlib.shake_256(nonce.encode()).digest(_CONTENT_BYTES)
