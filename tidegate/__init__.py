"""Tidegate: every routing decision of a model service, logged, judged, reversible, replayable.

Importing this package loads neither Faust nor Kafka nor River; names are loaded when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidegate.agents.client import Answer, Client
    from tidegate.streams.assignment import Assignment

__all__ = ["Answer", "Assignment", "Client", "__version__"]
__version__ = "0.1.0"

_HOMES = {
    "Answer": "tidegate.agents.client",
    "Assignment": "tidegate.streams.assignment",
    "Client": "tidegate.agents.client",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'tidegate' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(home), name)
