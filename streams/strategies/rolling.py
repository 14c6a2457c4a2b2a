"""Rolling: the new version takes the old one's place, a batch of instances at a time.

Every instance serves one version, so who gets which is decided by the instance, not by the table:
it stays with control until all are patched. Each batch is waited for until its instances say that
the new version is well there; the next one needs evidence up to then and data for every guardrail.
An instance that fails, is unwell or too slow takes everybody back, batch by batch as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tidegate.schemas.manifest.deployments import Rolling
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
    version_of,
    why,
)
from tidegate.streams.strategies.instances import (
    DEGRADED,
    FAILED,
    Instance,
    instruction,
    live,
    named,
)
from tidegate.streams.wording import duration


def start(
    settings: Rolling, control: str, candidates: Sequence[str], winner: str, increment: int
) -> Shares:
    """Control while instances differ; the candidate once all have it."""
    chosen = candidates[0] if increment and candidates else control
    return Shares({chosen: ALL_BP})


def decide(standing: Standing) -> Move | None:
    """The next batch, the switch of the table when all are patched, or the way back."""
    new, memo, there = standing.newcomer, standing.memo, live(standing.fleet)
    found = trouble(standing)
    if found:
        return roll_back(standing, f"{found}: back to {version_of(standing, standing.control)}")
    if standing.increment:
        reason = f"{version_of(standing, new)} serves everybody, the release has ended"
        return Move(Kind.PASS, Verdict.PASS, reason, winner=new, evidence=seen(standing))
    patched = [item for item in there if has_only(standing, item, new)]
    if unfinished(standing, patched):
        return None
    if memo and "well_ms" not in memo:
        return Move(Kind.CHECKED, memo={**memo, "well_ms": standing.now_ms})
    return _go_on(standing, patched)


def back(standing: Standing) -> Move | None:
    """The old version takes the new one's place again, in batches too."""
    settings: Rolling = standing.settings
    memo, old, there = standing.memo, standing.control, live(standing.fleet)
    restored = [item for item in there if has_only(standing, item, old)]
    lost = sorted({*memo.get("lost", ()), *_given_up(standing, restored)})
    waiting = [
        name for name in memo.get("batch", ()) if name not in lost and name not in _names(restored)
    ]
    if any(name in _names(there) for name in waiting):
        return None
    off = [
        item
        for item in there
        if item not in restored and item.name not in lost and _differs(standing, item)
    ]
    if off:
        batch = off[: min(settings.batch.size(len(there)), settings.max_unavailable)]
        reason = f"back: {version_of(standing, old)} on {named(batch)}"
        reason += f", then on {len(off) - len(batch)} more" if len(off) > len(batch) else ""
        return _patch(standing, old, batch, reason, {**memo, "lost": lost})
    if "batch" not in memo:
        return None
    reason = f"{version_of(standing, old)} is well on {share_of(restored, there)} again"
    if lost:
        reason += f"; it did not come back on {named(lost)}"
    verdict = Verdict.FAIL if lost else Verdict.PASS
    done = {**ended(standing), "lost": lost}
    return Move(Kind.DEPLOY, verdict, reason, evidence=seen(standing), memo=done)


def outlook(standing: Standing) -> Outlook:
    """How many are patched, and what is waited for."""
    settings: Rolling = standing.settings
    there = live(standing.fleet)
    patched = [item for item in there if has_only(standing, item, standing.newcomer)]
    hold = f", held {duration(settings.hold_ms)} each" if settings.hold_ms else ""
    return Outlook(
        f"patched {share_of(patched, there)}",
        f"{share_of(there, there)} are patched and well{hold} and no guardrail fails",
    )


def _go_on(standing: Standing, patched: Sequence[Instance]) -> Move | None:
    settings: Rolling = standing.settings
    new, memo, there = standing.newcomer, standing.memo, live(standing.fleet)
    if len(there) < settings.instances:
        return too_few(standing, settings.instances)
    # What the joiner has not told yet may hold a breach.
    if memo and standing.watermark_ms < memo["well_ms"] + max(settings.hold_ms, 1):
        return None
    left = [item for item in standing.fleet if item not in patched]
    if left:
        return next_batch(standing, patched, left, len(left))
    reason = f"{version_of(standing, new)} is well on {share_of(patched, there)}: the table follows"
    # The table gives the new version nothing yet, and users have met it all the same.
    return Move(
        Kind.INCREMENT,
        Verdict.PASS,
        reason,
        winner=new,
        evidence=seen(standing),
        needs_data=True,
    )


