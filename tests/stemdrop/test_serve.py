"""What connections inherit from the sockets that they come in by."""

import socket
from collections.abc import Callable

import pytest

from sandbox.environment.ports import free_port
from separator.command import listen as listen_separator
from stemdrop.errors import SettingsError
from stemdrop.settings import Settings, load_settings
from webhook.run import UNREAD_TIMEOUT_MS, listen


def settings(port: int) -> Settings:
    """The required ones, and where to listen."""
    required = {"TELEGRAM_BOT_TOKEN": "1:token", "SEPARATION_API_KEY": "key", "SECRET_KEY": "s" * 43}
    return load_settings(required | {"LISTEN_HOST": "127.0.0.1", "LISTEN_PORT": str(port)})


def accepted(listening: socket.socket) -> socket.socket:
    """A connection, seen from the server."""
    with listening, socket.create_connection(listening.getsockname()):
        return listening.accept()[0]


@pytest.mark.parametrize(
    "opened", [lambda: listen(settings(free_port())), lambda: listen_separator("127.0.0.1", 0)]
)
def test_no_answer_waits_for_the_acknowledgement_of_its_head(opened: Callable[[], socket.socket]) -> None:
    """Head and body are written apart; by default the second is held back, for 40 ms."""
    with accepted(opened()) as connection:
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux has it")
def test_who_takes_nothing_is_given_up() -> None:
    with accepted(listen(settings(free_port()))) as connection:
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == UNREAD_TIMEOUT_MS


def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"cannot listen at 127.0.0.1:{port}: Address already in use"):
            listen(settings(port))
