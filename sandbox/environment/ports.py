"""Ports for servers of the world's own, on loopback."""

import secrets
import socket
from pathlib import Path

_LOWEST = 10_000
# From here on the system itself gives ports to whoever asks for any (ip(7)).
_GIVEN_AWAY = Path("/proc/sys/net/ipv4/ip_local_port_range")
_GIVEN_AWAY_FROM = 32_768


def free_port() -> int:
    """A port where nobody listens at this moment, and that no connection is given before it is taken."""
    ports = range(_LOWEST, _given_away_from())
    for port in secrets.SystemRandom().sample(ports, min(len(ports), 100)):
        if _is_free(port):
            return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _given_away_from() -> int:
    try:
        return int(_GIVEN_AWAY.read_text("ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return _GIVEN_AWAY_FROM


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
