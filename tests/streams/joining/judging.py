"""What was joined, held against what a case of `docs/attribution.md` says."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tests.streams.joining.traffic import request
from tests.streams.joining.truth import SETTLE_MS, TOPICS, Case, Layout, Line, outcome_of
from tidegate.schemas.events import DeadLetter
from tidegate.schemas.facts import CLASSES, NONE, STREAMS, ObservationBatch
from tidegate.streams.estimation.ledger import Ledger
from tidegate.streams.estimation.plan import Measurement, Plan

_VALUES = ("n", "first", "last", "sum", "min", "max")
_CONTEXT = {"variant": "variant", "generation": "generation", "served_by": "served_variant",
            "version": "routing_version"}  # fmt: skip

Facts = Counter[tuple[Any, ...]]


def fates(cases: Iterable[Case]) -> Counter[str]:
    """How many records of each stream end in each class, by what the page says."""
    found: Counter[str] = Counter()
    for case in cases:
        for line in case.all(*STREAMS):
            fate = "dead_lettered" if line.fate.startswith("dead:") else line.fate
            found[f"{line.verb}.{fate}"] += int(line.options.get("many", 1))
            found[f"{line.verb}.input"] += int(line.options.get("many", 1))
    return found


def faults(
    case: Case, made: Layout, batches: Sequence[ObservationBatch], letters: Sequence[DeadLetter]
) -> list[str]:
    """Everything in which observations and dead letters differ from what the case says."""
    found = _found(case, made, batches, letters)
    wanted = _wanted(case, made)
    said = [f"not found: {fact}" for fact in (wanted - found).elements()]
    said += [f"not expected: {fact}" for fact in (found - wanted).elements()]
    said += _untimely(case, made, batches)
    for line in case.all("learns"):
        said += _mislearnt(case, line, made.begin_ms, batches)
    for line in case.all("compares"):
        said += _miscompared(case, line, batches)
    return said


def _wanted(case: Case, made: Layout) -> Facts:
    facts: Facts = Counter()
    sent = made.sent[case.name]
    deferred = {it.line.id for it in sent if "deferred" in it.line.flags}
    for it in sent:
        line, stream = it.line, STREAMS[it.stream]
        metric, value = outcome_of(line) if line.verb == "outcome" else ("", None)
        if line.fate.startswith("dead:"):
            facts["dead", TOPICS[it.stream], it.offset, line.fate.removeprefix("dead:")] += 1
        elif line.fate != "counted":
            facts[stream, line.fate, line.id, metric, value] += 1
        elif line.verb == "outcome":
            facts["matched", line.id, metric, value] += metric != ""
        elif line.verb == "shadow":
            facts["paired", line.id, line.options["variant"]] += 1
        else:
            facts["exposed", line.id] += line.id not in deferred
    for line in case.all("exposes"):
        facts["exposed", line.id] += 1
    for name in {line.id for line in case.all("closes")}:
        facts["closed", name] += 1
    for line in case.all("closes"):
        facts.update(_summaries(line))
    for line in case.all("scores"):
        scores = (float(line.options[key]) for key in ("score", "answer"))
        facts["scored", line.id, line.options["variant"], *scores] += 1
    return +facts


def _summaries(line: Line) -> Iterator[tuple[Any, ...]]:
    """What a `closes` line says of a metric, and of the prediction that is credited."""
    for key, text in line.options.items():
        if key in _VALUES:
            yield "summary", line.id, line.flags[0], key, float(text)


def _found(
    case: Case, made: Layout, batches: Iterable[ObservationBatch], letters: Iterable[DeadLetter]
) -> Facts:
    names = {request(it.name): it.line.id for it in made.sent[case.name]}
    stated = {fact[:4] for line in case.all("closes") for fact in _summaries(line)}
    facts: Facts = Counter()
    for _, kind, row in rows_of(batches):
        name = names.get(row.get("request", -1))
        if name is None:
            continue
        if kind == "irregular":
            stream = STREAMS[row["stream"]]
            value = row["value"] if stream == "outcome" else None
            facts[stream, CLASSES[row["class"]], name, row["metric"] or "", value] += 1
        elif kind == "matched":
            facts["matched", name, row["metric"], row["value"]] += 1
        elif kind == "closed_metric":
            row["n"] = row["count"]
            told = {("summary", name, row["metric"], key): float(row[key]) for key in _VALUES}
            facts.update((*key, told[key]) for key in told if key in stated or key[3] == "n")
        elif kind == "closed_shadow":
            scores = (row["shadow_score"], row["score"])
            facts["scored", name, row["shadow_context"].variant, *scores] += 1
        elif kind == "shadow":
            facts["paired", name, row["shadow_context"].variant] += 1
        elif kind in ("exposure", "closed"):
            facts["exposed" if kind == "exposure" else "closed", name] += 1
        wrong = _misattributed(case, name, kind, row)
        if wrong:
            facts[wrong] += 1
    places = {(TOPICS[it.stream], it.offset) for it in made.sent[case.name]}
    for letter in letters:
        if (letter.topic, letter.offset) in places and letter.partition == made.partition:
            facts["dead", letter.topic, letter.offset, letter.reason] += 1
    return facts


def _misattributed(case: Case, name: str, kind: str, row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Empty when the fact carries what the first prediction said, or there is none."""
    first = [it for it in case.all("prediction") if it.id == name and it.fate == "counted"]
    context = row.get("context")
    if context is None:
        return ()
    options = first[0].options
    said: dict[str, Any] = {
        "variant": options.get("variant", "a"),
        "generation": int(options.get("generation", 1)),
        "version": int(options.get("version", 1)),
    }
    said["served_by"] = options.get("served_by", said["variant"])
    said["weight"] = float(options.get("weight", 1.0))
    for line in case.all("closes"):
        if line.id == name:
            stated = {key: line.options[key] for key in said if key in line.options}
            said |= {key: type(said[key])(text) for key, text in stated.items()}
    told = {key: getattr(context, column) for key, column in _CONTEXT.items()}
    told["weight"] = row.get("weight", said["weight"])
    if told == said and context.experiment == case.experiment:
        return ()
    return "credited to", kind, name, tuple(told.items())


