"""The fold is a function of its inputs: from any cut, the same bytes again."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.streams.deciding.world import BANDIT, CANARY, ERRORS, NAME, Group, World, spec_of
from tidegate.schemas.events import Decision
from tidegate.streams.rollout import Phase

FULL = {"full": {"keep_previous": "60s"}}
LATENCY = {"metric": "latency", "max": "120ms", "min_samples": 100, "on_breach": "step_back"}
Step = Callable[[World], object]


def life(seed: int) -> list[Step]:
    """Everything that may happen to a partition, in a seeded order."""
    draw = random.Random(seed)
    steps: list[Step] = [
        lambda world: world.apply(
            {"canary": CANARY},
            {"bandit": BANDIT},
            FULL,
            candidates=("blue", "green"),
            guardrails=[{**ERRORS, "on_breach": "pause"}, ERRORS, LATENCY],
        ),
        lambda world: world.order("APPLY", spec_of(), experiment="flag"),
    ]
    for number in range(30):
        steps.append(draw.choice(_happenings(draw, number)))
    return steps


def _happenings(draw: random.Random, number: int) -> list[Step]:
    span_ms = draw.choice([300, 5_000, 61_000])
    errors, converted = draw.choice([0, 2, 30]), draw.randint(10, 40)
    action = draw.choice(["PAUSE", "RESUME", "PROMOTE", "ABORT", "SET", "APPLY"])
    variant = draw.choice(["blue", "green", "champion"])
    source = draw.randint(0, 1)
    latency_ms = draw.choice([20.0, 20.0, 300.0])

    def facts(world: World) -> None:
        world.observe(
            Group("champion", 150, 1),
            Group("blue", 150, errors, latency_ms=latency_ms),
            Group("green", 150, 1),
            Group("champion", 120, converted=12, closed=True),
            Group("blue", 120, converted=converted, closed=True),
            Group("green", 120, converted=15, closed=True),
            source=source,
        )

    def manifest(world: World) -> None:
        spec = spec_of({"canary": CANARY}, FULL, candidates=("blue",), salt=f"salt-{number}")
        world.order("APPLY", spec, parent=world.state.spec.digest())

    return [
        lambda world: world.tick(span_ms),
        lambda world: world.tick(span_ms),
        facts,
        facts,
        facts,
        facts,
        lambda world: world.order(action, arguments={"variant": variant}),
        lambda world: world.order("ROLLBACK", arguments={"variant": variant}),
        lambda world: world.order("SET", experiment="flag", arguments={"challenger": "2500"}),
        lambda world: world.applied(f"c{source}", version=number, rolled_back=("blue",)),
        lambda world: world.applied("c0", kind="HEARTBEAT", experiment=""),
        lambda world: world.send(2, b"nonsense"),
        lambda world: world.mark("gap", source_partition="0", sequence=str(number)),
        manifest,
    ]


def lived(steps: list[Step], cut: int | None = None) -> World:
    """A whole life; at `cut` the decider dies and another goes on from its dump."""
    world = World(partitions=2, beat_ms=20_000)
    for number, step in enumerate(steps):
        if number == cut:
            state = world.decider.dump()
            world.decider = world.fresh()
            world.decider.load(state)
            assert world.decider.dump() == state
        step(world)
    return world


@pytest.mark.parametrize("seed", [1, 2])
def test_every_cut_gives_the_same_bytes(seed: int) -> None:
    """A decider that dies anywhere leaves no trace in what is written."""
    steps = life(seed)
    whole = lived(steps)
    for cut in range(2, len(steps)):
        again = lived(steps, cut)
        assert again.outputs == whole.outputs, f"cut {cut}"
        assert again.decider.dump() == whole.decider.dump()


def invariants(decisions: list[Decision]) -> None:
    """What holds of every history of decisions of one experiment."""
    version, generation, rolled_back = 0, 0, set[str]()
    for item in decisions:
        assert item.version == version + 1, "versions are dense"
        assert item.generation in (generation, generation + 1), "generations rise by one"
        if item.generation > generation:
            rolled_back = set()
        if item.action == "ROLLBACK" and item.variant:
            rolled_back.add(item.variant)
            assert item.control_id or '"breach"' in item.evidence, "no rollback without cause"
        assert sum(item.weights.values()) == 10_000
        assert min(item.weights.values()) >= 0
        assert all(item.weights.get(name, 0) == 0 for name in rolled_back), "rollback is sticky"
        assert item.phase in set(Phase)
        assert not any(word in item.evidence for word in ("NaN", "Infinity"))
        version, generation = item.version, item.generation


@given(st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_invariants_hold_in_every_life(seed: int) -> None:
    """Whatever happens in whatever order; and every order is answered exactly once."""
    world = lived(life(seed))
    found = world.decisions()
    for name in (NAME, "flag"):
        invariants([item for item in found if item.experiment == name])
    answers = [item.control_id for item in found if item.control_id]
    assert sorted(answers) == sorted(f"c{number + 1}" for number in range(world.orders))
    for table in world.tables():
        assert all(item.variant not in table.rolled_back for item in table.buckets)


def test_lives_are_not_vacuous() -> None:
    """Over a few seeds every action and every ending happens at least once."""
    seen: set[str] = set()
    for seed in range(30):
        seen |= {f"{item.action} {item.phase}" for item in lived(life(seed)).decisions()}
    actions = {item.split()[0] for item in seen}
    phases = {item.split()[1] for item in seen}
    assert actions >= {
        "APPLY",
        "SET",
        "ADVANCE",
        "UPDATE",
        "PROMOTE",
        "ROLLBACK",
        "PAUSE",
        "RESUME",
        "ABORT",
        "REFUSED",
    }
    assert phases >= {"RUNNING", "PAUSED", "PROMOTED", "ROLLED_BACK", "ABORTED", "FLAG"}