def trouble(standing: Standing) -> str:
    """What is wrong with instances that were given the new version; empty when nothing is."""
    settings: Rolling = standing.settings
    version = version_of(standing, standing.newcomer)
    new = standing.artifact(standing.newcomer)
    failed = standing.failed()
    if failed:
        return f"{version} failed on {why(failed)}"
    sick = [item for item in live(standing.fleet) if item.health(new) == DEGRADED]
    if sick:
        return f"{version} is not well on {named(sick)}"
    limit_ms = settings.health_timeout_ms
    silent = [
        item
        for item in standing.fleet
        if item.health(new) and standing.now_ms - item.heard_at_ms >= limit_ms
    ]
    if silent:
        return f"{named(silent)} with {version} silent for {duration(limit_ms)}"
    batch = [item for item in standing.fleet if item.name in standing.memo.get("batch", ())]
    slow = [item for item in batch if not has_only(standing, item, standing.newcomer)]
    if not slow or "well_ms" in standing.memo:
        return ""
    if standing.now_ms - standing.memo["since_ms"] < limit_ms:
        return ""
    return f"{version} is not well on {named(slow)} after {duration(limit_ms)}"


def unfinished(standing: Standing, patched: Sequence[Instance]) -> bool:
    """Whether the running batch is not well yet; who said goodbye is not waited for."""
    batch = standing.memo.get("batch", ())
    return any(item.name in batch and item not in patched for item in standing.fleet)


def next_batch(
    standing: Standing, patched: Sequence[Instance], left: Sequence[Instance], most: int
) -> Move:
    """The new version on the next instances, at most so many; or waiting for who is away."""
    settings: Rolling = standing.settings
    old, new = standing.artifact(standing.control), standing.artifact(standing.newcomer)
    away = [item for item in standing.fleet if not (item.serves(old) or item.serves(new))]
    ready = [item for item in left if item.live]
    # Who is unwell already is patched first: it takes nothing from those that serve.
    ready.sort(key=lambda item: (item not in away, item.name))
    free = settings.max_unavailable - len([item for item in away if item not in ready])
    size = min(settings.batch.size(len(standing.fleet)), free, most)
    chosen = ready[: max(size, 0)]
    if not chosen:
        reason = f"{named(away)} unavailable (at most {settings.max_unavailable}): waiting"
        return Move(Kind.HOLD, Verdict.NO_DATA, reason, evidence=seen(standing))
    number = standing.memo.get("number", 0) + 1
    done = f"{share_of(patched, standing.fleet)} are patched and well; " if patched else ""
    reason = f"{done}batch {number}: {version_of(standing, standing.newcomer)} on {named(chosen)}"
    return _patch(standing, standing.newcomer, chosen, reason, {"number": number})


def _patch(
    standing: Standing,
    variant: str,
    batch: Sequence[Instance],
    reason: str,
    memo: dict[str, Any],
) -> Move:
    """One version instead of the other on each instance of a batch."""
    settings: Rolling = standing.settings
    other = standing.newcomer if variant == standing.control else standing.control
    commands = tuple(
        instruction(
            "DEPLOY",
            variant,
            standing.variants[variant],
            settings.health_timeout_ms,
            item.name,
            standing.artifact(other),
        )
        for item in batch
    )
    return Move(
        Kind.DEPLOY,
        Verdict.NONE,
        reason,
        winner=variant,
        evidence=seen(standing),
        commands=commands,
        memo={**memo, "batch": [item.name for item in batch], "since_ms": standing.now_ms},
        needs_data=variant == standing.newcomer and memo["number"] > 1,
    )


def _given_up(standing: Standing, restored: Sequence[Instance]) -> list[str]:
    """Of the running batch back, who failed or took too long: the others are not kept waiting."""
    memo, settings = standing.memo, standing.settings
    names = [name for name in memo.get("batch", ()) if name not in _names(restored)]
    if names and standing.now_ms - memo["since_ms"] >= settings.health_timeout_ms:
        return names
    failed = [item.name for item in standing.failed() if item.outcome == FAILED]
    return [name for name in names if name in failed]


def has_only(standing: Standing, item: Instance, variant: str) -> bool:
    """Whether an instance serves this variant and not the other."""
    other = standing.newcomer if variant == standing.control else standing.control
    return item.serves(standing.artifact(variant)) and not item.health(standing.artifact(other))


def _differs(standing: Standing, item: Instance) -> bool:
    """On the way back: whether the new version, or nothing after a command of ours, runs here."""
    if item.health(standing.artifact(standing.newcomer)):
        return True
    given = standing.memo.get("was", {}).get("batch", ())
    return item.name in given and not item.health(standing.artifact(standing.control))


def _names(instances: Sequence[Instance]) -> list[str]:
    return [item.name for item in instances]


STRATEGY = Strategy("rolling", Rolling, True, start, decide, outlook, back=back)
