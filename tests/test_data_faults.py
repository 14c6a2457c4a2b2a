"""Faults of data: every row of the table in `docs/hostile.md` is held by the tests it names.

Here are those that fit nowhere else.
"""

from __future__ import annotations

import ast
import random
import re
from collections import Counter
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.streams.deciding.world import BANDIT, CANARY, Group, World, spec_of
from tests.streams.joining.judging import rows_of
from tests.streams.joining.scenario import Scenario
from tests.streams.joining.traffic import (
    BEGIN_MS,
    SETTINGS,
    join,
    outcome,
    prediction,
    request,
    shadow,
)
from tests.streams.logs import Log, tick_all
from tidegate.agents.commands.screen import screen
from tidegate.schemas.errors import EventError
from tidegate.schemas.manifest.spec import ExperimentSpec
from tidegate.streams.deciding.experiment_json import to_state

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "hostile.md"


def rows() -> dict[str, list[str]]:
    """Tests by row of the page's table, as `FILE::NAME` below `tests/`."""
    found = re.findall(r"^\| (D\d+) \|.*\|(.*)\|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return {row: re.findall(r"`([^`]+)`", tests) for row, tests in found}


def test_every_row_is_held() -> None:
    """D1 to D17, each by tests that exist."""
    assert list(rows()) == [f"D{number}" for number in range(1, 18)]
    for row, tests in rows().items():
        assert tests, row
        for test in tests:
            file, name = test.split("::")
            tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
            named = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
            assert name in named, test


def test_repeats_are_counted_exactly() -> None:
    """D1: of every three outcomes one comes again, as it was or with another value; each request
    counts one, and duplicates and conflicts are those that were sent."""
    draw = random.Random(1)
    scenario = Scenario()
    sent: Counter[str] = Counter()
    for number in range(600):
        scenario.predict(f"r{number}").outcome(f"r{number}", value=1.0)
        for _ in range(draw.choice((0, 0, 1))):
            kind = draw.choice(("duplicate", "conflict"))
            sent[kind] += 1
            scenario.outcome(f"r{number}", value=1.0 if kind == "duplicate" else 0.0)
    assert scenario.count("outcome.counted") == 600
    assert {kind: scenario.count(f"outcome.{kind}") for kind in sent} == sent
    assert min(sent.values()) > 50


def test_a_thousand_interleavings_give_the_same_bytes() -> None:
    """D2: however fetches of the three topics arrive, observations and state are the same."""
    logs: list[Log] = [[], [], []]
    for interval in range(2):
        now_ms = BEGIN_MS + 300 * interval
        tick_all(logs, now_ms)
        for number in range(3):
            logs[number % 2 * 2].append(outcome("early", now_ms) if number % 2 else b"junk")
            logs[0].append(prediction(f"{interval}-{number}", now_ms))
            logs[1].append(shadow(f"{interval}-{number}", now_ms))
            logs[2].append(outcome(f"{interval}-{number - 1}", now_ms + 1))
    tick_all(logs, BEGIN_MS + 700)
    reference = join(logs)
    for seed in range(1_000):
        again = join(logs, sizes=lambda seed=seed: 1 + seed % 7, seed=seed)  # type: ignore[misc]
        assert again.outputs == reference.outputs, seed
    assert again.fold.dump() == reference.fold.dump()


def test_order_inside_an_interval_changes_no_class() -> None:
    """D2: records of different requests may change places inside an interval of their topic."""
    draw = random.Random(2)
    found = []
    for shuffled in (False, True):
        logs: list[Log] = [[], [], []]
        for interval in range(20):
            now_ms = BEGIN_MS + 100 * interval
            tick_all(logs, now_ms)
            names = [f"{interval}-{number}" for number in range(20)]
            for rank in (0, 2):
                if shuffled:
                    draw.shuffle(names)
                logs[rank] += [
                    prediction(name, now_ms) if rank == 0 else outcome(name, now_ms + 1)
                    for name in names
                ]
        tick_all(logs, BEGIN_MS + 5_000)
        joined = join(logs)
        matched = Counter(
            request
            for batch in joined.batches
            for request in batch.tables["matched"]["request"].tolist()
        )
        counters = joined.joiner.counters()
        del counters["facts"]
        found.append((matched, counters))
    assert found[0] == found[1]
    assert sum(found[0][0].values()) == 400


@pytest.mark.parametrize("skew_ms", [-86_400_000, -90_000, 90_000, 86_400_000])
def test_a_skewed_emitter_moves_nobody_else(skew_ms: int) -> None:
    """D5: what one emitter claims about the time neither closes nor delays other requests; its own
    are joined by their own difference, or refused when they claim to be from the future."""
    settings = replace(SETTINGS, future_tolerance_ms=300_000)
    found = []
    for skewed in (False, True):
        scenario = Scenario(settings)
        scenario.predict("honest").outcome("honest", at_ms=10)
        if skewed:
            scenario.predict("skewed", served_ms=skew_ms)
            scenario.outcome("skewed", at_ms=skew_ms + 10)
        scenario.at(599)
        assert scenario.rows("closed") == []
        scenario.at(700)
        rows = [row["request"] for row in scenario.rows("closed")]
        found.append(rows[:1])
        if skewed:
            refused = len(scenario.dead_letters())
            assert refused == (2 if skew_ms > 300_000 else 0)
            assert scenario.count("outcome.counted") == (1 if refused else 2)
    assert found[0] == found[1]
    assert len(found[0]) == 1


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_json_should_not_have_are_no_spec(number: str) -> None:
    """D10: a manifest on `control` is JSON that others may have written."""
    text = spec_of().to_json()
    ExperimentSpec.from_json(text)
    hostile = text.replace('"default":0.0', f'"default":{number}')
    assert hostile != text
    with pytest.raises(EventError):
        ExperimentSpec.from_json(hostile)


def _honest_facts(skew_ms: int | None) -> list[tuple[str, ...]]:
    """Facts about requests of honest emitters, with the time they were told at; one more emitter
    sends beside them, whose clock is ahead by `skew_ms` and steps back and forth by half of it."""
    draw, names, logs = random.Random(3), list[str](), list[Log]([[], [], []])
    # A full batch is told a little earlier, whoever filled it.
    settings = replace(SETTINGS, facts_per_batch=5_000)
    for interval in range(40):
        now_ms = BEGIN_MS + 100 * interval
        tick_all(logs, now_ms)
        for number in range(5):
            name, late_ms = f"honest-{interval}-{number}", draw.choice((0, 10, 499, 500))
            names.append(name)
            logs[0].append(prediction(name, now_ms))
            logs[2].append(outcome(name, now_ms + late_ms))
            if skew_ms is not None:
                there_ms = now_ms + skew_ms // (1 + number % 2)
                logs[0].append(prediction(f"skewed-{interval}-{number}", there_ms))
                logs[2].append(outcome(f"skewed-{interval}-{number}", there_ms + late_ms))
                logs[2].append(outcome(name, there_ms, 9.0, "by-the-skewed", "skewed-metric"))
    for later in range(1, 30):
        tick_all(logs, BEGIN_MS + 4_000 + 100 * later)
    honest = set(map(request, names))
    facts = [
        (str(batch.log_time_ms), kind, str({**row, "row": None}))
        for batch, kind, row in rows_of(join(logs, settings).batches)
        if row.get("request") in honest and row.get("metric") != "skewed-metric"
    ]
    assert len(facts) > 3 * len(honest)
    return sorted(facts)


@pytest.mark.parametrize("skew_ms", [-86_400_000, -90_000, 4_000, 90_000, 86_400_000])
def test_a_skewed_emitter_changes_no_fact_of_others(skew_ms: int) -> None:
    """D5: every fact about the requests of others is the same, told at the same log time, though
    the skewed one also sends outcomes for their requests."""
    assert _honest_facts(skew_ms) == _honest_facts(None)


def test_strangers_leave_no_state() -> None:
    """D15: facts of thousands of unknown experiments, generations and variants are counted, and
    neither the state nor any decision, table or view knows them."""
    told, sizes = [], []
    for strangers in (0, 3_000):
        world = World()
        world.apply({"canary": CANARY})
        for _ in range(3):
            world.observe(Group("champion", 90), Group("challenger", 10))
            world.observe(
                *(Group("champion", 1, experiment=f"unknown-{n}") for n in range(strangers)),
                *(Group("champion", 1, generation=2 + n) for n in range(strangers)),
                *(Group(f"nobody-{n}", 1) for n in range(strangers)),
            )
            world.tick(30_000)
        # Facts of another generation bring the next view forward; this brings it for both.
        world.observe(Group("champion", 90))
        world.tick(2_000)
        counters = world.decider.counters()
        unknown = [counters.get(f"fact.{name}", 0) for name in (
            "unknown_experiment", "other_generation", "unknown_variant",
        )]  # fmt: skip
        assert unknown == [3 * strangers] * 3
        experiments = {name: to_state(state) for name, state in world.decider.experiments.items()}
        decided = [(item.action, item.weights, item.reason) for item in world.decisions()]
        told.append((experiments, decided, world.view(), world.values("routing")))
        sizes.append(len(world.decider.dump()))
    assert told[0] == told[1]
    assert sizes[1] - sizes[0] < 100, "a few counters and their digits are all there is of them"


def test_untrue_propensities_are_shown_and_move_nothing() -> None:
    """D16: half of what they should be, they show as twice the sum of inverses, by variant, and on
    the screen; no decision, share or interval rests on what a record says of itself."""
    told = []
    for factor in (1.0, 0.5):
        world = World()
        world.apply({"canary": CANARY}, {"bandit": BANDIT})
        for _ in range(80):
            world.observe(
                Group("champion", 270, 3, propensity=0.9),
                Group("challenger", 30, 1, propensity=0.1 * factor),
                Group("champion", 270, converted=60, closed=True, propensity=0.9),
                Group("challenger", 30, converted=9, closed=True, propensity=0.1 * factor),
            )
            world.tick(2_000)
        view = world.view()
        shown = view["health"].pop("propensity")
        decided = [(it.action, it.weights, it.reason, it.evidence) for it in world.decisions()]
        told.append((decided, view, world.values("routing")))
        assert shown["challenger"] == pytest.approx(1.0 / factor, rel=0.2)
        lines = _printed({**view, "health": {**view["health"], "propensity": shown}})
        assert ("propensities of challenger do not add up" in lines) == (factor < 1.0)
    assert told[0] == told[1]
    assert {action for action, *_ in told[0][0]} > {"APPLY"}


def _printed(view: dict[str, Any]) -> str:
    """What `tidegate get NAME` prints of a view."""
    console = Console(width=400, color_system=None, file=StringIO())
    for part in screen(view, view["log_time"]):
        console.print(part)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()
