"""The webhook's and the separator's listening sockets, and the options that connections inherit from them."""

import socket
from collections.abc import Callable

import pytest

from sandbox.environment.ports import free_port
from separator.command import listen as listen_separator
from stemdrop.errors import SettingsError
from stemdrop.settings import Settings, load_settings
from webhook.run import UNREAD_TIMEOUT_MS, listen


def settings(port: int) -> Settings:
    required = {"TELEGRAM_BOT_TOKEN": "1:token", "SEPARATION_API_KEY": "key", "SECRET_KEY": "s" * 43}
    return load_settings(required | {"LISTEN_HOST": "127.0.0.1", "LISTEN_PORT": str(port)})


def accepted(listening: socket.socket) -> socket.socket:
    """The server's end of a new connection."""
    with listening, socket.create_connection(listening.getsockname()):
        return listening.accept()[0]


@pytest.mark.parametrize(
    "opened", [lambda: listen(settings(free_port())), lambda: listen_separator("127.0.0.1", 0)]
)
def test_connections_send_small_writes_at_once(opened: Callable[[], socket.socket]) -> None:
    """Response head and body are two writes; without TCP_NODELAY the second waits 40 ms for an ACK."""
    with accepted(opened()) as connection:
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only on Linux")
def test_a_client_that_reads_nothing_is_disconnected() -> None:
    with accepted(listen(settings(free_port()))) as connection:
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == UNREAD_TIMEOUT_MS


def test_an_occupied_port_is_named_in_the_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"cannot listen at 127.0.0.1:{port}: Address already in use"):
            listen(settings(port))
