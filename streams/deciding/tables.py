"""Routing tables of a state, and whether those of a manifest could be obeyed at all."""

from __future__ import annotations

from tidegate.schemas.events import Routing, Variant
from tidegate.schemas.manifest.spec import ExperimentSpec
from tidegate.streams.deciding.experiment import ExperimentState, decision_id
from tidegate.streams.deciding.population import rules_of
from tidegate.streams.estimation.strata import Key
from tidegate.streams.routing import allocate, faults
from tidegate.streams.strategies.base import ALL_BP


def table_of(state: ExperimentState, log_time_ms: int) -> Routing:
    """The routing table of a state, as its last decision made it."""
    spec = state.spec
    return Routing(
        experiment=state.name,
        epoch=state.epoch,
        version=state.version,
        generation=state.generation,
        control=state.control,
        variants=tuple(
            Variant(name=name, model=variant.model, model_version=variant.version)
            for name, variant in sorted(spec.variants.items())
        ),
        buckets=state.buckets,
        inclusion=spec.inclusion_bp,
        rolled_back=tuple(state.rolled_back),
        shadow=dict(sorted(state.shadow.items())),
        rules=rules_of(state),
        salt=spec.salt or state.name,
        reward_wait_ms=spec.reward_wait_ms,
        decision_id=decision_id(state.name, state.epoch, state.version),
        published_at=log_time_ms,
    )


def table_key(experiment: str, key: Key) -> bytes:
    """The key of a table's record: zero-padded, so that keys sort as versions do."""
    epoch, version = key
    return f"{experiment}/{epoch}/{version:012d}".encode()


def unroutable(name: str, spec: ExperimentSpec) -> str:
    """Why clients would refuse the tables of a manifest, or nothing.

    A table with one fault is refused whole: services would go on with the one before, or with
    control, and nobody would be told. The longest rules are looked at, all rings closed.
    """
    state = ExperimentState(name, spec, closed=[ring.name for ring in spec.rings])
    state.weights = {spec.control: ALL_BP}
    state.buckets = allocate(state.weights)
    return "; ".join(faults(table_of(state, 0)))
