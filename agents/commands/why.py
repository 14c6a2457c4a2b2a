"""`tidegate why`: what happened to one request, from the log alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tidegate.agents.bindings import recorded_bindings
from tidegate.agents.commands.logs import (
    Kind,
    decisions_newest_first,
    first_match,
    newest_first,
    require_topics,
)
from tidegate.agents.commands.options import EXIT_DONE, EXIT_NO, Output
from tidegate.agents.commands.printing import Bar, clock, decision_line, print_facts
from tidegate.agents.kafka import Record
from tidegate.agents.settings import Settings
from tidegate.schemas.codec import Bindings, decode_as
from tidegate.schemas.errors import EventError, UnknownSchemaId
from tidegate.schemas.events import Decision, Outcome, Prediction, ShadowPrediction
from tidegate.schemas.partitioner import partition_of
from tidegate.streams.wording import basis_points, duration, percent

_SLACK_MS = 3_600_000
"""Nothing about a request is written more than this before it was served, by any clock."""


def run_why(settings: Settings, request_id: str, output: Output) -> int:
    """Print what the log knows of a request; 1 when it knows no prediction.

    Raises:
        Unreachable: no broker answers.
    """
    require_topics(settings, "predictions", "shadow-predictions", "outcomes", "decisions")
    with Bar("looking for it") as bar:
        found = _of(settings, "predictions", Prediction, request_id, 0, bar)
        prediction = next(found, None)
        since = 0 if prediction is None else prediction.served_at - _SLACK_MS
        outcomes = list(_of(settings, "outcomes", Outcome, request_id, since, bar))[::-1]
        shadows = list(
            _of(settings, "shadow-predictions", ShadowPrediction, request_id, since, bar)
        )[::-1]
    decision = None if prediction is None else _decision(settings, prediction)
    facts = {
        "request_id": request_id,
        "prediction": None if prediction is None else prediction.to_dict(),
        "shadows": [shadow.to_dict() for shadow in shadows],
        "outcomes": credited(settings, prediction, outcomes),
        "window": None if prediction is None else _window(settings, prediction),
        "decision": None if decision is None else decision_facts_short(decision),
    }
    print_facts(facts, output, lambda facts: _lines(facts, prediction, decision, settings))
    return EXIT_NO if prediction is None else EXIT_DONE


def credited(
    settings: Settings, prediction: Prediction | None, outcomes: list[Outcome]
) -> list[dict[str, Any]]:
    """Outcomes in log order with the class their times and ids give them.

    `early`, `late`, `duplicate`, `conflict`, `orphan` (no prediction) or `counted`. Whether one
    within its window was released too late is for the joiner to say, and counted there.
    """
    first: dict[tuple[str, str], float] = {}
    found = []
    for outcome in outcomes:
        name = (outcome.metric, outcome.outcome_id)
        if prediction is None:
            said = "orphan"
        elif name in first:
            said = "duplicate" if first[name] == outcome.value else "conflict"
        else:
            after_ms = outcome.occurred_at - prediction.served_at
            said = "counted"
            if after_ms < -settings.early_tolerance_ms:
                said = "early"
            elif after_ms >= prediction.reward_wait_ms:
                said = "late"
            else:
                first[name] = outcome.value
        found.append({**outcome.to_dict(), "class": said})
    return found


def decision_facts_short(decision: Decision) -> dict[str, Any]:
    """What a reader of one request wants of the decision behind its routing table."""
    return {
        "decision_id": decision.decision_id, "action": decision.action,
        "reason": decision.reason, "weights": dict(decision.weights),
        "decided_at": decision.decided_at,
    }  # fmt: skip


def _of(
    settings: Settings, name: str, kind: type[Kind], request_id: str, since_ms: int, bar: Bar
) -> Iterator[Kind]:
    """Events about a request, newest first, back to `since_ms` by their records' timestamps."""
    key = request_id.encode()
    bindings = recorded_bindings(settings)
    for record in newest_first(settings, name, partition_of(key, settings.partitions), bar):
        if record.timestamp_ms < since_ms:
            return
        event = _decoded(kind, record, key, bindings)
        if event is not None and getattr(event, "request_id", None) == request_id:
            yield event


