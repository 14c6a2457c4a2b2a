"""Real messages, and how to draw others like them."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from hypothesis import strategies as st

from tidegate.schemas import limits
from tidegate.schemas.catalogue import latest
from tidegate.schemas.events import EVENTS, Event

names = st.text(min_size=1, max_size=40).filter(lambda text: len(text.encode()) <= 255)
values = st.floats(-1e15, 1e15)
times = st.integers(0, 4_102_444_800_000)


def example(name: str, version: int = 0) -> dict[str, Any]:
    """The published example of a schema, by default its newest version.

    Bytes are written as ISO 8859-1 text in JSON.
    """
    file = (
        files("tidegate.schemas")
        .joinpath("examples")
        .joinpath(f"{name}.v{version or latest(name).version}.json")
    )
    document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    if name == "dead-letter":
        document["value"] = document["value"].encode("iso-8859-1")
    return document


def event(name: str, **changes: Any) -> Event:
    """The example as an event, with some fields changed."""
    return EVENTS[name].from_dict({**example(name), **changes})


_DRAWN: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "prediction": {
        "request_id": names, "unit_id": names, "served_at": times,
        "propensity": st.floats(limits.PROPENSITY_MIN, 1),
        "score": st.none() | values, "label": st.none() | names,
        "latency_ms": st.none() | st.floats(0, 86_400_000.0),
        "features": st.none() | st.dictionaries(names, values, max_size=5),
        "attributes": st.none() | st.dictionaries(names, names, max_size=5),
        "slate": st.none() | st.lists(st.fixed_dictionaries({"item": names, "variant": names})),
        "generation": st.integers(0, 2**31 - 1), "routing_version": st.integers(0, 2**53 - 1),
        "reward_wait_ms": st.integers(1, 86_400_000), "deferred": st.none() | st.booleans(),
        "status": st.sampled_from(["OK", "FALLBACK", "ERROR", "TIMEOUT"]),
    },
    "shadow-prediction": {
        "request_id": names, "served_at": times, "score": st.none() | values,
        "slate": st.none() | st.lists(names, max_size=4),
        "status": st.sampled_from(["OK", "ERROR", "TIMEOUT"]),
    },
    "outcome": {
        "request_id": names, "outcome_id": names, "value": values, "occurred_at": times,
        "metric": names, "source": st.none() | names, "position": st.none() | st.integers(0, 99),
    },
    "control": {
        "spec": st.none() | st.text(), "arguments": st.dictionaries(names, names, max_size=3),
        "signature": st.none() | st.binary(max_size=64), "issued_at": times,
    },
    "routing": {"version": st.integers(0, 2**53 - 1), "policy": st.none() | st.text()},
    "command": {"arguments": st.dictionaries(names, names, max_size=3), "reason": names},
    "decision": {"covers": st.dictionaries(names, times, max_size=4), "evidence": st.text()},
    "applied": {
        "models": st.none() | st.dictionaries(names, names, max_size=3),
        "breaker": st.none() | st.lists(names, max_size=3),
        "rolled_back": st.lists(names, max_size=3),
        "servers": st.none()
        | st.lists(st.fixed_dictionaries({"model": names, "version": names, "health": names})),
        "outcome": st.none() | names, "detail": st.none() | st.text(max_size=99),
    },
    "dead-letter": {"value": st.binary(max_size=4_096), "offset": times},
}  # fmt: skip

events: st.SearchStrategy[Event] = st.sampled_from(sorted(_DRAWN)).flatmap(
    lambda name: st.fixed_dictionaries(_DRAWN[name]).map(lambda drawn: event(name, **drawn))
)