def _untimely(case: Case, made: Layout, batches: Iterable[ObservationBatch]) -> list[str]:
    """Exposures and closed requests that are told before their time, or long behind it."""
    names = {request(it.name): it.line.id for it in made.sent[case.name]}
    said = []
    for batch, kind, row in rows_of(batches):
        name = names.get(row.get("request", -1))
        verb = {"exposure": "exposes", "closed": "closes"}.get(kind, "")
        for line in case.all(verb):
            after_ms = batch.log_time_ms - made.begin_ms - line.at_ms
            if line.id == name and not 0 <= after_ms <= SETTLE_MS:
                said.append(f"{verb} {name}: {after_ms} ms after {line.at_ms} ms")
    return said


def _mislearnt(
    case: Case, line: Line, begin_ms: int, batches: Sequence[ObservationBatch]
) -> list[str]:
    """What the statistics take from the batches otherwise than a `learns` line says."""
    item = _measurement(line)
    metric, aggregate = item.name, item.aggregate
    generation = int(line.options.get("generation", 1))
    ledger = Ledger(Plan(case.experiment, generation, ("a", "b"), (item,)))
    variant = line.options.get("variant", "a")
    said = []
    for batch in batches:
        if batch.log_time_ms < begin_ms + line.at_ms:
            ledger.observe(batch)
    if ledger.moments(metric, variant).n:
        said.append(f"{metric} {aggregate}: learnt before {line.at_ms} ms")
    for batch in batches:
        if batch.log_time_ms >= begin_ms + line.at_ms:
            ledger.observe(batch)
    moments = ledger.moments(metric, variant)
    for key in ("n", "mean"):
        told = float(getattr(moments, key))
        if key in line.options and not math.isclose(told, float(line.options[key]), abs_tol=1e-12):
            said.append(f"{metric} {aggregate}: {key} is {told}")
    return said


def _miscompared(case: Case, line: Line, batches: Sequence[ObservationBatch]) -> list[str]:
    """What the statistics take of a shadow beside the answer otherwise than a `compares` line."""
    item, variant = _measurement(line), line.options["variant"]
    ledger = Ledger(Plan(case.experiment, 1, ("a", "s", "t"), (item,), objective=item.name))
    for batch in batches:
        ledger.observe(batch)
    tally = ledger.shadows[variant]
    told = f"{variant}: n={tally.scored} error={tally.squared_error.moments().mean}"
    is_right = tally.scored == int(line.options["n"]) and math.isclose(
        tally.squared_error.moments().mean, float(line.options.get("error", 0.0)), abs_tol=1e-12
    )
    return [] if is_right else [told]


def _measurement(line: Line) -> Measurement:
    """`click first or 0:` as a metric."""
    metric, aggregate = (word.rstrip(":") for word in line.flags[:2])
    default = float(line.flags[3].rstrip(":")) if "or" in line.flags else None
    return Measurement(metric, "outcome", "increase", aggregate=aggregate, default=default)


def rows_of(
    batches: Iterable[ObservationBatch],
) -> Iterator[tuple[ObservationBatch, str, dict[str, Any]]]:
    """All facts of all batches as (batch, kind, map), contexts and names put in."""
    for batch in batches:
        closed = batch.tables["closed"]["request"]
        for kind, table in batch.tables.items():
            for place in range(batch.count(kind)):
                row = {name: column[place].item() for name, column in table.items()}
                for name in ("context", "shadow_context"):
                    if name in row:
                        row[name] = None if row[name] == NONE else batch.contexts[row[name]]
                if "metric" in row:
                    row["metric"] = None if row["metric"] == NONE else batch.names[row["metric"]]
                if kind in ("closed_metric", "closed_shadow"):
                    row["request"] = closed[row["row"]].item()
                yield batch, kind, row
