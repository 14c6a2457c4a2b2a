"""The decider as a role: control, applied and observations in; decisions, routing, commands out.

The Faust agent around it is `agents/app.py`'s; what it concludes is in `streams/deciding/`.
"""

from __future__ import annotations

from tidegate.agents.hosting.host import HandlerFactory
from tidegate.agents.settings import Settings
from tidegate.schemas.codec import Bindings
from tidegate.streams.deciding.decider import Decider
from tidegate.streams.output import Emit


def decider_factory(
    settings: Settings, engine: str, bindings: Bindings | None = None
) -> HandlerFactory:
    """Makes the decider of a partition."""

    def make(partition: int, emit: Emit) -> Decider:
        return Decider(
            partition, settings.partitions, settings.decision_partitions, emit, engine, bindings
        )

    return make
