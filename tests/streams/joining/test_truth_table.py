"""Every case of `docs/attribution.md`, played to the joiner: alone, and all on one log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.streams.joining.judging import fates, faults, rows_of
from tests.streams.joining.traffic import BEGIN_MS
from tests.streams.joining.truth import (
    SETTLE_MS,
    Case,
    Layout,
    Line,
    lay_out,
    read_cases,
    read_index,
)
from tests.streams.logs import Log, marks_of
from tidegate.schemas.codec import decode_as
from tidegate.schemas.events import DeadLetter
from tidegate.schemas.facts import CLASSES, STREAMS, ObservationBatch
from tidegate.schemas.marks import Tick
from tidegate.schemas.observation_reading import decode_observation
from tidegate.streams.estimation.ledger import Ledger
from tidegate.streams.estimation.plan import Plan
from tidegate.streams.estimation.tally import conservation
from tidegate.streams.folding import PartitionFold
from tidegate.streams.joining import attribution
from tidegate.streams.joining.joiner import Joiner
from tidegate.streams.joining.settings import JoinerSettings
from tidegate.streams.merge import Fetched
from tidegate.streams.output import Output

CASES = read_cases()


class Played:
    """A joiner that has seen the logs, interval by interval, and what came out."""

    def __init__(self, made: Layout) -> None:
        self.outputs: list[Output] = []
        self.joiner = Joiner(made.partition, JoinerSettings(), "engine", self.outputs.append)
        self.unbalanced: list[str] = []
        self._fold = PartitionFold(made.partition, len(made.logs), self.joiner)
        places = [0] * len(made.logs)
        while any(place < len(log) for place, log in zip(places, made.logs, strict=True)):
            for rank, log in enumerate(made.logs):
                stop = _interval_end(log, places[rank])
                self._feed(made, rank, places[rank], stop)
                places[rank] = stop

    def _feed(self, made: Layout, rank: int, start: int, stop: int) -> None:
        part, stamps_ms = made.logs[rank][start:stop], made.stamps_ms[rank][start:stop]
        if part:
            values = [record if isinstance(record, bytes) else None for record in part]
            self._fold.feed(rank, Fetched(start, values, marks_of(part), stamps_ms.__getitem__))
            self._fold.drain()
        self.unbalanced += unbalanced(self.joiner.counters())

    def batches(self) -> list[ObservationBatch]:
        """The observations, decoded."""
        values = [it.value for it in self.outputs if it.topic == "observations"]
        return [decode_observation(value) for value in values if value is not None]

    def letters(self) -> list[DeadLetter]:
        """The dead letters."""
        values = [it.value for it in self.outputs if it.topic == "dead-letters"]
        return [decode_as(DeadLetter, value) for value in values]


def _interval_end(log: Log, start: int) -> int:
    """Behind the tick after the next."""
    for place in range(start + 1, len(log)):
        if isinstance(log[place], Tick):
            return place
    return len(log)


def unbalanced(counters: dict[str, int]) -> list[str]:
    """Streams whose input is not the sum of its classes."""
    said = []
    for stream in STREAMS:
        parts = ("counted", *CLASSES[1:], "dead_lettered", "pending")
        total = sum(counters[f"{stream}.{part}"] for part in parts)
        if counters[f"{stream}.input"] != total:
            said.append(f"{stream}: {counters[f'{stream}.input']} in, {total} in classes")
    return said


def counted(counters: dict[str, int]) -> Counter[str]:
    """What a joiner counted of its streams."""
    return +Counter({name: count for name, count in counters.items() if "." in name})


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.experiment)
def test_a_case_of_the_page(case: Case) -> None:
    """Facts, dead letters, summaries, times and what statistics learn are those the page says;
    input is the sum of the classes after every interval, and each class counts what it says."""
    made = lay_out([case], BEGIN_MS)
    played = Played(made)
    assert faults(case, made, played.batches(), played.letters()) == []
    assert played.unbalanced == []
    assert counted(played.joiner.counters()) == fates([case])


def test_cases_do_not_touch_each_other() -> None:
    """All on one log, tick for tick between each other, they end as each does alone."""
    cases = [case for case in CASES if not case.all("silent")]
    made = lay_out(cases, BEGIN_MS)
    played = Played(made)
    batches, letters = played.batches(), played.letters()
    found = {case.name: faults(case, made, batches, letters) for case in cases}
    assert {name: said for name, said in found.items() if said} == {}
    assert counted(played.joiner.counters()) == fates(cases)


def test_what_variants_count_is_what_the_joiner_counted() -> None:
    """Conservation per variant: over all variants, with what has no prediction, every class of
    every stream adds up to the joiner's own count; activations and predictions that were never
    activated are the only ones no variant counts, and nothing is open at the end."""
    cases = [case for case in CASES if not case.all("silent")]
    played = Played(lay_out(cases, BEGIN_MS))
    batches = played.batches()
    found: Counter[str] = Counter(nobodys(batches))
    for case in cases:
        for generation in (1, 2):
            ledger = Ledger(Plan(case.experiment, generation, ("a", "b", "s", "t", "u"), ()))
            for batch in batches:
                ledger.observe(batch)
            for variant, tally in ledger.tallies.items():
                for stream, classes in conservation(tally, ledger.shadows[variant]).items():
                    found.update({f"{stream}.{kind}": n for kind, n in classes.items()})
    told = counted(played.joiner.counters())
    activations = sum(
        line.fate == "counted" and "activation" in line.flags
        for case in cases
        for line in case.all("outcome")
    )
    unused = sum(
        bool(line.flags) and not case.all("exposes")
        for case in cases
        for line in case.all("prediction")
    )
    for stream, missing in (("prediction", unused), ("outcome", activations)):
        told[f"{stream}.counted"] -= missing
        told[f"{stream}.input"] -= missing
    for stream in STREAMS:
        told[f"{stream}.input"] -= told.pop(f"{stream}.dead_lettered")
    assert +found == +told


def nobodys(batches: list[ObservationBatch]) -> Iterator[str]:
    """`stream.class` of all that has no prediction, and once more as `input`."""
    for _, kind, row in rows_of(batches):
        if kind == "irregular" and row["context"] is None:
            stream = STREAMS[row["stream"]]
            yield from (f"{stream}.{CLASSES[row['class']]}", f"{stream}.input")


def test_the_page_shows_every_class() -> None:
    """Each class of each stream that there can be has a case."""
    shown = {name for name in fates(CASES) if not name.endswith(".input")}
    assert shown == {
        *(f"{stream}.{kind}" for stream in STREAMS
          for kind in ("counted", "duplicate", "conflict", "dead_lettered")),
        *(f"{stream}.{kind}" for stream in ("shadow", "outcome") for kind in ("late", "orphan")),
        "outcome.expired",
    }  # fmt: skip


def test_the_page_answers_what_is_asked() -> None:
    """Its index names cases of the page only, and every case that is asked for by name has one."""
    answers = read_index()
    assert set(answers) == {
        "early", "late", "exactly at the bound", "orphan", "duplicate", "conflicting",
        "several outcomes, every aggregate", "negative values", "defaults", "deferred activation",
        "sampled predictions", "conflicting predictions", "generation and variant as recorded",
        "routing changed meanwhile", "outcomes before predictions",
        "idle partition, its return with old events", "future events",
        "shadows held against outcomes",
    }  # fmt: skip
    names = {case.name for case in CASES}
    assert [name for found in answers.values() for name in found if name not in names] == []


def test_a_greatest_that_begins_at_the_smallest_positive_number_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A known mistake of others: then no value below zero is ever the greatest."""
    whole = attribution.summarise

    def mistaken(entries: bytes) -> list[attribution.MetricSummary]:
        return [(*summary[:6], max(summary[6], 1e-38)) for summary in whole(entries)]

    monkeypatch.setattr(attribution, "summarise", mistaken)
    made = lay_out([case for case in CASES if "negative" in case.name], BEGIN_MS)
    played = Played(made)
    wrong = [case.name for case in CASES if case.name in made.sent and faults(
        case, made, played.batches(), played.letters()
    )]  # fmt: skip
    assert wrong == [
        "the greatest of negative values is negative", "and so is a negative value alone"
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["every aggregate", "two shadows of one request"])
def test_a_wrong_word_on_the_page_is_found(name: str) -> None:
    """The comparison is no formality: a fate, a sum, a score, a time or a mean that is wrong
    fails."""
    [case] = [it for it in CASES if it.name.startswith(name)]
    made = lay_out([case], BEGIN_MS)
    played = Played(made)
    for place, line in enumerate(case.lines):
        wrong = _wrong(line)
        if wrong is not None:
            altered = Case(case.name, (*case.lines[:place], wrong, *case.lines[place + 1 :]))
            relaid = lay_out([altered], BEGIN_MS)
            assert faults(altered, relaid, played.batches(), played.letters()), line
    shifted = tuple(replace(line, at_ms=line.at_ms + 2 * SETTLE_MS) for line in case.lines)
    assert faults(Case(case.name, shifted), made, played.batches(), played.letters())


def _wrong(line: Line) -> Line | None:
    if line.verb == "outcome":
        return replace(line, fate="late")
    if line.verb == "closes":
        return replace(line, options={"n": "4", "sum": "-3"})
    if line.verb == "scores":
        return replace(line, options={**line.options, "answer": "0.5"})
    if line.verb == "compares":
        return replace(line, options={**line.options, "error": "0.25"})
    return replace(line, options={"n": "1", "mean": "99"}) if line.verb == "learns" else None
