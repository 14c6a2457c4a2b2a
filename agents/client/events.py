"""Events of requests, filled in from the table that was drawn from."""

from __future__ import annotations

import time
from collections.abc import Mapping

from tidegate.agents.client.link import Link
from tidegate.agents.client.options import ClientOptions
from tidegate.agents.client.tables import Tables
from tidegate.schemas.events import Outcome, Prediction, ShadowPrediction, SlateItem
from tidegate.streams.assignment import Assignment

UNKNOWN_VERSION = "unknown"
"""Model version told while no table says which one a variant is."""


class Events:
    """Builds and queues predictions, shadow predictions and outcomes."""

    def __init__(self, link: Link, tables: Tables, options: ClientOptions) -> None:
        self._link = link
        self._tables = tables
        self._options = options

    def prediction(
        self, experiment: str, assignment: Assignment, *, unit_id: str = "", status: str = "OK",
        served_variant: str | None = None, served_at: int | None = None,
        score: float | None = None, label: str | None = None, latency_ms: float | None = None,
        features: Mapping[str, float] | None = None, attributes: Mapping[str, str] | None = None,
        measures: Mapping[str, float] | None = None, slate: tuple[SlateItem, ...] | None = None,
        artifact: str | None = None, sample_weight: float | None = None, deferred: bool = False,
    ) -> bool:
        """Tells of an answered request.

        Args:
            assignment: what was drawn; its variant stands for the request whoever answered.
            unit_id: what was randomised, hashed when it is personal; the assignment's unit when
                absent.
            status: OK; FALLBACK or TIMEOUT when another variant answered; ERROR when nobody did.
            served_variant: who answered, when not the assigned variant.
            latency_ms: time the assigned variant took.
            sample_weight: 1 / share of requests told of; absent means 1.
            deferred: counts only once `activate` was called for the request.

        Returns:
            Whether it is on its way; if not, the counters say why.
        """
        served = served_variant or assignment.variant
        model, version, reward_wait_ms = self._model(experiment, served)
        event = Prediction(
            request_id=assignment.request_id, unit_id=unit_id or assignment.unit,
            served_at=served_at or _now_ms(), propensity=assignment.propensity,
            score=score, label=label, latency_ms=latency_ms,
            features=features or None, measures=measures or None, attributes=attributes or None,
            slate=slate, experiment=experiment, generation=assignment.generation,
            variant=assignment.variant, served_variant=served, model=model, model_version=version,
            artifact=artifact, routing_epoch=assignment.epoch,
            routing_version=assignment.routing_version, reason=assignment.reason,
            reward_wait_ms=reward_wait_ms, status=status, sample_weight=sample_weight,
            deferred=deferred or None,
        )
        return self._link.events.emit("predictions", assignment.request_id, event)

    def shadow_prediction(
        self, experiment: str, assignment: Assignment, variant: str, *, status: str = "OK",
        served_at: int | None = None, score: float | None = None, label: str | None = None,
        latency_ms: float | None = None, measures: Mapping[str, float] | None = None,
        slate: tuple[str, ...] | None = None,
    ) -> bool:
        """Tells what `variant` would have answered to an assigned request.

        Returns:
            Whether it is on its way; if not, the counters say why.
        """
        model, version, _ = self._model(experiment, variant)
        event = ShadowPrediction(
            request_id=assignment.request_id, served_at=served_at or _now_ms(), score=score,
            label=label, latency_ms=latency_ms, measures=measures or None, slate=slate,
            experiment=experiment, generation=assignment.generation, variant=variant, model=model,
            model_version=version, status=status,
        )
        return self._link.events.emit("shadow-predictions", assignment.request_id, event)

    def outcome(
        self, request_id: str, metric: str, value: float, outcome_id: str,
        occurred_at: int | None, source: str | None, position: int | None,
    ) -> bool:
        """Tells what came of a request."""
        event = Outcome(
            request_id=request_id, outcome_id=outcome_id, value=value,
            occurred_at=_now_ms() if occurred_at is None else occurred_at, metric=metric,
            source=source, position=position,
        )
        return self._link.events.emit("outcomes", request_id, event)

    def activate(self, request_id: str) -> bool:
        """Tells that a deferred prediction was used."""
        event = Outcome(
            request_id=request_id, outcome_id="activation", value=0.0, occurred_at=_now_ms(),
            metric="", kind="ACTIVATION",
        )
        return self._link.events.emit("outcomes", request_id, event)

    def _model(self, experiment: str, variant: str) -> tuple[str, str, int]:
        """(model, version, reward wait in ms) as the table says."""
        item = self._tables.in_force.get(experiment)
        if item is not None and item.table is not None:
            routing = item.table.routing
            for known in routing.variants:
                if known.name == variant:
                    return known.model, known.model_version, routing.reward_wait_ms
        return variant, UNKNOWN_VERSION, self._options.reward_wait_ms


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
