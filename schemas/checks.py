"""What a record must satisfy beyond its schema, for emitters and readers alike.

Predictions, shadow predictions and outcomes are checked by `schemas/decoding/guards.py`, which
also says what the joiner keeps of them. Words that may grow (actions, kinds) are not checked: a
reader that does not know one says so, and the record is no dead letter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tidegate.schemas import limits
from tidegate.schemas.decoding import guards
from tidegate.schemas.errors import EventError

Values = Mapping[str, Any]

BUCKETS = 10_000
PROSE_BYTES_MAX = 8_192
DEAD_LETTER_VALUE_BYTES_MAX = 4_096
SERVERS_MAX = 64


def check(name: str, values: Values) -> None:
    """Raise EventError when a decoded record of schema `name` says something impossible."""
    CHECKS[name](values)


def _control(values: Values) -> None:
    _texts(values, "control_id", "experiment", "action", "actor", "role")
    _prose(values, "reason")
    _numbers(values, limits.INT_MAX, "generation")
    _numbers(values, limits.TIME_MS_MAX, "issued_at", "expires_at")
    _arguments(values["arguments"])


def _routing(values: Values) -> None:
    _texts(values, "experiment", "control", "salt", "decision_id")
    _numbers(values, limits.INT_MAX, "epoch", "generation", "reward_wait_ms")
    _numbers(values, limits.LONG_MAX, "version")
    _numbers(values, limits.TIME_MS_MAX, "published_at")
    _numbers(values, BUCKETS, "inclusion")
    known = {variant["name"] for variant in values["variants"]}
    if len(known) != len(values["variants"]):
        raise EventError("value", "two variants have one name")
    ranges = values["buckets"]
    _known("control", [values["control"]], known)
    _known("buckets", [item["variant"] for item in ranges], known)
    _known("rolled_back", values["rolled_back"], known)
    _known("shadow", values["shadow"], known)
    reached = 0
    for item in ranges:
        if item["start"] != reached or item["end"] <= reached:
            raise EventError("value", f"buckets {item['start']} to {item['end']} after {reached}")
        reached = item["end"]
    if reached != BUCKETS:
        raise EventError("value", f"buckets end at {reached}, not at {BUCKETS}")
    for variant, share in values["shadow"].items():
        if not 0 <= share <= BUCKETS:
            raise EventError("value", f"shadow share of {variant:.60} is {share}")


def _command(values: Values) -> None:
    _texts(values, "command_id", "kind")
    _optional_texts(values, "experiment", "decision_id")
    _prose(values, "reason")
    _numbers(values, limits.INT_MAX, "generation")
    _numbers(values, limits.TIME_MS_MAX, "expires_at")
    _arguments(values["arguments"])


def _decision(values: Values) -> None:
    _texts(values, "decision_id", "experiment", "phase", "action", "engine")
    _optional_texts(values, "control_id", "verdict", "variant", "previous")
    _prose(values, "reason")
    _numbers(values, limits.INT_MAX, "epoch", "generation")
    _numbers(values, limits.LONG_MAX, "version")
    # Before the first batch nothing is watermarked, and a flag has no step: both are -1.
    _numbers(values, limits.TIME_MS_MAX, "decided_at", "watermark", least=-1)
    _numbers(values, limits.INT_MAX, "step", least=-1)
    weights = values["weights"]
    if weights and (min(weights.values()) < 0 or sum(weights.values()) != BUCKETS):
        raise EventError("value", f"weights sum to {sum(weights.values())}, not to {BUCKETS}")


def _applied(values: Values) -> None:
    _texts(values, "client_id", "kind")
    _optional_texts(values, "instance", "experiment", "health")
    _numbers(values, limits.INT_MAX, "epoch", "generation")
    _numbers(values, limits.LONG_MAX, "version")
    _numbers(values, limits.TIME_MS_MAX, "applied_at")
    for variant in (*values["rolled_back"], *(values["breaker"] or ())):
        _text("variant", variant)
    _arguments(values["models"] or {})
    _instance(values)


def _instance(values: Values) -> None:
    servers = values["servers"] or ()
    if len(servers) > SERVERS_MAX:
        raise EventError("length", f"{len(servers)} model servers on one instance")
    for server in servers:
        _texts(server, "model", "version", "health")
    if values["servers"] is not None:
        # Commands name an instance, and an instance answers for an experiment.
        _texts(values, "instance", "experiment")
    _optional_texts(values, "command_id", "outcome")
    if values["detail"] is not None:
        _prose(values, "detail")


def _dead_letter(values: Values) -> None:
    _texts(values, "reason", "topic")
    _optional_texts(values, "engine")
    _prose(values, "detail")
    _numbers(values, limits.INT_MAX, "partition")
    _numbers(values, limits.LONG_MAX, "offset")
    _numbers(values, limits.TIME_MS_MAX, "log_time", least=-1)
    if len(values["value"]) > DEAD_LETTER_VALUE_BYTES_MAX:
        raise EventError("length", f"{len(values['value'])} bytes of the refused record")


def _text(name: str, text: str, least: int = 1, most: int = limits.NAME_BYTES_MAX) -> None:
    size = len(text.encode())
    if not least <= size <= most:
        raise EventError("length", f"{name} has {size} bytes")


def _texts(values: Values, *names: str) -> None:
    for name in names:
        _text(name, values[name])


def _optional_texts(values: Values, *names: str) -> None:
    for name in names:
        if values[name] is not None:
            _text(name, values[name], least=0)


def _prose(values: Values, name: str) -> None:
    _text(name, values[name], least=0, most=PROSE_BYTES_MAX)


def _numbers(values: Values, largest: int, *names: str, least: int = 0) -> None:
    for name in names:
        if not least <= values[name] <= largest:
            raise EventError("value", f"{name} is {values[name]}")


def _arguments(arguments: Mapping[str, str]) -> None:
    for name, text in arguments.items():
        _text("argument name", name)
        _text(f"argument {name:.60}", text, least=0, most=PROSE_BYTES_MAX)


def _known(field: str, names: Iterable[str], known: set[str]) -> None:
    for name in names:
        if name not in known:
            raise EventError("value", f"{field} names {name:.60}, which is not a variant")


CHECKS: Mapping[str, Callable[[Values], object]] = {
    "prediction": guards.prediction_row,
    "shadow-prediction": guards.shadow_row,
    "outcome": guards.outcome_row,
    "control": _control,
    "routing": _routing,
    "command": _command,
    "decision": _decision,
    "applied": _applied,
    "dead-letter": _dead_letter,
}
