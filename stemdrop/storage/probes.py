"""`Probes`: one-time questions by which `stemdrop doctor` recognizes the webhook of this installation.

The doctor stores a probe in Redis and asks a webhook for it. A webhook answers each stored probe once, and
signs no other.
"""

import hashlib
import hmac
import re
import secrets

from stemdrop.storage.connection import RedisStore
from stemdrop.storage.keys import PROBE, PROBE_LIFETIME_S

# The webhook's answer to a probe that it does not find.
UNKNOWN = "this probe is not known here"
_NONCE = re.compile(r"[\w-]{32}", re.ASCII)
_CONTENT_BYTES = 64 * 1024


class Probes(RedisStore):
    async def lay(self) -> str:
        """Store a new probe for one minute and return it."""
        nonce = secrets.token_urlsafe(24)
        await self._redis.set(PROBE.format(nonce), "1", ex=PROBE_LIFETIME_S)
        return nonce

    async def is_laid(self, nonce: str) -> bool:
        """Whether this probe is stored and was not answered yet."""
        return bool(_NONCE.fullmatch(nonce) and await self._redis.exists(PROBE.format(nonce)))

    async def use_up(self, nonce: str) -> bool:
        """Delete this probe. False: it was not stored."""
        return bool(_NONCE.fullmatch(nonce) and await self._redis.delete(PROBE.format(nonce)))


def proof(secret_key: str, nonce: str) -> str:
    """Return the answer that proves the knowledge of the secret key."""
    return hmac.digest(secret_key.encode(), f"stemdrop.probe.{nonce}".encode(), "sha256").hex()


def content(nonce: str) -> bytes:
    """Return 64 KiB in place of a source: the same for the same probe, and not compressible."""
    return hashlib.shake_256(nonce.encode()).digest(_CONTENT_BYTES)
