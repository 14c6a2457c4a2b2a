"""Simulated people: what they order, sound and unsound, once and again."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from tidegate.schemas.events import Control
from tidegate.schemas.manifest.spec import ExperimentSpec

EXPERIMENT = "ranker"
CONTROL, CANDIDATES = "champion", ("blue", "challenger")
ALL = {
    "shadow": {"shadow": {"until": {"requests": 2}}},
    "canary": {"canary": {
        "weights": ["10%", "20%", "50%"], "cap": "50%", "hold": "100ms", "min_samples": 1
    }},
    "bandit": {"bandit": {
        "floor": "5%", "every": "1s", "until": {"p_best": "95%"}, "max_duration": "5s",
        "min_samples": 2,
    }},
    "full": {"full": {"keep_previous": "1s"}},
}  # fmt: skip
RELEASES: tuple[tuple[str, ...], ...] = (
    ("canary", "full"), ("shadow", "canary", "full"), ("canary", "bandit", "full"), ("bandit",), (),
)  # fmt: skip
_ERRORS = {"metric": "errors", "max": "1%", "min_samples": 2, "alpha": 0.4}


@cache
def spec_of(release: int, breach: int, models: int) -> ExperimentSpec:
    """A manifest; `breach` is what its guardrail does, `models` its candidates' version."""
    steps = RELEASES[release % len(RELEASES)]
    # Only a bandit can choose among several.
    several = breach % 2 and (not steps or "bandit" in steps)
    names = CANDIDATES if several else CANDIDATES[1:]
    on_breach = ("rollback", "step_back", "pause", "step_back")[breach % 4]
    document: dict[str, Any] = {
        "unit": {"key": "user"},
        "control": CONTROL,
        "variants": {
            CONTROL: {"model": "ranker", "version": "v1"},
            **{name: {"model": "ranker", "version": f"v{2 + models}"} for name in names},
        },
        "metrics": {
            "conversion": {"type": "binary", "aggregate": "first", "window": "2s", "default": 0.0,
                           "goal": "increase"},
            "errors": {"field": "status", "type": "rate", "goal": "decrease"},
        },
        "objective": "conversion",
        "guardrails": [{**_ERRORS, "on_breach": on_breach}] if steps else [],
    }  # fmt: skip
    if steps:
        document["release"] = [ALL[name] for name in steps]
    else:
        document["flag"] = {"weights": {CONTROL: "60%", names[-1]: "40%"}}
    return ExperimentSpec.model_validate(document)


@cache
def wire(release: int, breach: int, models: int, plain: bool) -> str:
    """The manifest in a record; not every tool writes maps in canonical order."""
    text = spec_of(release, breach, models).to_json()
    return text if plain else json.dumps(dict(reversed(json.loads(text).items())))


KINDS = (
    "ROLLBACK", "PAUSE", "RESUME", "PROMOTE", "APPLY", "ROLLBACK", "NEXT", "SET", "ABORT",
    "RESTART", "ROLLBACK", "STRANGE", "AMEND", "AMEND", "AMEND", "AMEND", "OTHER", "PROMOTE",
    "NEXT", "APPLY", "ROLLBACK", "RESUME",
)  # fmt: skip


def order(
    number: int, a: int, b: int, generation: int, spec: ExperimentSpec | None, now_ms: int
) -> Control:
    """Order `number`; `a` chooses what, `b` how. `spec` is in force."""
    kind = KINDS[a % len(KINDS)] if spec is not None else "APPLY"
    fields: dict[str, Any] = {
        "control_id": f"order-{number}", "experiment": EXPERIMENT, "action": kind,
        "actor": "ann", "role": "owner", "reason": "because" if b % 19 else "",
        "issued_at": now_ms,
    }  # fmt: skip
    if b % 4 == 0:
        fields["expires_at"] = now_ms + 100 * (b % 5) - 200
    if b % 5 == 0:
        # No rollback names a generation to come: services would keep it in mind, the decider not.
        ahead = int(kind != "ROLLBACK")
        fields["generation"] = max(0, generation + (ahead, 0, -1)[b // 5 % 3])
    elif b % 5 < 3:
        fields["generation"] = generation
    variant = CANDIDATES[b % 2] if b % 11 else CONTROL
    if kind in ("APPLY", "RESTART"):
        digest = "" if spec is None else spec.digest()
        fields.update(_applying(kind, a // len(KINDS), b, digest))
    elif kind == "AMEND" and spec is not None:
        found = json.loads(spec.to_json())
        found["inclusion_bp"] = 8_000 + 1_000 * (b % 3)
        fields.update(action="APPLY", spec=json.dumps(found), parent=spec.digest(), generation=0)
    elif kind == "ROLLBACK":
        fields["arguments"] = {"variant": variant}
        if b % 13 == 0:
            fields["arguments"]["to"] = CANDIDATES[(b // 13) % 2]
    elif kind == "PROMOTE":
        fields["arguments"] = {"variant": variant} if b % 3 else {}
    elif kind == "NEXT":
        fields.update(action="PROMOTE", arguments={"to": "next"})
    elif kind == "SET":
        fields["arguments"] = {CANDIDATES[b % 2]: "3000"}
    elif kind == "OTHER":
        fields.update(action="PAUSE", experiment="unheard-of")
    return Control(**fields)


def _applying(kind: str, which: int, b: int, digest: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "action": "APPLY",
        "spec": wire(which % 5, b % 8, b % 3 // 2, b % 4 > 0),
        "parent": digest or None,
        "generation": 0,
    }
    if kind == "RESTART":
        found["arguments"] = {"restart": "true"}
    if digest and b % 17 == 0:
        found["parent"] = "0" * 64
    return found
