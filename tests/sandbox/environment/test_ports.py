"""Ports for servers that are yet to come: free, and given to no connection meanwhile."""

import socket

import pytest

from sandbox.environment import ports


def test_a_free_port_is_none_that_the_system_gives_away() -> None:
    port = ports.free_port()
    assert port < ports._given_away_from()
    with socket.create_server(("127.0.0.1", port)):
        assert not ports._is_free(port)


def test_where_all_of_those_are_given_away_it_is_still_a_free_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_given_away_from", lambda: ports._LOWEST)
    socket.create_server(("127.0.0.1", ports.free_port())).close()
