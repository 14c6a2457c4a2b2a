"""What a sound record is: each limit, at its edge."""

from __future__ import annotations

import struct
from math import inf, isnan, nan
from typing import Any

import mmh3
import pytest

from tests.schemas.samples import example
from tidegate.schemas.context import Context
from tidegate.schemas.decoding.columns import OutcomeTail
from tidegate.schemas.decoding.guards import outcome_row, prediction_row, shadow_row
from tidegate.schemas.errors import EventError

ROWS = {"prediction": prediction_row, "shadow-prediction": shadow_row, "outcome": outcome_row}


def row(name: str, **changes: Any) -> tuple[Any, ...]:
    """The columns of the example with some fields changed."""
    return ROWS[name]({**example(name), **changes})


REFUSED: list[tuple[str, str, dict[str, Any]]] = [
    ("prediction", "length", {"request_id": ""}),
    ("prediction", "length", {"request_id": "é" * 128}),
    ("prediction", "length", {"unit_id": "x" * 256}),
    ("prediction", "length", {"experiment": ""}),
    ("prediction", "length", {"label": "x" * 256}),
    ("prediction", "length", {"features": {f"f{number}": 1.0 for number in range(65)}}),
    ("prediction", "length", {"measures": {f"m{number}": 1.0 for number in range(17)}}),
    ("prediction", "length", {"attributes": {f"a{number}": "x" for number in range(17)}}),
    ("prediction", "length", {"attributes": {"region": ""}}),
    ("prediction", "length", {"features": {"": 1.0}}),
    ("prediction", "value", {"served_at": -1}),
    ("prediction", "value", {"score": nan}),
    ("prediction", "value", {"score": -1.1e15}),
    ("prediction", "value", {"features": {"age": inf}}),
    ("prediction", "value", {"status": "LATE"}),
    ("prediction", "value", {"generation": -1}),
    ("prediction", "value", {"routing_version": 2**53}),
    ("prediction", "value", {"sample_weight": 0.0}),
    ("prediction", "value", {"sample_weight": nan}),
    ("prediction", "propensity", {"propensity": 0.0}),
    ("prediction", "propensity", {"propensity": 1.0000001}),
    ("prediction", "propensity", {"propensity": nan}),
    ("prediction", "latency", {"latency_ms": -0.1}),
    ("prediction", "latency", {"latency_ms": 86_400_000.1}),
    ("prediction", "latency", {"latency_ms": nan}),
    ("prediction", "wait", {"reward_wait_ms": 0}),
    ("prediction", "wait", {"reward_wait_ms": 31 * 86_400_000 + 1}),
    ("shadow-prediction", "value", {"status": "FALLBACK"}),
    ("shadow-prediction", "value", {"measures": {"cost": nan}}),
    ("shadow-prediction", "length", {"variant": ""}),
    ("outcome", "value", {"value": inf}),
    ("outcome", "value", {"kind": "GUESS"}),
    ("outcome", "value", {"position": -1}),
    ("outcome", "value", {"occurred_at": 253_402_300_800_000}),
    ("outcome", "length", {"metric": ""}),
    ("outcome", "length", {"outcome_id": ""}),
    ("outcome", "length", {"source": ""}),
]


@pytest.mark.parametrize(("name", "reason", "changes"), REFUSED)
def test_what_exceeds_a_limit_is_refused(name: str, reason: str, changes: dict[str, Any]) -> None:
    """Each with its reason, and the message names what it was."""
    with pytest.raises(EventError) as caught:
        row(name, **changes)
    assert caught.value.reason == reason
    assert caught.value.detail


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("prediction", {"request_id": "x" * 255, "propensity": 1.0, "latency_ms": 86_400_000.0}),
        ("prediction", {"reward_wait_ms": 31 * 86_400_000, "score": 1e15, "latency_ms": 0.0}),
        ("prediction", {"features": {f"f{number}": -1e15 for number in range(64)}}),
        ("outcome", {"kind": "ACTIVATION", "metric": "", "value": 0.0, "position": 0}),
    ],
)
def test_what_is_at_a_limit_is_sound(name: str, changes: dict[str, Any]) -> None:
    """Limits belong to what is allowed."""
    assert row(name, **changes)


def test_absence_has_one_form() -> None:
    """Null, and an empty map, are NaN, 0, None or the empty set; weight 1; not deferred."""
    nothing = dict.fromkeys(
        ("score", "label", "latency_ms", "attributes", "sample_weight", "deferred", "slate")
    )
    found = row("prediction", **nothing, features={}, measures=None)
    score, label, latency, features, measures, attributes, tail = found[4:]
    assert isnan(score)
    assert isnan(latency)
    assert (label, features, measures, attributes) == (0, None, None, ())
    assert (tail.weight, tail.deferred) == (1.0, False)


def test_ids_become_digests() -> None:
    """A request is known by murmur3 x64 128 of its UTF-8, a unit by the first half of its own."""
    key, unit, *_ = row("prediction", request_id="größe", unit_id="user-42")
    assert key == mmh3.hash_bytes("größe".encode())
    assert unit == mmh3.hash64("user-42", signed=False)[0]


def test_maps_are_in_the_order_of_their_names() -> None:
    """So that equal maps are equal bytes, whatever order they were written in."""
    found = row("prediction", features={"b": 2.0, "a": 1.0}, attributes={"z": "1", "y": "2"})
    assert found[7] == (("a", "b"), struct.pack("<2d", 1.0, 2.0))
    assert found[9] == (("y", "2"), ("z", "1"))


def test_labels_are_numbers_above_zero() -> None:
    """0 is left for "no label", also when a label's hash is even, or the label empty."""
    assert row("prediction", label="")[5] == 1
    assert row("prediction", label="cat")[5] == mmh3.hash("cat", signed=False) | 1


def test_a_shadow_speaks_for_the_variant_that_ran() -> None:
    """Its context names that variant, has no routing version, and is never learnt from."""
    found = row("shadow-prediction", experiment="e", generation=3, variant="v", model="m")
    version = example("shadow-prediction")["model_version"]
    assert found[-1].context == Context("e", 3, "v", "v", "m", version, 0, 0, "SHADOW")


def test_an_outcome_without_kind_is_a_value() -> None:
    """Null, and VALUE, are one; no source and no position have their own values."""
    for kind in (None, "VALUE"):
        found = row("outcome", kind=kind, metric="clicks", source=None, position=None)
        assert found[-1] == OutcomeTail("clicks", "", False, -1)
