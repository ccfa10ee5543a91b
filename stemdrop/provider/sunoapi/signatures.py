"""Checks the signatures of callbacks, where the operator has switched them on (docs.kie.ai, webhooks)."""

import base64
import hmac
import time
from collections.abc import Callable

from stemdrop.errors import ForgedRequest

# How far a signature's time may be off, in both directions (Standard Webhooks: five minutes).
SIGNATURE_WINDOW_S = 300


def check_signature(
    key: str, task_id: str, timestamp: str, signature: str, now: Callable[[], float] = time.time
) -> None:
    """Check base64(HMAC-SHA256(task_id + "." + timestamp, key)) and its age. Raises `ForgedRequest`."""
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise ForgedRequest("the callback's signature has no readable time")
    if abs(now() - int(timestamp)) > SIGNATURE_WINDOW_S:
        raise ForgedRequest("the callback's signature is too old or too new")
    # A task id from JSON may hold half a surrogate pair: the signature is then wrong.
    signed = f"{task_id}.{timestamp}".encode(errors="surrogatepass")
    expected = base64.b64encode(hmac.digest(key.encode(), signed, "sha256"))
    if not hmac.compare_digest(expected, signature.encode(errors="surrogatepass")):
        raise ForgedRequest("the callback's signature is wrong")
