"""An experiment on one screen, as data: what `tidegate get` and `watch` print.

Published on `commands` as STATUS when something changed, at most once a second of log time, and
with every decision; a function of the state like all that the decider puts out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tidegate.streams.deciding import judging, rings, scheduling
from tidegate.streams.deciding.clients import Clients
from tidegate.streams.deciding.experiment import FLAG_STEP, ExperimentState
from tidegate.streams.deciding.sequences import Sequences
from tidegate.streams.estimation.tally import conservation
from tidegate.streams.rollout import ENDED
from tidegate.streams.strategies.instances import OK, Instance, artifact_of, evidence_of
from tidegate.streams.wording import utc

_NAMED_MAX = 20


def view_of(
    state: ExperimentState, sight: judging.Sight, sequences: Sequences, clients: Clients,
    findings: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """The view; times are log time in ms, shares basis points.

    `findings` are those of the state, by `judging.findings_of` or as part of its evidence.
    """
    log_time_ms = sight.log_time_ms
    standing = judging.standing_of(state, sight)
    outlook = state.strategy.outlook(standing)
    ended = state.phase in ENDED
    return {
        "experiment": state.name,
        "epoch": state.epoch,
        "version": state.version,
        "generation": state.generation,
        "phase": str(state.phase),
        "step": state.step,
        "steps": len(state.spec.release),
        "strategy": state.strategy.name,
        "increment": state.increment,
        "winner": state.winner,
        "since": state.since_ms,
        "progress": "" if ended else _waiting(state, log_time_ms) or outlook.progress,
        "next": "" if ended else _following(state, outlook.following),
        "variants": [_variant(state, name) for name in _order(state)],
        "guardrails": findings["guardrails"],
        "objective": findings["objective"],
        "health": {**_health(state, clients, log_time_ms), "drift": findings["drift"]},
        "applied": _applied(state, clients, log_time_ms),
        "instances": _instances(state, sight.fleet),
        "log_time": log_time_ms,
        "watermark": sequences.watermark_ms,
        "slowest_source": sequences.slowest(),
        "rings": rings.told(state),
    }


def _order(state: ExperimentState) -> list[str]:
    return [state.control, *state.spec.candidates]


def _variant(state: ExperimentState, name: str) -> dict[str, Any]:
    spec, tally = state.spec.variants[name], state.ledger.tallies[name]
    shadow = state.ledger.shadows[name]
    return {
        "name": name,
        "model": spec.model,
        "model_version": spec.version,
        "weight": state.weights.get(name, 0),
        "shadow": state.shadow.get(name, 0),
        "rolled_back": name in state.rolled_back,
        "requests": tally.exposures,
        "closed": tally.closed,
        "counts": conservation(tally, shadow),
        "compared": shadow.agree + shadow.disagree,
        "disagreed": shadow.disagree,
        "squared_error": judging.squared_error_of(state, name),
    }


def _waiting(state: ExperimentState, log_time_ms: int) -> str:
    """What the schedule lets the release wait for."""
    if state.step == FLAG_STEP:
        return ""
    if state.waits:
        return f"starts {utc(scheduling.starts_ms(state))} UTC"
    frozen = scheduling.frozen_until(state.spec.schedule, log_time_ms)
    return "" if frozen is None else f"frozen until {utc(max(frozen, log_time_ms))} UTC"


def _following(state: ExperimentState, condition: str) -> str:
    if state.step == FLAG_STEP:
        return condition
    canary = state.spec.release[state.step].canary
    if canary is not None and state.increment + 1 < len(canary.shares_bp):
        share = canary.shares_bp[state.increment + 1] / 100
        return f"canary {share:g} % when {condition}"
    steps = state.spec.release[state.step].rings
    if steps is not None and state.increment + 1 < len(steps.rings):
        return f"ring {steps.rings[state.increment + 1].name} when {condition}"
    if state.step + 1 < len(state.spec.release):
        return f"{state.spec.release[state.step + 1].strategy} when {condition}"
    return f"the end of the release when {condition}"


def _health(state: ExperimentState, clients: Clients, log_time_ms: int) -> dict[str, Any]:
    tallies = state.ledger.tallies.values()
    exposures = sum(item.exposures for item in tallies)
    learnt = sum(item.learnt for item in tallies)
    irregular: dict[str, int] = {}
    for item in tallies:
        for name, number in item.irregular_by_class().items():
            irregular[name] = irregular.get(name, 0) + number
    return {
        "requests": exposures,
        "learnt": learnt,
        "matured": sum(item.closed for item in tallies),
        "outcomes": sum(item.matched for item in tallies),
        "irregular": irregular,
        "propensity": _propensity(state),
        "published_at": state.published_at_ms,
        "degraded": clients.degraded(state.name, log_time_ms),
        "unwell": clients.unwell(state.name, log_time_ms)[:_NAMED_MAX],
    }


_PROPENSITY_REQUESTS_MIN = 400
"""The sum's relative standard deviation is below 1/20 then: what is a fifth off is wrong."""


def _propensity(state: ExperimentState) -> dict[str, float]:
    """Sum of 1/p over a variant's requests by all it could have got: about 1 when p is true."""
    return {
        name: item.inverse_propensity / item.opportunities
        for name, item in sorted(state.ledger.tallies.items())
        if item.learnt >= _PROPENSITY_REQUESTS_MIN
    }


def _instances(state: ExperimentState, fleet: Sequence[Instance]) -> dict[str, Any] | None:
    """Which instances serve which variant; None when there are none."""
    if not fleet:
        return None
    serving: dict[str, int] = {}
    for name in _order(state):
        artifact = artifact_of(state.spec.variants[name])
        serving[name] = sum(item.serves(artifact) for item in fleet)
    unwell = [item.name for item in fleet if item.live and set(item.servers.values()) != {OK}]
    return {
        "known": len(fleet),
        "live": sum(item.live for item in fleet),
        "serving": serving,
        "unwell": unwell[:_NAMED_MAX],
        "silent": [item.name for item in fleet if not item.live][:_NAMED_MAX],
        "members": evidence_of(fleet[:_NAMED_MAX]),
    }


def _applied(state: ExperimentState, clients: Clients, log_time_ms: int) -> dict[str, Any]:
    epoch, version = state.tables[-1] if state.tables else (0, 0)
    found = clients.applied(state.name, epoch, version, state.published_at_ms, log_time_ms)
    return {
        "epoch": epoch,
        "version": version,
        "live": found.live,
        "confirmed": found.confirmed,
        "missing": list(found.missing[:_NAMED_MAX]),
        "missing_instances": clients.instances(found.missing[:_NAMED_MAX]),
        "slowest_ms": found.slowest_ms,
    }
