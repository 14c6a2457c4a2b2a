"""Invariants of shares: what a manifest's steps allow, whatever the evidence says."""

from __future__ import annotations

from collections.abc import Sequence

from tests.simulation.invariants import hold
from tidegate.schemas.events import Control, Decision
from tidegate.schemas.manifest.spec import ExperimentSpec
from tidegate.schemas.manifest.steps import Bandit


def check_bounds(chain: Sequence[tuple[Decision, Control | None]]) -> None:
    """I26, over all decisions of an experiment, each with the order that it answers."""
    spec: ExperimentSpec | None = None
    before: Decision | None = None
    for decision, order in chain:
        if decision.action == "APPLY" and order is not None and order.spec is not None:
            spec = ExperimentSpec.from_json(order.spec)
        if spec is not None and decision.step >= 0 and decision.phase in ("RUNNING", "PAUSED"):
            step = spec.release[decision.step]
            if step.canary is not None:
                given_bp = sum(decision.weights.get(name, 0) for name in spec.candidates)
                hold("I26", given_bp <= step.canary.cap_bp, decision.decision_id, decision.weights)
            if step.bandit is not None and decision.action == "UPDATE" and before is not None:
                _check_update(step.bandit, before, decision)
        before = decision


def _check_update(bandit: Bandit, before: Decision, decision: Decision) -> None:
    told = (decision.decision_id, before.weights, decision.weights)
    # A variant that is rolled back has nothing, before and after.
    served = {name: share for name, share in decision.weights.items() if share}
    hold("I26", min(served.values()) >= bandit.floor_bp, *told)
    had = {name: before.weights.get(name, 0) for name in served}
    # Who came in by an amended manifest is lifted to the floor at once.
    if min(had.values()) >= bandit.floor_bp:
        furthest = max(abs(share - had[name]) for name, share in served.items())
        hold("I26", furthest <= bandit.max_change_bp, *told)
