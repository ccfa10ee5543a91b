"""Free ports on loopback."""

import secrets
import socket
from pathlib import Path

_LOWEST = 10_000
# From this port on the system assigns ports to outgoing connections (ip(7)).
_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_EPHEMERAL_START = 32_768
# The ports that were returned, since the servers that will listen on them may not have started yet.
_returned: set[int] = set()


def free_port(wanted: int = 0) -> int:
    """Return a port that is free now, if possible `wanted`; else one that no outgoing connection gets.

    Each port is returned to a process only once, except as `wanted`.
    """
    if wanted and _is_free(wanted):
        return wanted
    ports = range(_LOWEST, _ephemeral_start())
    for port in secrets.SystemRandom().sample(ports, min(len(ports), 100)):
        if port not in _returned and _is_free(port):
            _returned.add(port)
            return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _ephemeral_start() -> int:
    try:
        return int(_EPHEMERAL_RANGE.read_text("ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return _EPHEMERAL_START


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # as servers do, so that connections that ended lately do not occupy the port
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
