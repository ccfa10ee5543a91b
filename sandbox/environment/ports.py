"""Free ports on loopback."""

import secrets
import socket
from functools import cached_property
from pathlib import Path

_LOWEST = 10_000
# From this port on the system assigns ports to outgoing connections (ip(7)).
_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_EPHEMERAL_START = 32_768


class FreePorts:
    """Chooses free ports, each once, since the servers that will listen on them may not have started."""

    def __init__(self) -> None:
        self._returned: set[int] = set()

    @cached_property
    def candidates(self) -> range:
        """The ports to choose from, which no outgoing connection gets; a process may be given a part."""
        return range(_LOWEST, _ephemeral_start())

    def choose(self) -> int:
        """Return one of the candidates that is free now; if there is none, any free port."""
        for port in secrets.SystemRandom().sample(self.candidates, min(len(self.candidates), 100)):
            if port not in self._returned and _is_free(port):
                self._returned.add(port)
                return port
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])


# Those of this process.
own_ports = FreePorts()


def free_port(wanted: int = 0) -> int:
    """Return a port that is free now, if possible `wanted`; else one that no outgoing connection gets.

    Each port is returned to a process only once, except as `wanted`.
    """
    return wanted if wanted and _is_free(wanted) else own_ports.choose()


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
