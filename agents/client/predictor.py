"""Answering with a model: the assigned one, control when it fails, shadows behind the scenes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tidegate.agents.client.breaker import Breaker
from tidegate.agents.client.events import Events
from tidegate.agents.client.link import Link
from tidegate.agents.client.models import Model, Ran, Runner, numeric, told
from tidegate.agents.client.options import ClientOptions
from tidegate.agents.client.tables import Tables
from tidegate.schemas.errors import DefinitionError
from tidegate.streams.assignment import Assignment


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request got.

    `variant` is the one that answered; `fallback` says that it is not the one assigned, because
    that one failed, was late or has no model here. `assignment` is what was drawn.
    """

    value: Any
    variant: str
    request_id: str
    fallback: bool
    assignment: Assignment


class Predictor:
    """Runs models for assigned requests and tells what they did."""

    def __init__(
        self, link: Link, tables: Tables, breaker: Breaker, events: Events,
        options: ClientOptions, counters: Counter[str],
    ) -> None:
        self._link = link
        self._tables = tables
        self._breaker = breaker
        self._events = events
        self._options = options
        self._counters = counters
        self._runner = Runner(
            options.model_workers, options.shadow_workers, options.shadow_waiting
        )

    def predict(
        self, experiment: str, drawn: Assignment, features: Any, models: Mapping[str, Model],
        attributes: Mapping[str, str] | None, timeout_seconds: float | None,
        measures: Mapping[str, float] | None,
    ) -> Answer:
        """Answers an assigned request; see `Client.predict`."""
        control = self._control(experiment, models)
        limit = None if drawn.variant == control else timeout_seconds
        first = self._run_assigned(experiment, drawn.variant, control, features, models, limit)
        served, final = drawn.variant, first
        if first.status != "OK" and served != control:
            self._counters["fallbacks"] += 1
            served, final = control, self._runner.run(models[control], features)
        score, label = told(final.value)
        self._events.prediction(
            experiment, drawn, served_variant=served,
            status=_status(first, served != drawn.variant), score=score, label=label,
            latency_ms=first.latency_ms, attributes=attributes, measures=measures,
            features=numeric(features) if self._options.log_features else None,
        )
        if final.error is not None:
            raise final.error
        self._run_shadows(experiment, drawn, features, models)
        return Answer(final.value, served, drawn.request_id, served != drawn.variant, drawn)

    def close(self) -> None:
        """Runs nothing more."""
        self._runner.close()

    def _control(self, experiment: str, models: Mapping[str, Model]) -> str:
        item = self._tables.in_force.get(experiment)
        if item is None or item.table is None:
            return next(iter(models))
        control = item.table.routing.control
        if control not in models:
            raise DefinitionError(
                f"no model for {control!r}, control of {experiment!r}; models has"
                f" {', '.join(models)}"
            )
        return control

    def _run_assigned(
        self, experiment: str, variant: str, control: str, features: Any,
        models: Mapping[str, Model], seconds: float | None,
    ) -> Ran:
        model = models.get(variant)
        ran = (
            Ran(None, "ERROR", 0.0) if model is None
            else self._runner.run(model, features, seconds)
        )
        failed = ran.status != "OK"
        if self._breaker.record(experiment, variant, control, failed, time.monotonic()):
            self._counters["breaker_cuts"] += 1
            self._link.cut(experiment)
        return ran

    def _run_shadows(
        self, experiment: str, drawn: Assignment, features: Any, models: Mapping[str, Model]
    ) -> None:
        for variant in drawn.shadow:
            model = models.get(variant)
            if model is None:
                self._counters["shadows_without_model"] += 1
                continue

            def tell(ran: Ran, name: str = variant) -> None:
                score, label = told(ran.value)
                self._events.shadow_prediction(
                    experiment, drawn, name, status=ran.status, score=score, label=label,
                    latency_ms=ran.latency_ms,
                )

            if not self._runner.shadow(model, features, tell):
                self._counters["shadows_dropped"] += 1


def _status(first: Ran, fell_back: bool) -> str:
    """TIMEOUT stays visible when control answered in time; an error then is a FALLBACK."""
    return "FALLBACK" if fell_back and first.status == "ERROR" else first.status
