"""Routing tables for tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tidegate.schemas.events import Routing, Variant
from tidegate.streams.routing import allocate


def routing(weights: Mapping[str, int] | None = None, **changes: Any) -> Routing:
    """A sound table: control `a`, then `b` and `c`, with some fields changed."""
    shares = dict(weights or {"a": 9000, "b": 1000, "c": 0})
    values: dict[str, Any] = {
        "experiment": "ranker", "epoch": 0, "version": 7, "generation": 2, "control": "a",
        "variants": tuple(
            Variant(name=name, model="ranker", model_version=f"v-{name}") for name in sorted(shares)
        ),
        "buckets": allocate(shares), "inclusion": 10_000, "salt": "ranker",
        "reward_wait_ms": 1_000, "decision_id": "ranker/0/7", "published_at": 0,
    }  # fmt: skip
    return Routing(**{**values, **changes})
