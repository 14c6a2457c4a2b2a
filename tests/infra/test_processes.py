"""Processes bound to their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tidegate.infra.processes import BoundProcess

SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]


def is_running(pid: int) -> bool:
    """Whether a process runs; one that was not waited for yet has ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def eventually_gone(pid: int) -> bool:
    """Whether a process ends soon."""
    deadline = time.monotonic() + 20
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not is_running(pid)


def test_it_ends_when_told(tmp_path: Path) -> None:
    """A signal ends it, and how it ended can be seen."""
    process = BoundProcess(SLEEPER, tmp_path / "log")
    assert process.alive
    process.end(signal.SIGTERM)
    assert process.exit_code == -signal.SIGTERM


def test_a_paused_process_ends_too(tmp_path: Path) -> None:
    """A stopped process is let go on so that it can obey."""
    process = BoundProcess(SLEEPER, tmp_path / "log")
    process.send(signal.SIGSTOP)
    process.end(signal.SIGTERM)
    assert process.exit_code == -signal.SIGTERM


def test_one_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    """Whoever ignores the signal is killed after the given time."""
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True)"
    process = BoundProcess([sys.executable, "-c", deaf + "; time.sleep(600)"], tmp_path / "log")
    while not (tmp_path / "log").read_text():
        time.sleep(0.02)
    process.end(signal.SIGTERM, seconds=0.2)
    assert process.exit_code == -signal.SIGKILL


def test_output_and_environment_are_passed_on(tmp_path: Path) -> None:
    """What it says is in the log; variables are added to those of the parent."""
    command = [sys.executable, "-c", "import os; print(os.environ['DEMO'], os.environ['PATH'])"]
    process = BoundProcess(command, tmp_path / "log", {"DEMO": "given"})
    while process.alive:
        time.sleep(0.02)
    process.end()
    assert process.exit_code == 0
    assert (tmp_path / "log").read_text().strip() == f"given {os.environ['PATH']}"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
def test_it_does_not_outlive_a_parent_that_is_killed(tmp_path: Path) -> None:
    """SIGKILL of the parent leaves nothing running."""
    parent = (
        "import os, sys, pathlib\n"
        "from tidegate.infra.processes import BoundProcess\n"
        "command = [sys.executable, '-c', 'import time; time.sleep(600)']\n"
        f"process = BoundProcess(command, pathlib.Path({str(tmp_path / 'log')!r}))\n"
        "print(process.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", parent], stdout=subprocess.PIPE, check=False)
    assert eventually_gone(int(done.stdout))
