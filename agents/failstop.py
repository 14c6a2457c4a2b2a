"""How a process ends when it must not go on: loudly, and before anything is acknowledged."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from typing import NoReturn, Protocol

from tidegate.schemas.errors import DefinitionError, Unreachable

EXIT_DONE = 0
EXIT_WRONG_USE = 2
EXIT_UNREACHABLE = 3
# EX_SOFTWARE of sysexits.h: a supervisor may start the process again.
EXIT_FAIL_STOP = 70

_log = logging.getLogger(__name__)


class FailStop(Protocol):
    """Ends the process; tests hand in one that raises instead."""

    def __call__(self, why: str, error: BaseException | None = None) -> NoReturn: ...


def exit_code(error: BaseException) -> int:
    """The exit code of a worker for `error`: what only a person can mend, or whatever else.

    A worker answers no question, so there is no 1: whatever else it raises on purpose, such as
    records deleted while they were read, may be gone when it is started again.
    """
    if isinstance(error, Unreachable):
        return EXIT_UNREACHABLE
    return EXIT_WRONG_USE if isinstance(error, DefinitionError) else EXIT_FAIL_STOP


def fail_stop(why: str, error: BaseException | None = None) -> NoReturn:
    """End the process at once: nothing further is acknowledged, published or committed.

    The exit code is the operator's (2, 3) when it is the operator's fault, else 70. `os._exit`
    rather than an exception: Faust would acknowledge the batch in hand while it unwinds.
    """
    code = exit_code(error) if error is not None else EXIT_FAIL_STOP
    detail = ""
    if error is not None and code == EXIT_FAIL_STOP:
        detail = "".join(traceback.format_exception(error))
    elif error is not None:
        detail = "\n".join([str(error), *getattr(error, "faults", ())])
    _log.critical("stopping with exit code %d: %s\n%s", code, why, detail)
    logging.shutdown()
    sys.stderr.flush()
    os._exit(code)
