"""The layers of a partition, and the decision that answers each order to one of them."""

from __future__ import annotations

from typing import Any

from tidegate.schemas.canonical import canonical_json, sha256_hex
from tidegate.schemas.errors import DefinitionError
from tidegate.schemas.events import Control, Decision
from tidegate.streams.deciding import layers, orders, rights
from tidegate.streams.deciding.experiment import FLAG_STEP
from tidegate.streams.deciding.layers import LayerState
from tidegate.streams.deciding.records import Journal, Moment, clipped


class LayerBook:
    """Layers by name. A name is that of a layer or of an experiment, never of both."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._layers: dict[str, LayerState] = {}

    def __contains__(self, order: Control) -> bool:
        """Whether an order concerns a layer."""
        return order.action in layers.ACTIONS or order.experiment in self._layers

    def take(self, order: Control, is_experiment: bool, moment: Moment) -> bool:
        """Carries an order out, or refuses it; one decision says which. Whether it was done."""
        try:
            state, said = self._carried_out(order, is_experiment, moment)
        except DefinitionError as error:
            self._journal.refusal(order, f"{order.action} refused: {error}", moment)
            return False
        self._layers[state.name] = state
        record = self._journal.decided(
            _decision(state, order, orders.said(order, said), moment, self._journal.engine)
        )
        state.previous = sha256_hex(record)
        return True

    def to_state(self) -> list[Any]:
        """JSON-able state."""
        return layers.to_state(self._layers)

    def load(self, found: list[Any]) -> None:
        """Becomes what `to_state` told."""
        self._layers = layers.from_state(found)

    def _carried_out(
        self, order: Control, is_experiment: bool, moment: Moment
    ) -> tuple[LayerState, str]:
        if is_experiment:
            raise DefinitionError(f"{order.experiment} is an experiment, not a layer")
        if order.action not in layers.ACTIONS:
            known = ", ".join(layers.ACTIONS)
            raise DefinitionError(f"{order.experiment} is a layer; layers know {known}")
        fault = orders.fault_of(order, 0, moment.log_time_ms, moment.log_time_ms)
        lacking = fault or rights.unsigned(order)
        if lacking:
            raise DefinitionError(lacking)
        return layers.carry_out(self._layers.get(order.experiment), order)


def _decision(
    state: LayerState, order: Control, reason: str, moment: Moment, engine: str
) -> Decision:
    return Decision(
        decision_id=f"{state.name}/layer/{state.version}",
        control_id=order.control_id,
        experiment=state.name,
        epoch=0,
        version=state.version,
        generation=0,
        decided_at=moment.log_time_ms,
        watermark=moment.watermark_ms,
        step=FLAG_STEP,
        phase=layers.PHASE,
        verdict="",
        action=order.action,
        variant="",
        reason=clipped(reason),
        evidence=canonical_json(state.evidence()),
        weights={},
        covers=dict(moment.covers),
        engine=engine,
        previous=state.previous,
    )
