"""How a process ends: the exit code says whose fault it was."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tidegate.agents.failstop import exit_code
from tidegate.schemas.errors import DefinitionError, LogTrimmed, Unreachable


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Unreachable("x"), 3),
        (DefinitionError("x"), 2),
        (LogTrimmed("outcomes", 0, 7), 70),
        (ValueError("x"), 70),
        (MemoryError(), 70),
    ],
)
def test_exit_codes(error: BaseException, code: int) -> None:
    """2 and 3 are the operator's to mend; 70 may be tried again."""
    assert exit_code(error) == code


def test_it_ends_the_process_without_unwinding() -> None:
    """No finally, no handler, no exit hook runs: nothing can be acknowledged on the way out."""
    script = (
        "import atexit, logging; logging.basicConfig(); atexit.register(print, 'hook')\n"
        "from tidegate.agents.failstop import fail_stop\n"
        "from tidegate.schemas.errors import DefinitionError\n"
        "try: fail_stop('topics', DefinitionError('wrong', ('mend this',)))\n"
        "finally: print('unwound')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "mend this" in ended.stderr
