"""Memory that was freed, given back to the system."""

from __future__ import annotations

import ctypes
import logging

_log = logging.getLogger(__name__)


def give_back() -> None:
    """After a state was loaded: glibc would keep what that took for what may come, as much again
    as the state itself. Elsewhere there is no such function, and nothing happens."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError, TypeError):
        _log.debug("freed memory stays with this process")
