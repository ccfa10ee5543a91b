"""The time for which tests wait for something that must come."""

from httpx._config import DEFAULT_TIMEOUT_CONFIG

# Enough for a very busy machine; a test may take five minutes.
WAIT_S = 200.0


def wait_for_http() -> None:
    """Let HTTP clients that name no timeout wait for `WAIT_S`, not for five seconds."""
    for part in ("connect", "read", "write", "pool"):
        setattr(DEFAULT_TIMEOUT_CONFIG, part, WAIT_S)
