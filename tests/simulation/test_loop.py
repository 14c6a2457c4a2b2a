"""The whole loop: what is good gets promoted, what is bad is gone, and a replay says the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.simulation.loop import NAME, PARTITIONS, Simulation, Variant, rejoin, replay
from tidegate.schemas import codec
from tidegate.schemas.events import Decision, Outcome
from tidegate.schemas.manifest.spec import ExperimentSpec
from tidegate.schemas.observation_reading import decode_observation
from tidegate.streams.output import Output

SHADOW = {
    "shadow": {
        "until": {"requests": 300}, "require": {"disagreement": "<= 10%"}, "on_inconclusive": "pass"
    }
}  # fmt: skip
CANARY = {"canary": {"weights": ["10%", "30%"], "hold": "5s", "min_samples": 100}}
BANDIT = {
    "bandit": {
        "floor": "5%",
        "every": "1s",
        "until": {"p_best": "95%"},
        "max_duration": "5m",
        "min_samples": 200,
    }
}
FULL = {"full": {"keep_previous": "5s"}}
ERRORS = {
    "metric": "errors",
    "compare": "control",
    "worse_by": "2pp",
    "min_samples": 100,
    "on_breach": "rollback",
}
CONVERSION = {
    "metric": "conversion",
    "compare": "control",
    "worse_by": "5pp",
    "min_samples": 100,
    "on_breach": "rollback",
}


def spec_of(*release: Any) -> ExperimentSpec:
    """A manifest of the release steps."""
    return ExperimentSpec.model_validate(
        {
            "unit": {"key": "user"},
            "control": "champion",
            "variants": {
                "champion": {"model": "ranker", "version": "v1"},
                "challenger": {"model": "ranker", "version": "v2"},
            },
            "metrics": {
                "conversion": {
                    "type": "binary",
                    "aggregate": "first",
                    "window": "2s",
                    "default": 0.0,
                    "goal": "increase",
                },
                "errors": {"field": "status", "type": "rate", "goal": "decrease"},
            },
            "objective": "conversion",
            "guardrails": [ERRORS, CONVERSION],
            "release": list(release),
        }
    )


def started(challenger: Variant, *release: Any, seed: int = 1, rate: int = 40) -> Simulation:
    """A release that has begun."""
    simulation = Simulation(seed, {"champion": Variant(), "challenger": challenger}, rate)
    simulation.run(500)
    simulation.order("APPLY", spec_of(*release))
    assert simulation.run(2_000, simulation.has_decided("APPLY"))
    return simulation


def unique(outputs: list[Output]) -> list[Output]:
    """Outputs as readers take them: repetitions dropped, order of first appearance kept."""
    return list(dict.fromkeys(outputs))


def holds(simulation: Simulation) -> None:
    """What must be so after every run: decisions sound, and both folds replayable."""
    decisions = [item for item in simulation.decisions() if item.version]
    assert [item.version for item in decisions] == list(range(1, len(decisions) + 1))
    assert all(sum(item.weights.values()) == 10_000 for item in decisions)
    assert unique(replay(simulation, 777)) == unique(simulation.outputs)
    for partition in range(PARTITIONS):
        recorded = [
            item
            for item in simulation.observed
            if item.value and decode_observation(item.value).source_partition == partition
        ]
        assert unique(rejoin(simulation, partition, 333)) == unique(recorded)


def since(simulation: Simulation, at_ms: int) -> list[str]:
    """Variants that served from a time on."""
    return [variant for served_ms, variant in simulation.served if served_ms > at_ms]


def path(simulation: Simulation) -> list[str]:
    """Actions of all decisions, updates of the bandit left out."""
    actions = [item.action for item in simulation.decisions()]
    return [action for action in actions if action not in ("UPDATE", "HOLD")]


def test_a_good_candidate_goes_all_the_way() -> None:
    """Shadow, canary twice, bandit, everything: the better model serves everybody."""
    simulation = started(Variant(conversion=0.3), SHADOW, CANARY, BANDIT, FULL)
    assert simulation.run(90_000, simulation.has_decided("FINISH"))
    assert path(simulation) == ["APPLY", "ADVANCE", "ADVANCE", "ADVANCE", "PROMOTE", "FINISH"]
    last = simulation.decisions()[-1]
    assert (last.phase, last.weights) == ("COMPLETED", {"champion": 0, "challenger": 10_000})
    simulation.run(1_000)
    assert set(since(simulation, simulation.now_ms - 500)) == {"challenger"}
    holds(simulation)


@pytest.mark.parametrize(
    ("challenger", "metric"),
    [(Variant(error=0.3), "errors"), (Variant(conversion=0.02), "conversion")],
)
def test_a_bad_candidate_is_rolled_back_and_stays_away(challenger: Variant, metric: str) -> None:
    """By what fails at once, or by what users do later; nobody is served by it again."""
    simulation = started(challenger, CANARY, BANDIT, FULL)
    assert simulation.run(60_000, simulation.has_decided("ROLLBACK"))
    decision = simulation.decisions()[-1]
    assert decision.reason.startswith(metric)
    assert decision.control_id is None
    simulation.run(300)
    told_ms = simulation.now_ms
    simulation.run(5_000)
    assert set(since(simulation, told_ms)) == {"champion"}
    assert all(client.rolled_back == {"challenger"} for client in simulation.clients)
    assert path(simulation)[-1] == "ROLLBACK"
    holds(simulation)


def test_equal_candidates_are_not_rolled_back() -> None:
    """Nothing to see: no breach, the canary goes on by its own rules."""
    simulation = started(Variant(), CANARY, BANDIT, FULL)
    simulation.run(20_000)
    assert "ROLLBACK" not in path(simulation)
    holds(simulation)


def test_a_candidate_that_disagrees_waits_for_a_person() -> None:
    """Nobody was harmed in the shadow, so nothing is rolled back."""
    simulation = started(Variant(disagreement=0.5), SHADOW, CANARY, FULL)
    assert simulation.run(30_000, simulation.has_decided("PAUSE"))
    assert simulation.decisions()[-1].verdict == "FAIL"
    assert set(since(simulation, 0)) == {"champion"}
    simulation.order("PROMOTE", arguments={"to": "next"})
    assert simulation.run(5_000, simulation.has_decided("ADVANCE"))
    holds(simulation)


def test_a_joiner_that_is_down_means_waiting() -> None:
    """A minute without observations: no step, no verdict; a person's rollback works as ever."""
    simulation = started(Variant(), CANARY, BANDIT, FULL, rate=5)
    simulation.run(2_000)
    simulation.down.add("joiner")
    before = len(simulation.decisions())
    simulation.run(60_000)
    assert len(simulation.decisions()) == before
    simulation.order("ROLLBACK", arguments={"variant": "challenger"}, generation=1)
    simulation.run(300)
    assert simulation.decisions()[-1].action == "ROLLBACK"
    told_ms = simulation.now_ms
    simulation.run(2_000)
    assert set(since(simulation, told_ms)) == {"champion"}
    simulation.down.clear()
    simulation.run(5_000)
    assert path(simulation)[-1] == "ROLLBACK"
    holds(simulation)


