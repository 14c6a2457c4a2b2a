"""An experiment as JSON-able state, and back: what a checkpoint holds of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import Any

from tidegate.schemas.events import BucketRange
from tidegate.schemas.manifest.spec import ExperimentSpec
from tidegate.streams.deciding.checks import Check
from tidegate.streams.deciding.deployment import Deployment
from tidegate.streams.deciding.experiment import ExperimentState, Unconfirmed
from tidegate.streams.estimation import Ledger, plan_of
from tidegate.streams.estimation.strata import Key
from tidegate.streams.guardrail_reading import Since
from tidegate.streams.rollout import Phase


def all_to_state(experiments: Mapping[str, ExperimentState]) -> list[dict[str, Any]]:
    """All experiments of a partition, by name."""
    return [to_state(state) for _, state in sorted(experiments.items())]


def all_from_state(found: Sequence[Mapping[str, Any]]) -> dict[str, ExperimentState]:
    """The inverse of `all_to_state`."""
    return {item["name"]: from_state(item) for item in found}


def to_state(state: ExperimentState) -> dict[str, Any]:
    """The experiment as JSON-able state."""
    plain = {name: getattr(state, name) for name in _PLAIN}
    return {
        **plain,
        "spec": state.spec.to_json(),
        "phase": str(state.phase),
        "buckets": [[item.variant, item.start, item.end] for item in state.buckets],
        "first_table": list(state.first_table),
        "tables": [list(key) for key in state.tables],
        "judged_from": {
            pair: [list(since.table), since.requests, since.beyond]
            for pair, since in state.judged_from.items()
        },
        "checks": {pair: list(astuple(item)) for pair, item in state.checks.items()},
        "unconfirmed": [list(astuple(item)) for item in state.unconfirmed],
        "deployment": state.deployment.to_state(),
        "ledger": state.ledger.to_state(),
    }


def from_state(found: Mapping[str, Any]) -> ExperimentState:
    """The inverse of `to_state`.

    A state that an earlier version left at a barrier lacks what has been added since: that begins
    as in an experiment of which nothing is known.
    """
    state = ExperimentState(
        spec=ExperimentSpec.accepted(found["spec"]),
        phase=Phase(found["phase"]),
        buckets=tuple(
            BucketRange(variant=variant, start=start, end=end)
            for variant, start, end in found["buckets"]
        ),
        first_table=_key(found["first_table"]),
        tables=[_key(item) for item in found["tables"]],
        judged_from={
            pair: Since(_key(table), requests, beyond)
            for pair, (table, requests, beyond) in found["judged_from"].items()
        },
        checks={pair: Check(*item) for pair, item in found.get("checks", {}).items()},
        unconfirmed=[Unconfirmed(*item) for item in found["unconfirmed"]],
        deployment=Deployment.from_state(found.get("deployment", Deployment().to_state())),
        **{name: found[name] for name in _PLAIN if name in found},
    )
    state.ledger = Ledger.from_state(
        plan_of(state.name, state.generation, state.spec), found["ledger"]
    )
    return state


def _key(found: list[int]) -> Key:
    return found[0], found[1]


_PLAIN = (
    "name",
    "epoch",
    "version",
    "generation",
    "step",
    "increment",
    "winner",
    "since_ms",
    "checked_ms",
    "held",
    "approvals",
    "waits",
    "told",
    "weights",
    "shadow",
    "rolled_back",
    "closed",
    "published_at_ms",
    "previous",
    "is_view_due",
    "viewed_ms",
)
