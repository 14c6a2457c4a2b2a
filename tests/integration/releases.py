"""Releases on a real broker: workers, serving processes whose models a test can break, people."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.agents.commands.recorded import Answer, run
from tests.agents.counting import ROOT, environment_of
from tests.agents.waiting import wait_for
from tests.integration.world import PATIENCE_SECONDS, World
from tidegate.agents.kafka import Tail
from tidegate.agents.settings import Settings
from tidegate.schemas.codec import decode_as
from tidegate.schemas.events import Decision

GOOD: Mapping[str, Mapping[str, float]] = {
    "champion": {"conversion": 0.2, "revenue": 5.0},
    "challenger": {"conversion": 0.6, "revenue": 20.0},
    "specialist": {"conversion": 0.2, "revenue": 5.0},
}
BAD = {**GOOD, "challenger": {"conversion": 0.2, "revenue": 5.0, "errors": 0.7}}

_QUICK = (
    (r"\b(hold|duration|keep_previous): \w+", r"\1: 2s"),
    (r"\bwindow: \w+", "window: 1s"),
    (r"\bevery: \w+", "every: 1s"),
    (r"\bmax_duration: \w+", "max_duration: 10m"),
    (r"\bmin_samples: \d+", "min_samples: 15"),
    (r"\brequests: \d+", "requests: 40"),
    (r"\bworse_by: 1pp", "worse_by: 10pp"),
    (r"\bmde: \S+,", "mde: 60%,"),
    (r"\bweight: 5%", "weight: 15%"),
    (r"\bweights: \[5%, 20%, ", "weights: [20%, 30%, "),
    (r"\bsample: \w+%", "sample: 100%"),
)


def quick(manifest: str, name: str) -> str:
    """A page's manifest under another name, with times and samples a test can wait for."""
    text = manifest.replace("name: click-ranker", f"name: {name}")
    for pattern, short in _QUICK:
        text = re.sub(pattern, short, text)
    return text


def manifest_of(page: Path) -> str:
    """The manifest on a strategy's page."""
    return page.read_text(encoding="utf-8").partition("```yaml\n")[2].partition("```")[0]


@dataclass
class Releases:
    """Everything that runs in one test; ends with it."""

    settings: Settings
    folder: Path
    capsys: pytest.CaptureFixture[str]
    services: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _behaviour: dict[str, Any] = field(default_factory=dict)
    _decided: dict[str, dict[str, Decision]] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Releases:
        self.world = self._stack.enter_context(World(self.settings, self.folder / "workers.log"))
        # One reader for all: a reader for each look would cost more than what is looked at.
        self._tail = self._stack.enter_context(Tail(self.settings, ["decisions"]))
        for role in ("ticker", "joiner", "decider"):
            self.world.start(role)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def serve(self, processes: int, requests_per_second: float) -> None:
        """Serving processes, each answering so many requests a second."""
        self._write()
        for number in range(processes):
            stream = self._stack.enter_context((self.folder / f"service-{number}.log").open("ab"))
            words = [str(self._path), f"service-{number}", str(requests_per_second)]
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.integration.service_program", *words],
                cwd=ROOT, env=environment_of(self.settings, {}), stderr=stream,
            )  # fmt: skip
            self.services.append(process)
            self._stack.callback(_end, process)

    def behave(self, experiment: str, models: Mapping[str, Mapping[str, float]]) -> None:
        """From now on the models of an experiment behave like that."""
        self._behaviour[experiment] = models
        self._write()

    def command(self, *words: str) -> Answer:
        """`tidegate WORDS`."""
        return run(self.settings, self.capsys, *words)

    def order(self, *words: str) -> Answer:
        """A person's order, answered whenever a busy machine comes to it."""
        return self.command(*words, "--timeout", f"{PATIENCE_SECONDS:.0f}s")

    def await_clients(self, name: str, count: int) -> None:
        """Until so many serving processes obey the newest table of an experiment."""

        def are_there() -> bool:
            view = self.command("get", name, "-o", "json").json["view"]
            return view is not None and view["applied"]["confirmed"] == count

        wait_for(are_there, PATIENCE_SECONDS)

    def apply(self, manifest: str, name: str) -> None:
        """Start an experiment."""
        path = self.folder / f"{name}.yaml"
        path.write_text(manifest, encoding="utf-8")
        answer = self.order("apply", "-f", str(path), "--role", "owner")
        assert answer.code == 0, answer.err

    def last(self, name: str) -> Decision:
        """The last decision of an experiment."""
        return self.history(name)[-1]

    def history(self, name: str) -> list[Decision]:
        """All its decisions, each once, oldest first."""
        while records := self._tail.poll(0.1):
            for record in records:
                decision = decode_as(Decision, record.value)
                known = self._decided.setdefault(decision.experiment, {})
                known.setdefault(decision.decision_id, decision)
        return list(self._decided[name].values())

    def until(
        self, names: Sequence[str], is_done: Callable[[Decision], bool],
        act: Callable[[str, Decision], None] = lambda name, last: None, seconds: float = 300.0,
    ) -> None:
        """Wait for all experiments; `act` is what people do meanwhile."""
        left, deadline = list(names), time.monotonic() + seconds
        while left:
            for name in list(left):
                last = self.last(name)
                if is_done(last):
                    left.remove(name)
                else:
                    act(name, last)
            if time.monotonic() > deadline:
                told = {name: [each.reason for each in self.history(name)[-3:]] for name in left}
                raise AssertionError(f"waited in vain for {told}\n{self.world.lines('ERROR')}")

    @property
    def _path(self) -> Path:
        return self.folder / "behaviour.json"

    def _write(self) -> None:
        waiting = self._path.with_suffix(".new")
        waiting.write_text(json.dumps(self._behaviour), encoding="utf-8")
        waiting.rename(self._path)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