def test_a_rollback_is_obeyed_while_nobody_decides() -> None:
    """Clients read it from control; the decider catches up and agrees."""
    simulation = started(Variant(), CANARY, FULL)
    simulation.run(2_000)
    simulation.down |= {"joiner", "decider"}
    simulation.order("ROLLBACK", arguments={"variant": "challenger"}, generation=1)
    simulation.run(200)
    told_ms = simulation.now_ms
    simulation.run(3_000)
    assert set(since(simulation, told_ms)) == {"champion"}
    simulation.down.clear()
    simulation.run(3_000)
    assert simulation.decisions()[-1].weights == {"champion": 10_000, "challenger": 0}
    holds(simulation)


@pytest.mark.parametrize("seed", range(3))
def test_crashes_change_nothing_that_counts(seed: int) -> None:
    """Workers die and go on from old checkpoints: repeated records are equal, and dropped."""
    challenger = Variant(error=0.3) if seed % 2 else Variant(conversion=0.35)
    simulation = started(challenger, CANARY, BANDIT, FULL, seed=seed, rate=20)
    crashes = 0
    for _ in range(20):
        simulation.checkpoint()
        simulation.run(simulation.draw.choice([300, 1_000, 2_000]))
        if simulation.draw.random() < 0.5:
            simulation.crash(simulation.draw.choice(["joiner", "decider"]))
            crashes += 1
    simulation.run(2_000)
    assert crashes
    assert len(simulation.outputs) > len(unique(simulation.outputs)), "something was repeated"
    expected = "ROLLBACK" if seed % 2 else "PROMOTE"
    assert expected in path(simulation)
    holds(simulation)


def test_one_flipped_outcome_is_found() -> None:
    """An audit of a log in which one reward was changed does not give what was recorded."""
    simulation = started(Variant(conversion=0.3), BANDIT, FULL)
    simulation.run(20_000)
    log = simulation.logs["outcomes", 0].entries
    place, value = next((index, item) for index, item in enumerate(log) if isinstance(item, bytes))
    log[place] = codec.encode(replace(codec.decode_as(Outcome, value), value=0.0))
    recorded = [
        item.value
        for item in simulation.observed
        if item.value and decode_observation(item.value).source_partition == 0
    ]
    found = [item.value for item in rejoin(simulation, 0, 500)]
    assert len(found) == len(recorded)
    assert found != recorded


def test_decisions_name_the_experiment_they_are_about() -> None:
    """Every record of the loop belongs to it."""
    simulation = started(Variant(), FULL)
    found = [
        codec.decode_as(Decision, item.value)
        for item in simulation.outputs
        if item.topic == "decisions" and item.value
    ]
    assert {item.experiment for item in found} == {NAME}
