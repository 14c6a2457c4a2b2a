"""The demo as people run it: every chapter seen, on the embedded broker and on a real one."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tidegate.agents.demo.story import CHAPTERS
from tidegate.infra.brokers import Broker


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`tidegate demo`, piped."""
    return subprocess.run(
        [sys.executable, "-m", "tidegate", "demo", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def all_chapters(output: str) -> bool:
    """Whether the output tells every chapter, in order."""
    told = [line for line in output.splitlines() if line.startswith("✓")]
    return [chapter.title in line for chapter, line in zip(CHAPTERS, told, strict=True)] == [
        True
    ] * len(CHAPTERS)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_demo_shows_everything_without_any_installation() -> None:
    """On the embedded broker it ends by itself with exit code 0 and every chapter told."""
    done = demo()
    assert done.returncode == 0, done.stdout + done.stderr
    assert all_chapters(done.stdout)


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_demo_shows_everything_on_apache_kafka(local_kafka: Broker) -> None:
    """The same on a real broker, named by its address."""
    done = demo("--kafka", local_kafka.bootstrap)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all_chapters(done.stdout)


def test_a_demo_on_a_broker_that_is_away_says_where_it_looked() -> None:
    """Where nobody answers nothing is started, and the exit code is that of an error of reach."""
    done = demo("--kafka", "127.0.0.1:9")
    assert done.returncode == 3
    assert "127.0.0.1:9" in done.stderr


def test_a_misspelt_broker_lists_those_there_are() -> None:
    """Wrong use is exit code 2 with what to write."""
    done = demo("--kafka", "lokal")
    assert done.returncode == 2
    assert "embedded, local, container, or HOST:PORT" in done.stderr
