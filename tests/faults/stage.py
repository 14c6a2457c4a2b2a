"""Where scenes play: a folder, the brokers they share, and what they draw."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.rows import Row
from tests.faults.scene import NotRecovered, Scene, quick_settings
from tidegate.infra.brokers import Broker, LocalBroker


@dataclass
class Stage:
    """Made once for all faults of a run. `broker` is one that nobody harms."""

    folder: Path
    seed: int = 1
    _stack: ExitStack = field(default_factory=ExitStack)
    _broker: Broker | None = None
    _scenes: int = 0

    @property
    def broker(self) -> Broker:
        """A single node of Apache Kafka, started when it is first asked for."""
        if self._broker is None:
            self._broker = self._stack.enter_context(LocalBroker())
        return self._broker

    def lend(self, broker: Broker) -> None:
        """Use this broker, which stays somebody else's."""
        self._broker = broker

    def draw(self, name: str) -> random.Random:
        """What is random about a fault; the same in each run."""
        return random.Random(f"{self.seed}/{name}")

    def new_folder(self, name: str) -> Path:
        """An empty one."""
        self._scenes += 1
        made = self.folder / f"{self._scenes:02}-{name}"
        made.mkdir(parents=True)
        return made

    @contextmanager
    def scene(
        self, row: Row, broker: Broker | None = None, *,
        nodes: int = 1, workers_at: str = "", kind: type[Scene] = Scene,
    ) -> Iterator[Scene]:  # fmt: skip
        """A scene on the shared broker or another one; it is judged when the block is left.

        A fault that is not got over, and one that breaks the scene, is a failure of its row.
        """
        folder = self.new_folder(row.name.replace(" ", "-"))
        chosen = self.broker if broker is None else broker
        settings = quick_settings(chosen, folder, nodes)
        with kind(settings, folder, row, workers_at=workers_at) as scene:
            try:
                yield scene
                scene.conclude()
            except (NotRecovered, AssertionError) as error:
                row.failures.append(str(error))
                row.failures.append(f"see {scene.log}")

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


Play = Callable[[Stage, Row, int], None]
"""Does the fault to a scene, so many times, and fills in the row."""


@dataclass(frozen=True, slots=True)
class Fault:
    """An entry of the table: what is done, how often in the long form."""

    name: str
    what: str
    times: int
    play: Play

    def run(self, stage: Stage, times: int | None = None) -> Row:
        """Play it; its row."""
        row = Row(self.name, self.what)
        began = time.monotonic()
        try:
            self.play(stage, row, self.times if times is None else times)
        except Exception as error:
            # A row that cannot be played has failed; the others are played all the same.
            row.failures.append(repr(error))
        row.seconds = time.monotonic() - began
        return row