def _decoded(
    kind: type[Kind], record: Record, key: bytes, bindings: Bindings | None
) -> Kind | None:
    # Looking for the id in the bytes is much cheaper than decoding every record.
    if record.value is None or key not in record.value:
        return None
    try:
        return decode_as(kind, record.value, bindings)
    except (EventError, UnknownSchemaId):
        return None


def _decision(settings: Settings, prediction: Prediction) -> Decision | None:
    """The decision that made the routing table in force for this request."""
    used = (prediction.routing_epoch, prediction.routing_version)
    return first_match(
        decisions_newest_first(settings, prediction.experiment),
        lambda decision: (decision.epoch, decision.version) <= used,
    )


def _window(settings: Settings, prediction: Prediction) -> dict[str, int]:
    """From when to when outcomes may occur: half-open, ms."""
    return {
        "from": prediction.served_at - settings.early_tolerance_ms,
        "to": prediction.served_at + prediction.reward_wait_ms,
    }


def _lines(
    facts: dict[str, Any], prediction: Prediction | None, decision: Decision | None,
    settings: Settings,
) -> list[str]:
    if prediction is None:
        lines = [
            f"No prediction with the id {facts['request_id']} is in"
            f" {settings.topic('predictions')}: it was never sent, was older than the topic keeps,"
            " could not be read (see `tidegate dead-letters list`), or stands in another partition"
            " because its producer does not use partitioner=murmur2_random (a worker's /healthz"
            " says so)."
        ]
    else:
        lines = [*_served(prediction), *_routed(prediction, decision), *_shadows(facts)]
        wait = duration(prediction.reward_wait_ms)
        until = clock(facts["window"]["to"])
        lines.append(f"window      outcomes count until {until} ({wait} after it was served)")
    for outcome in facts["outcomes"]:
        name = outcome["metric"] or outcome["kind"]
        lines.append(
            f"outcome     {clock(outcome['occurred_at'])}  {name} {outcome['value']:g}"
            f"  {outcome['class']}  (id {outcome['outcome_id']})"
        )
    if not facts["outcomes"]:
        lines.append(
            "outcome     none has come to its partition; what a producer without"
            " partitioner=murmur2_random sends is elsewhere and never joined"
        )
    return lines


def _served(prediction: Prediction) -> list[str]:
    by = prediction.served_variant
    other = "" if by == prediction.variant else f", answered by {by}"
    return [
        f"request     {prediction.request_id}  served {clock(prediction.served_at)}"
        f"  {prediction.status}",
        f"variant     {prediction.variant}{other}: {prediction.model} {prediction.model_version}",
        f"why         {prediction.reason}, drawn with probability"
        f" {percent(prediction.propensity)} for unit {prediction.unit_id}",
    ]


def _routed(prediction: Prediction, decision: Decision | None) -> list[str]:
    name = prediction.experiment
    place = f"g{prediction.generation} v{prediction.routing_version}"
    if not prediction.routing_version:
        return [f"table       {name}: none was known to the client"]
    if decision is None:
        return [f"table       {name} {place}: its decision is not in the log any longer"]
    shares = ", ".join(
        f"{variant} {basis_points(share)}" for variant, share in sorted(decision.weights.items())
    )
    return [f"table       {name} {place}: {shares}", f"decision    {decision_line(decision)}"]


def _shadows(facts: dict[str, Any]) -> list[str]:
    return [
        f"shadow      {shadow['variant']}: {shadow['model']} {shadow['model_version']}"
        f"  {shadow['status']}  score {shadow['score']}"
        for shadow in facts["shadows"]
    ]
