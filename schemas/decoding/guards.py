"""What a record must satisfy beyond its schema, and what is kept of it: one record at a time.

This is the definition; the fast path may only take what would pass here, with the same result.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from math import isfinite, nan
from typing import Any, Final

from tidegate.schemas import limits
from tidegate.schemas.context import Attributes, Context
from tidegate.schemas.decoding.columns import (
    Doubles,
    OutcomeTail,
    PredictionTail,
    ShadowTail,
)
from tidegate.schemas.decoding.hashes import digests, label_code
from tidegate.schemas.errors import EventError

Record = Mapping[str, Any]
_STATUS_CODES: Final = {"OK": 0, "FALLBACK": 1, "ERROR": 2, "TIMEOUT": 3}
_SHADOW_STATUSES: Final = ("OK", "ERROR", "TIMEOUT")
_CONTEXT_NAMES: Final = ("experiment", "variant", "served_variant", "model", "model_version")


def prediction_row(record: Record) -> tuple[Any, ...]:
    """Columns of `PredictionColumns` for one prediction, without `index`.

    Raises:
        EventError: the record cannot be counted.
    """
    key = _digest("request_id", record["request_id"])
    unit = _digest("unit_id", record["unit_id"])
    served_at = _time("served_at", record["served_at"])
    propensity = record["propensity"]
    if not limits.PROPENSITY_MIN <= propensity <= 1:
        raise EventError("propensity", f"{propensity!r} is not above 0 and at most 1")
    return (
        key,
        int.from_bytes(unit[:8], "little"),
        served_at,
        propensity,
        _optional_value("score", record["score"]),
        _label(record["label"]),
        _latency(record["latency_ms"]),
        _doubles("features", record["features"], limits.FEATURES_MAX),
        _doubles("measures", record["measures"], limits.MEASURES_MAX),
        _attributes(record["attributes"]),
        _prediction_tail(record),
    )


def shadow_row(record: Record) -> tuple[Any, ...]:
    """Columns of `ShadowColumns` for one shadow prediction, without `index`.

    Raises:
        EventError: the record cannot be counted.
    """
    key = _digest("request_id", record["request_id"])
    served_at = _time("served_at", record["served_at"])
    score = _optional_value("score", record["score"])
    label = _label(record["label"])
    latency = _latency(record["latency_ms"])
    _doubles("measures", record["measures"], limits.MEASURES_MAX)
    for name in ("experiment", "variant", "model", "model_version"):
        _name(name, record[name])
    if record["status"] not in _SHADOW_STATUSES:
        raise EventError("value", f"status {record['status']!r:.60}")
    context = Context(
        record["experiment"], _integer("generation", record["generation"], limits.INT_MAX),
        record["variant"], record["variant"], record["model"], record["model_version"], 0, 0,
        "SHADOW",
    )
    tail = ShadowTail(context, _STATUS_CODES[record["status"]])
    return key, served_at, score, label, latency, tail


def outcome_row(record: Record) -> tuple[Any, ...]:
    """Columns of `OutcomeColumns` for one outcome, without `index`.

    Raises:
        EventError: the record cannot be counted.
    """
    key = _digest("request_id", record["request_id"])
    outcome_id = _digest("outcome_id", record["outcome_id"])
    value = _value("value", record["value"])
    occurred_at = _time("occurred_at", record["occurred_at"])
    kind = record["kind"] or "VALUE"
    if kind not in ("VALUE", "ACTIVATION"):
        raise EventError("value", f"kind {kind!r:.60}")
    activation = kind == "ACTIVATION"
    if record["metric"] or not activation:
        _name("metric", record["metric"])
    source = record["source"]
    if source is not None:
        _name("source", source)
    position = record["position"]
    if position is not None:
        _integer("position", position, limits.INT_MAX)
    tail = OutcomeTail(
        record["metric"], source or "", activation, -1 if position is None else position
    )
    return key, int.from_bytes(outcome_id[:8], "little"), value, occurred_at, tail


def _label(label: str | None) -> int:
    if label is None:
        return 0
    raw = label.encode()
    if len(raw) > limits.NAME_BYTES_MAX:
        raise EventError("length", f"label has {len(raw)} bytes")
    return label_code(raw)


def _digest(name: str, text: str) -> bytes:
    return digests((_name(name, text),))[0]


def _name(name: str, text: str) -> bytes:
    raw = text.encode()
    if not 1 <= len(raw) <= limits.NAME_BYTES_MAX:
        raise EventError("length", f"{name} has {len(raw)} bytes")
    return raw


def _time(name: str, time_ms: int) -> int:
    return _integer(name, time_ms, limits.TIME_MS_MAX)


def _integer(name: str, number: int, largest: int) -> int:
    if not 0 <= number <= largest:
        raise EventError("value", f"{name} is {number}")
    return number


def _value(name: str, number: float) -> float:
    if not isfinite(number) or abs(number) > limits.VALUE_MAX:
        raise EventError("value", f"{name} is {number!r}")
    return number


def _optional_value(name: str, number: float | None) -> float:
    return nan if number is None else _value(name, number)


def _latency(latency_ms: float | None) -> float:
    if latency_ms is None:
        return nan
    if not 0 <= latency_ms <= limits.LATENCY_MS_MAX:
        raise EventError("latency", f"latency_ms is {latency_ms!r}")
    return latency_ms


def _doubles(field: str, values: Mapping[str, float] | None, names_max: int) -> Doubles | None:
    if not values:
        return None
    if len(values) > names_max:
        raise EventError("length", f"{len(values)} {field}, at most {names_max}")
    names = tuple(sorted(values))
    for name in names:
        _name(f"{field} name", name)
        _value(f"{field}.{name:.60}", values[name])
    return names, struct.pack(f"<{len(names)}d", *(values[name] for name in names))


def _attributes(values: Mapping[str, str] | None) -> Attributes:
    if not values:
        return ()
    if len(values) > limits.ATTRIBUTES_MAX:
        raise EventError("length", f"{len(values)} attributes, at most {limits.ATTRIBUTES_MAX}")
    for name, text in values.items():
        _name("attribute name", name)
        _name("attribute", text)
    return tuple(sorted(values.items()))


def _prediction_tail(record: Record) -> PredictionTail:
    for name in (*_CONTEXT_NAMES, "reason"):
        _name(name, record[name])
    wait_ms = record["reward_wait_ms"]
    if not 0 < wait_ms <= limits.REWARD_WAIT_MS_MAX:
        raise EventError("wait", f"reward_wait_ms is {wait_ms}")
    status = _STATUS_CODES.get(record["status"])
    if status is None:
        raise EventError("value", f"status {record['status']!r:.60}")
    weight = 1.0 if record["sample_weight"] is None else _value("weight", record["sample_weight"])
    if weight < limits.PROPENSITY_MIN:
        raise EventError("value", f"sample_weight is {weight!r}")
    context = Context(
        record["experiment"], _integer("generation", record["generation"], limits.INT_MAX),
        record["variant"], record["served_variant"], record["model"], record["model_version"],
        _integer("routing_epoch", record["routing_epoch"], limits.INT_MAX),
        _integer("routing_version", record["routing_version"], limits.LONG_MAX),
        record["reason"],
    )
    return PredictionTail(context, wait_ms, status, weight, bool(record["deferred"]))
