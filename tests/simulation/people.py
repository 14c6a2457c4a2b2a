"""Simulated people: what they order, sound and unsound, once and again."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from tests.simulation.manifests import CANDIDATES, CONTROL, GUARDS, RELEASES, ROLES, wire
from tidegate.schemas.events import Control
from tidegate.schemas.manifest.spec import ExperimentSpec
from tidegate.streams.deciding.experiment import FLAG_STEP, ExperimentState
from tidegate.streams.deciding.proposals import AWAITED
from tidegate.streams.rollout import Phase

EXPERIMENT = "ranker"
_PEOPLE = ("ann", "bob", "cleo")
_ROLES = (*ROLES, "owner", "owner", "intern")

KINDS = (
    "ROLLBACK", "PAUSE", "RESUME", "PROMOTE", "APPLY", "ROLLBACK", "NEXT", "SET", "ABORT",
    "RESTART", "ROLLBACK", "STRANGE", "AMEND", "AMEND", "AMEND", "AMEND", "OTHER", "PROMOTE",
    "NEXT", "APPLY", "ROLLBACK", "RESUME", "RETRY", "RETRY", "APPROVE",
)  # fmt: skip


class Known(NamedTuple):
    """What people see of an experiment; without one there is no spec.

    `wish` is what the situation asks for: an approval, somebody who resumes, another beginning.
    """

    generation: int = 0
    step: int = FLAG_STEP
    spec: ExperimentSpec | None = None
    wish: str = ""


def known_of(state: ExperimentState | None) -> Known:
    """What a view of the experiment tells."""
    if state is None:
        return Known()
    wish = "RETRY" if state.phase in (Phase.ABORTED, Phase.ROLLED_BACK) else ""
    if state.held == AWAITED:
        is_asked = state.spec.release[state.step].approve is not None
        wish = "APPROVE" if is_asked else "RESUME"
    return Known(state.generation, state.step, state.spec, wish)


def order(number: int, a: int, b: int, known: Known, now_ms: int) -> Control:
    """Order `number`; `a` chooses what, `b` how."""
    kind = _kind(a, known)
    fields: dict[str, Any] = {
        "control_id": f"order-{number}", "experiment": EXPERIMENT, "action": kind,
        "actor": _PEOPLE[b // 23 % len(_PEOPLE)], "role": _ROLES[b // 29 % len(_ROLES)],
        "reason": "because" if b % 19 else "", "issued_at": now_ms,
    }  # fmt: skip
    if b % 4 == 0:
        fields["expires_at"] = now_ms + 100 * (b % 5) - 200
    if b % 5 == 0:
        # No rollback names a generation to come: services would keep it in mind, the decider not.
        ahead = int(kind != "ROLLBACK")
        fields["generation"] = max(0, known.generation + (ahead, 0, -1)[b // 5 % 3])
    elif b % 5 < 3 or kind == "APPROVE":
        fields["generation"] = known.generation
    if kind in ("APPLY", "RESTART"):
        digest = "" if known.spec is None else known.spec.digest()
        fields.update(_applying(kind, a // len(KINDS), b, digest))
    elif kind == "AMEND" and known.spec is not None:
        fields.update(_amending(known.spec, b))
    elif kind == "APPROVE":
        fields["arguments"] = {"step": str(known.step + (b % 9 == 0))}
    else:
        fields.update(_moving(kind, b))
    return Control(**fields)


def _kind(a: int, known: Known) -> str:
    if known.spec is None:
        return "APPLY"
    # Every other person looks at what is asked for, the others want something of their own.
    return known.wish if known.wish and a // 97 % 2 else KINDS[a % len(KINDS)]


def _moving(kind: str, b: int) -> dict[str, Any]:
    variant = CANDIDATES[b % 2] if b % 11 else CONTROL
    if kind == "ROLLBACK":
        heir = {} if b % 13 else {"to": CANDIDATES[(b // 13) % 2]}
        return {"arguments": {"variant": variant, **heir}}
    if kind == "PROMOTE":
        return {"arguments": {"variant": variant} if b % 3 else {}}
    if kind == "NEXT":
        return {"action": "PROMOTE", "arguments": {"to": "next"}}
    if kind == "SET":
        return {"arguments": {CANDIDATES[b % 2]: "3000"}}
    if kind == "OTHER":
        return {"action": "PAUSE", "experiment": "unheard-of"}
    return {}


def _amending(spec: ExperimentSpec, b: int) -> dict[str, Any]:
    found = json.loads(spec.to_json())
    found["inclusion_bp"] = 8_000 + 1_000 * (b % 3)
    return {
        "action": "APPLY", "spec": json.dumps(found), "parent": spec.digest(), "generation": 0
    }  # fmt: skip


def _applying(kind: str, which: int, b: int, digest: str) -> dict[str, Any]:
    text = wire(which % len(RELEASES), b % GUARDS, b // GUARDS % 12, b // 7 % 2, b % 4 > 0)
    found: dict[str, Any] = {
        "action": "APPLY", "spec": text, "parent": digest or None, "generation": 0
    }  # fmt: skip
    if kind == "RESTART":
        found["arguments"] = {"restart": "true"}
    if digest and b % 17 == 0:
        found["parent"] = "0" * 64
    return found
