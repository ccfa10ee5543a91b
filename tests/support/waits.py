"""How long tests wait for what must come."""

from httpx._config import DEFAULT_TIMEOUT_CONFIG

# On a machine that does much else beside; a test has five minutes.
WAIT_S = 200.0


def wait_for_http() -> None:
    """Let HTTP clients that name no timeout wait as long, not five seconds."""
    for part in ("connect", "read", "write", "pool"):
        setattr(DEFAULT_TIMEOUT_CONFIG, part, WAIT_S)
