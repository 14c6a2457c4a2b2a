"""Recreate: the old version is stopped everywhere, then the new one is started.

In between nothing serves: the table goes on naming control, which no instance has loaded, and
requests fail as they do without a model. The downtime, log time between the word that the last old
one stopped and the word that the first new one is well, is recorded. Whatever fails on the way is
undone in the same manner, with downtime again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from tidegate.schemas.manifest.deployments import Recreate
from tidegate.streams.strategies.base import (
    ALL_BP,
    Kind,
    Move,
    Outlook,
    Shares,
    Standing,
    Strategy,
    Verdict,
)
from tidegate.streams.strategies.deploying import (
    ended,
    roll_back,
    seen,
    share_of,
    too_few,
    touched,
    version_of,
    why,
)
from tidegate.streams.strategies.instances import DEGRADED, instruction, live, named, runs
from tidegate.streams.wording import duration


def start(
    settings: Recreate, control: str, candidates: Sequence[str], winner: str, increment: int
) -> Shares:
    """Control, also while nothing runs; the candidate once it is well everywhere."""
    chosen = candidates[0] if increment and candidates else control
    return Shares({chosen: ALL_BP})


def decide(standing: Standing) -> Move | None:
    """Stop all, start all, switch, end."""
    new, trouble = standing.newcomer, _trouble(standing)
    if trouble:
        return _give_up(standing, trouble)
    if standing.increment:
        reason = f"{version_of(standing, new)} serves everybody, the release has ended"
        return Move(Kind.PASS, Verdict.PASS, reason, winner=new, evidence=seen(standing))
    stage = standing.memo.get("stage")
    if stage is None:
        return _begin(standing)
    return _stopping(standing) if stage == "STOP" else _starting(standing)


def back(standing: Standing) -> Move | None:
    """Stop the new one everywhere, start the old one again."""
    memo, old, new = standing.memo, standing.control, standing.newcomer
    there, stage = live(standing.fleet), standing.memo.get("stage")
    lacking = [item for item in there if not item.serves(standing.artifact(old))]
    news = runs(there, standing.artifact(new))
    if not there or not (news or (lacking and touched(standing)) or stage):
        return None
    if news and stage is None:
        reason = f"{version_of(standing, new)} is stopped on {named(news)}"
        return _give(standing, "STOP", new, reason)
    if not news and lacking and stage != "START":
        stopped_ms = _down_since(standing)
        reason = f"{version_of(standing, old)} is started again on {named(lacking)}"
        return _give(standing, "START", old, reason, stopped_ms=stopped_ms)
    if not (news or lacking):
        span_ms = standing.now_ms - memo.get("stopped_ms", standing.now_ms)
        reason = f"{version_of(standing, old)} is well on {share_of(there, there)}"
        reason += f" again; downtime {duration(span_ms)}"
        return Move(
            Kind.DEPLOY,
            Verdict.PASS,
            reason,
            evidence=seen(standing, downtime_ms=span_ms),
            memo=ended(standing),
        )
    if standing.now_ms - memo["since_ms"] < standing.settings.timeout_ms:
        return None
    after = duration(standing.settings.timeout_ms)
    reason = f"{named(news or lacking)} not as before after {after}"
    return Move(Kind.HOLD, Verdict.FAIL, reason, evidence=seen(standing))


def outlook(standing: Standing) -> Outlook:
    """Where it stands, in instances."""
    there = live(standing.fleet)
    well = [item for item in there if item.serves(standing.artifact(standing.newcomer))]
    said = {"STOP": "stopping", "START": "starting"}.get(standing.memo.get("stage", ""), "waiting")
    if standing.increment:
        return Outlook("switched", "every guardrail has its data and none fails")
    return Outlook(
        f"{said}: new version on {share_of(well, there)}",
        f"the new version is well on {share_of(there, there)}",
    )


def _trouble(standing: Standing) -> str:
    """What is wrong with the instances, empty when nothing is."""
    version = version_of(standing, standing.newcomer)
    new = standing.artifact(standing.newcomer)
    sick = [item for item in live(standing.fleet) if item.health(new) == DEGRADED]
    if sick:
        return f"{version} is not well on {named(sick)}"
    failed = standing.failed()
    return f"a command failed on {why(failed)}" if failed else ""


def _begin(standing: Standing) -> Move:
    settings: Recreate = standing.settings
    there = live(standing.fleet)
    if len(there) < settings.instances:
        return too_few(standing, settings.instances)
    reason = f"{version_of(standing, standing.control)} is stopped on {named(there)}"
    return _give(standing, "STOP", standing.control, reason)


def _stopping(standing: Standing) -> Move | None:
    # Who is silent may still serve: nothing is started beside it.
    left = runs(standing.fleet, standing.artifact(standing.control))
    if left:
        return _late(standing, f"{version_of(standing, standing.control)} runs on {named(left)}")
    new, there = standing.newcomer, live(standing.fleet)
    reason = (
        f"{version_of(standing, standing.control)} has stopped everywhere, nothing serves:"
        f" {version_of(standing, new)} is started on {named(there)}"
    )
    stopped_ms = standing.memo.get("stopped_ms", standing.now_ms)
    return _give(standing, "START", new, reason, stopped_ms=stopped_ms)


def _starting(standing: Standing) -> Move | None:
    settings: Recreate = standing.settings
    memo, new, there = standing.memo, standing.newcomer, live(standing.fleet)
    well = [item for item in there if item.serves(standing.artifact(new))]
    if well and "first_ms" not in memo:
        return Move(Kind.CHECKED, memo={**memo, "first_ms": standing.now_ms})
    if len(well) < max(len(there), settings.instances):
        slow = named([item for item in there if item not in well]) or "too few instances"
        return _late(standing, f"{version_of(standing, new)} is not well on {slow}")
    span_ms = memo["first_ms"] - memo["stopped_ms"]
    reason = (
        f"{version_of(standing, new)} is well on {share_of(well, there)}: everything to {new};"
        f" downtime {duration(span_ms)}"
    )
    return Move(
        Kind.INCREMENT,
        Verdict.PASS,
        reason,
        winner=new,
        evidence=seen(standing, downtime_ms=span_ms),
        needs_data=False,  # nobody could be served by it yet
    )


def _late(standing: Standing, what: str) -> Move | None:
    settings: Recreate = standing.settings
    if standing.now_ms - standing.memo["since_ms"] < settings.timeout_ms:
        return None
    return _give_up(standing, f"{what} after {duration(settings.timeout_ms)}")


def _give_up(standing: Standing, reason: str) -> Move:
    return roll_back(standing, f"{reason}: back to {version_of(standing, standing.control)}")


def _down_since(standing: Standing) -> int:
    """When the last version that served had stopped: before the way back began, or now."""
    was = standing.memo.get("was", {})
    if "stopped_ms" in was and "first_ms" not in was:
        return int(was["stopped_ms"])
    return standing.now_ms


def _give(
    standing: Standing, kind: Literal["START", "STOP"], variant: str, reason: str, **memo: Any
) -> Move:
    """A command to all instances."""
    version, patience_ms = standing.variants[variant], standing.settings.timeout_ms
    return Move(
        Kind.DEPLOY,
        Verdict.NONE,
        reason,
        winner=variant,
        evidence=seen(standing),
        commands=(instruction(kind, variant, version, patience_ms),),
        memo={**standing.memo, "stage": kind, "since_ms": standing.now_ms, **memo},
    )


STRATEGY = Strategy("recreate", Recreate, True, start, decide, outlook, back=back)
