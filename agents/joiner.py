"""The joiner as a role: predictions, shadow predictions and outcomes in; observations out.

The Faust agent around it is `agents/app.py`'s; what it concludes is in `streams/joining/`.
"""

from __future__ import annotations

from tidegate.agents.hosting.host import HandlerFactory
from tidegate.agents.settings import Settings
from tidegate.schemas.codec import Bindings
from tidegate.streams.joining.joiner import Joiner
from tidegate.streams.joining.settings import JoinerSettings
from tidegate.streams.output import Emit


def joiner_factory(
    settings: Settings, engine: str, bindings: Bindings | None = None
) -> HandlerFactory:
    """Makes the joiner of a partition."""
    chosen = JoinerSettings(
        observation_partitions=settings.decision_partitions,
        emit_interval_ms=settings.emit_interval_ms,
        facts_per_batch=settings.facts_per_batch,
        early_tolerance_ms=settings.early_tolerance_ms,
        grace_ms=settings.grace_ms,
        closed_memory_ms=settings.closed_memory_ms,
        future_tolerance_ms=settings.future_tolerance_ms,
        open_max=settings.open_max,
        closed_max=settings.closed_max,
        waiting_max=settings.waiting_max,
    )

    def make(partition: int, emit: Emit) -> Joiner:
        return Joiner(partition, chosen, engine, emit, bindings)

    return make
