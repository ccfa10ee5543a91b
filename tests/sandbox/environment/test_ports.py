"""Free ports, outside the range of outgoing connections."""

import socket

from sandbox.environment.ports import FreePorts, free_port


def test_a_free_port_is_below_the_ephemeral_range() -> None:
    port = free_port()
    assert port in FreePorts().candidates
    with socket.create_server(("127.0.0.1", port)):
        assert free_port(port) != port
    assert free_port(port) == port


def test_a_port_is_returned_once() -> None:
    """Its server may not have opened it yet when the next one is looked for."""
    ports = FreePorts()
    ports.candidates = ports.candidates[:60]
    found = [port for port in (ports.choose() for _ in range(60)) if port in ports.candidates]
    assert len(found) > 30
    assert len(found) == len(set(found))


def test_without_ports_below_that_range_another_free_port_is_returned() -> None:
    ports = FreePorts()
    ports.candidates = ports.candidates[:0]
    socket.create_server(("127.0.0.1", ports.choose())).close()
