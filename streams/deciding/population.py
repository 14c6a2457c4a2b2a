"""Who takes part, as the routing table says it: from the spec and the state of a release."""

from __future__ import annotations

from typing import Any

from tidegate.schemas.canonical import canonical_json
from tidegate.streams.deciding.experiment import ExperimentState
from tidegate.streams.deciding.rings import limits_of


def rules_of(state: ExperimentState) -> str:
    """`Routing.rules` of a state: canonical JSON, what is not restricted left out."""
    spec = state.spec
    found: dict[str, Any] = {"unit": {"key": spec.unit.key}}
    if spec.unit.fallback is not None:
        found["unit"]["fallback"] = spec.unit.fallback
    if spec.layer is not None and spec.layer.is_allotted:
        slots = [list(slot) for slot in spec.layer.slots or ()]
        found["layer"] = {"name": spec.layer.name, "salt": spec.layer.salt, "slots": slots}
    if spec.holdout is not None:
        found["holdout"] = {"salt": spec.holdout.salt, "share_bp": spec.holdout.share_bp}
    if spec.targeting is not None:
        found["targeting"] = [segment.to_condition() for segment in spec.targeting]
    rings = limits_of(state)
    if rings is not None:
        found["rings"] = rings
    if spec.overrides:
        found["overrides"] = [
            {"when": item.when.to_condition(), "variant": item.variant} for item in spec.overrides
        ]
    return canonical_json(found)
