"""Whole folds under hostile records: they neither raise nor lose count, and can be kept.

A fold takes three kinds of records in turn: record `n` is of the kind of rank `n % 3`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from tests.fuzz.mutating import read_corpus
from tidegate.schemas.codec import Bindings
from tidegate.schemas.errors import EventError
from tidegate.schemas.facts import CLASSES, STREAMS, encode_observation
from tidegate.schemas.observation_reading import decode_observation
from tidegate.streams.deciding.decider import OBSERVATIONS, Decider
from tidegate.streams.folding import Handler
from tidegate.streams.joining.joiner import Joiner
from tidegate.streams.joining.settings import JoinerSettings
from tidegate.streams.merge import Run
from tidegate.streams.output import Output

RANKS = {
    "joiner": ("prediction", "shadow-prediction", "outcome"),
    "decider": ("control", "applied", "observation"),
}
BEGIN_MS = 1_700_000_000_000
STEP_MS = 20_000
NOBODY_BINDS: Bindings | None = None


class Imbalance(Exception):
    """Records that were read are in no class, or in two."""


def fold_of_joiner(values: Sequence[bytes]) -> list[str]:
    """A joiner that gets them at once, and closes what they opened."""
    outputs: list[Output] = []
    joiner = Joiner(0, JoinerSettings(), "engine", outputs.append, NOBODY_BINDS)
    _play(joiner, values)
    counters = joiner.counters()
    for stream in STREAMS:
        parts = ("counted", *CLASSES[1:], "dead_lettered", "pending")
        if counters[f"{stream}.input"] != sum(counters[f"{stream}.{part}"] for part in parts):
            raise Imbalance(f"{stream}: {counters}")
    refused = sum(counters[f"{stream}.dead_lettered"] for stream in STREAMS)
    return ["dead letter"] * refused + ["accepted"] * (len(values) - refused)


def fold_of_decider(values: Sequence[bytes]) -> list[str]:
    """A decider that runs a release and then gets them."""
    outputs: list[Output] = []
    decider = Decider(0, 4, 1, outputs.append, "engine", NOBODY_BINDS)
    decider.advance(BEGIN_MS)
    sound = read_corpus_once()
    for rank, kind in enumerate(RANKS["decider"][:OBSERVATIONS]):
        _send(decider, rank, sound[kind], BEGIN_MS)
    if not decider.experiments:
        raise Imbalance("the release of the corpus was not applied")
    before = _refused_by(decider)
    _play(decider, _in_sequence(values))
    counters = decider.counters()
    for topic in ("control", "applied", "observations"):
        dead = counters.get(f"{topic}.dead_lettered", 0)
        if counters[f"{topic}.input"] != counters.get(f"{topic}.counted", 0) + dead:
            raise Imbalance(f"{topic}: {counters}")
    refused = _refused_by(decider) - before
    return ["dead letter"] * refused + ["accepted"] * (len(values) - refused)


def _in_sequence(values: Sequence[bytes]) -> list[bytes]:
    """Observations numbered so that a decider uses all that it can read, not just the first."""
    numbered = list(values)
    sequences: Counter[int] = Counter()
    for place in range(OBSERVATIONS, len(values), 3):
        try:
            batch = decode_observation(values[place])
        except EventError:
            continue
        sequence = sequences[batch.source_partition]
        sequences[batch.source_partition] += 1
        numbered[place] = encode_observation(replace(batch, partition=0, sequence=sequence))
    return numbered


def _refused_by(decider: Decider) -> int:
    counters = decider.counters()
    return sum(count for name, count in counters.items() if name.endswith(".dead_lettered"))


@cache
def read_corpus_once() -> dict[str, Sequence[bytes]]:
    """The corpus; it does not change."""
    return dict(read_corpus())


def _play(handler: Handler, values: Sequence[bytes]) -> None:
    for rank in range(3):
        _send(handler, rank, values[rank::3], BEGIN_MS + rank * STEP_MS)
        handler.advance(BEGIN_MS + (rank + 1) * STEP_MS)
    handler.advance(BEGIN_MS + 1_000_000)
    state = handler.dump()
    handler.load(state)
    if handler.dump() != state:
        raise Imbalance("the state does not come back as it was dumped")


def _send(handler: Handler, rank: int, values: Sequence[bytes], log_time_ms: int) -> None:
    handler.records(Run(rank, log_time_ms, 0, list(values), 0, len(values), lambda _: BEGIN_MS))
