"""Manifests that people apply: every strategy without instances, every answer to a breach."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from tidegate.schemas.manifest.spec import ExperimentSpec

CONTROL, CANDIDATES = "champion", ("blue", "challenger")
ROLES = ("owner", "risk")
"""Those that count; others have no say but in what keeps users safe."""

_STEPS: dict[str, dict[str, Any]] = {
    "shadow": {"shadow": {"until": {"requests": 2}}},
    "canary": {"canary": {
        "weights": ["10%", "20%", "50%"], "cap": "50%", "hold": "100ms", "min_samples": 1
    }},
    "bandit": {"bandit": {
        "floor": "30%", "every": "1s", "until": {"p_best": "95%"}, "max_duration": "5s",
        "min_samples": 2,
    }},
    "ab": {"ab": {"mde": "20pp", "max_duration": "3s", "min_samples": 2}},
    "pause": {"pause": {"duration": "500ms"}},
    "wait": {"pause": {}},
    "approve": {"approve": {"by": list(ROLES)}},
    "full": {"full": {"keep_previous": "1s"}},
}  # fmt: skip
RELEASES: tuple[tuple[str, ...], ...] = (
    ("canary", "full"), ("shadow", "canary", "full"), ("canary", "bandit", "full"), ("bandit",), (),
    ("approve", "canary", "full"), ("canary", "pause", "approve", "full"), ("ab", "full"),
    ("wait", "canary", "ab", "full"),
)  # fmt: skip
_ERRORS = {"metric": "errors", "max": "1%", "min_samples": 2, "alpha": 0.4}
_GUARDRAILS: tuple[dict[str, Any], ...] = (
    {**_ERRORS, "on_breach": "rollback"},
    {**_ERRORS, "on_breach": "step_back"},
    {**_ERRORS, "on_breach": "pause"},
    {**_ERRORS, "on_breach": "alert"},
    {**_ERRORS, "on_breach": "step_back", "checks": {"every": "1s", "consecutive": 1}},
    {**_ERRORS, "on_breach": "pause", "on_no_data": "fail", "no_data_after": "2s"},
)
_ON_BREAKER = ("alert", "pause", "rollback")
_MAX_CHANGE = ("100%", "2%")
_AFTER_AB = ("stop", "pass", "control")
GUARDS = len(_GUARDRAILS)


@cache
def spec_of(release: int, guard: int, number: int, models: int) -> ExperimentSpec:
    """A manifest; `guard` is what its guardrail does, `models` its candidates' version.

    `number` draws the rest: how many candidates, what a breaker, a test, an approval mean,
    how fast a bandit goes.
    """
    steps = RELEASES[release % len(RELEASES)]
    # Only a bandit or a test can choose among several.
    several = number % 2 and (not steps or "bandit" in steps or "ab" in steps)
    names = CANDIDATES if several else CANDIDATES[1:]
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
        "guardrails": [_GUARDRAILS[guard % GUARDS]] if steps else [],
        "on_breaker": _ON_BREAKER[number // 2 % len(_ON_BREAKER)],
        "rights": {"promote": list(ROLES), "loosen": ["owner"]} if number % 3 == 0 else {},
    }  # fmt: skip
    if steps:
        document["release"] = [_step(name, number) for name in steps]
    else:
        document["flag"] = {"weights": {CONTROL: "60%", names[-1]: "40%"}}
    return ExperimentSpec.model_validate(document)


def _step(name: str, number: int) -> dict[str, Any]:
    found = _STEPS[name]
    if name == "ab":
        return {"ab": {**found["ab"], "on_inconclusive": _AFTER_AB[number % len(_AFTER_AB)]}}
    if name == "bandit":
        return {"bandit": {**found["bandit"], "max_change": _MAX_CHANGE[number // 3 % 2]}}
    if name == "approve":
        return {"approve": {**found["approve"], "approvals": 1 + number % 2}}
    return found


@cache
def wire(release: int, guard: int, number: int, models: int, plain: bool) -> str:
    """The manifest in a record; not every tool writes maps in canonical order."""
    text = spec_of(release, guard, number, models).to_json()
    return text if plain else json.dumps(dict(reversed(json.loads(text).items())))
