"""Ports of loopback that a broker finds free again when it comes back."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack

_CANDIDATES = range(10_000, 32_768)
"""Below those from which systems take ports for outgoing connections: the port of a node that is
down would be taken by any of them, even by a client that tries to reach that node."""
_ATTEMPTS = 200


def free_ports(count: int, first: int = 0) -> list[int]:
    """So many different ports that nobody uses now; `first` is the first of them if it is free.

    Raises:
        OSError: none is free.
    """
    with ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        numbers = [_bind(each, first if index == 0 else 0) for index, each in enumerate(held)]
    return numbers


def _bind(unbound: socket.socket, wanted: int) -> int:
    if wanted and not listens(wanted):
        unbound.bind(("127.0.0.1", wanted))
        return wanted
    for _ in range(_ATTEMPTS):
        try:
            unbound.bind(("127.0.0.1", chosen := random.choice(_CANDIDATES)))
        except OSError:
            continue
        return chosen
    raise OSError(f"no port of loopback from {_CANDIDATES[0]} to {_CANDIDATES[-1]} is free")


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    with socket.socket() as attempt:
        attempt.settimeout(1)
        return attempt.connect_ex(("127.0.0.1", port)) == 0
