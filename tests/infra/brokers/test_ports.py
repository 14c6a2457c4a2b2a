"""Ports for brokers: different, free, and none that an outgoing connection could take."""

from __future__ import annotations

import socket

from tidegate.infra.brokers.ports import free_ports


def test_ports_are_free_and_different() -> None:
    """Each can be listened on, and none is from where systems take ports for connections: a broker
    that was killed would not get it back."""
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert max(ports) < 32_768
    for port in ports:
        with socket.create_server(("127.0.0.1", port)):
            pass


def test_a_wanted_port_is_taken_when_it_is_free() -> None:
    """Clients look for a broker on the port that was asked for, unless somebody else has it."""
    (wanted,) = free_ports(1)
    assert free_ports(2, wanted)[0] == wanted
    with socket.create_server(("127.0.0.1", wanted)):
        assert wanted not in free_ports(2, wanted)
