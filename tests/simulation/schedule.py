"""A schedule: what happens, drawn from one seed. Playing it draws nothing more."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final, NamedTuple

from tidegate.streams.joining.settings import JoinerSettings

STEPS: Final = 200
CHOICES: Final = 1 << 20
KINDS: Final = ("join", "join", "join", "join", "join", "join", "join", "decide", "decide", "loop")
"""Shares of the kinds of schedule: `join` is ticker, brokers and joiner; `decide` is people,
decider and services, with facts made by hand; `loop` is all of it."""

REWARD_WAIT_MS: Final = 2_000


class Event(NamedTuple):
    """Something that happens; `a` and `b` choose among what is possible then."""

    name: str
    a: int
    b: int


@dataclass(frozen=True, slots=True)
class Config:
    """What holds for a whole schedule."""

    seed: int
    kind: str
    partitions: int
    checkpoint_records: int
    cut_records: int
    open_max: int
    emit_interval_ms: int
    facts_per_batch: int
    reference_limit: int
    columns: bool
    audited: bool

    @property
    def segment_records(self) -> int:
        """After how many records segments are sealed; not drawn: old seeds mean what they meant."""
        return (4, 25, 100_000)[self.seed % 3]

    @property
    def joining(self) -> JoinerSettings:
        """The joiner's settings: short times, so that a schedule sees all of them pass."""
        return JoinerSettings(
            observation_partitions=1,
            emit_interval_ms=self.emit_interval_ms,
            facts_per_batch=self.facts_per_batch,
            early_tolerance_ms=500,
            grace_ms=300,
            closed_memory_ms=2_000,
            future_tolerance_ms=5_000,
            open_max=self.open_max,
            closed_max=2 if self.seed % 7 == 3 else 1_000,
            waiting_max=2 if self.seed % 11 == 5 else 1_000,
        )


@dataclass(frozen=True, slots=True)
class Schedule:
    """Everything one seed says."""

    config: Config
    events: tuple[Event, ...]


USUAL: Final = {
    "join": {"serve": 22, "outcome": 26, "shadow": 5, "tick": 24, "work": 56, "acknowledge": 16},
    "decide": {
        "facts": 14, "tick": 20, "work": 40, "acknowledge": 16, "order": 10, "poll": 26, "serve": 8,
    },
    "loop": {
        "serve": 22, "outcome": 16, "tick": 24, "work": 64, "acknowledge": 20, "order": 6,
        "poll": 26,
    },
}  # fmt: skip
FAULTS: Final = {
    "repeat": 3, "held": 4, "release": 5, "garbage": 2, "leader": 3, "crash": 4, "zombie": 2,
    "corrupt": 2, "clock": 1, "silence": 1, "missed": 3, "second": 1, "rogue": 1, "ask": 2,
    "overlap": 2,
}  # fmt: skip
"""Fault kinds and their usual weight; which are in the mix is drawn per seed."""
SERVICE_FAULTS: Final = {"restart": 2, "cutoff": 2, "failing": 2, "stale": 1, "again": 2}


def draw(seed: int) -> Schedule:
    """The schedule of a seed."""
    chance = random.Random(seed)
    kind = chance.choice(KINDS)
    config = Config(
        seed=seed,
        kind=kind,
        partitions=1 if kind == "join" else chance.choice((1, 1, 2)),
        checkpoint_records=chance.choice((5, 20, 60, 1_000)),
        cut_records=chance.choice((4, 16, 100_000)),
        open_max=chance.choice((3, 1_000, 1_000, 1_000)),
        emit_interval_ms=chance.choice((100, 500, 1_000, 1_000)),
        facts_per_batch=chance.choice((3, *[5_000] * 4)),
        reference_limit=chance.choice((2, 7, 1_000, 1_000, 1_000)),
        columns=chance.random() < 0.25,
        audited=chance.random() < 0.25,
    )
    weights = dict(USUAL[kind])
    if chance.random() > 0.1:  # some schedules have good weather
        faults = FAULTS if kind == "join" else {**FAULTS, **SERVICE_FAULTS}
        for name, weight in faults.items():
            if chance.random() < 0.5:
                weights[name] = weight * chance.choice((1, 1, 2, 4))
    names = chance.choices(list(weights), list(weights.values()), k=STEPS)
    events = (Event(name, chance.randrange(CHOICES), chance.randrange(CHOICES)) for name in names)
    return Schedule(config, tuple(events))
