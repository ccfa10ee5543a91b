"""Free ports, outside the range of outgoing connections."""

import socket

import pytest

from sandbox.environment import ports


def test_a_free_port_is_below_the_ephemeral_range() -> None:
    port = ports.free_port()
    assert port < ports._ephemeral_start()
    with socket.create_server(("127.0.0.1", port)):
        assert not ports._is_free(port)


def test_a_port_is_returned_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its server may not have opened it yet when the next one is looked for."""
    monkeypatch.setattr(ports, "_ephemeral_start", lambda: ports._LOWEST + 60)
    found = [port for port in (ports.free_port() for _ in range(60)) if port < ports._LOWEST + 60]
    assert len(found) > 30
    assert len(found) == len(set(found))


def test_without_ports_below_that_range_another_free_port_is_returned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ports, "_ephemeral_start", lambda: ports._LOWEST)
    socket.create_server(("127.0.0.1", ports.free_port())).close()
