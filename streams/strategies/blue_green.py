"""Blue/green: the new version runs beside the old, is asked first, and gets everything at once.

Increment 0: green is deployed on every instance, then asked the smoke requests there; one answer
that differs or does not come, and it is never switched to. Increment 1: green serves everybody,
blue stays warm for `keep_previous` of watermarked time, so that the way back is one table; then it
is retired. An instance that joins meanwhile is brought along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tidegate.schemas.manifest.deployments import BlueGreen
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
from tidegate.streams.strategies.instances import (
    DEGRADED,
    PASSED,
    Instance,
    instruction,
    live,
    named,
    runs,
)
from tidegate.streams.wording import count, duration

DRAIN_MS = 5_000
"""After a switch back, before green is ended: requests that it has begun are answered by then."""


def start(
    settings: BlueGreen, control: str, candidates: Sequence[str], winner: str, increment: int
) -> Shares:
    """Blue serves until the switch, green from then on."""
    chosen = candidates[0] if increment and candidates else control
    return Shares({chosen: ALL_BP})


def decide(standing: Standing) -> Move | None:
    """Deploy, ask, switch; keep the old one, retire it, end."""
    return _before(standing) if standing.increment == 0 else _after(standing)


def back(standing: Standing) -> Move | None:
    """Blue serves already, where it still runs; green is ended once its requests are answered."""
    settings: BlueGreen = standing.settings
    memo, blue, green = standing.memo, standing.control, standing.newcomer
    there, stage = live(standing.fleet), standing.memo.get("stage")
    lacking = [item for item in there if not item.serves(standing.artifact(blue))]
    greens = runs(there, standing.artifact(green))
    if not there or not (greens or touched(standing)):
        return None
    if not (lacking or greens):
        return _restored(standing)
    missing = [item for item in lacking if not item.health(standing.artifact(blue))]
    if missing and stage != "restore":
        reason = f"{version_of(standing, blue)} is deployed again: {named(missing)} had retired it"
        return _give(standing, "DEPLOY", blue, reason, "restore")
    drained = standing.now_ms >= memo.get("ended_ms", 0) + DRAIN_MS
    if not lacking and drained and not _are_asked(standing, "retire", greens):
        reason = f"{version_of(standing, green)} is retired, {blue} serves everybody"
        return _give(standing, "RETIRE", green, reason, "retire", whom=greens)
    if stage is None or standing.now_ms - memo["since_ms"] < settings.timeout_ms:
        return None
    reason = f"{named(lacking or greens)} not as before after {duration(settings.timeout_ms)}"
    return Move(Kind.HOLD, Verdict.FAIL, reason, evidence=seen(standing))


def outlook(standing: Standing) -> Outlook:
    """Where it stands, in instances and time."""
    settings: BlueGreen = standing.settings
    there = live(standing.fleet)
    if standing.increment == 0:
        green = standing.artifact(standing.newcomer)
        loaded = [item for item in there if item.serves(green)]
        passed = [item for item in there if _passed(standing, item)]
        stage = standing.memo.get("stage", "waiting")
        said = {"deploy": "deploying", "smoke": "asking"}.get(stage, stage)
        return Outlook(
            f"{said}: green on {share_of(loaded, there)}",
            f"{share_of(there, there)} answer {_requests(settings)} as expected"
            f" ({len(passed)} so far)",
        )
    keep = duration(settings.keep_previous_ms)
    return Outlook(
        f"switched, blue kept {duration(standing.held_ms)} of {keep}",
        f"{keep} are over, no guardrail fails and blue is retired",
    )


def _before(standing: Standing) -> Move | None:
    settings: BlueGreen = standing.settings
    memo, green = standing.memo, standing.newcomer
    there = live(standing.fleet)
    trouble, since_ms = _trouble(standing), memo.get("since_ms", standing.now_ms)
    if trouble:
        return _stop(standing, trouble)
    if len(there) < settings.instances:
        return too_few(standing, settings.instances)
    lacking = [item for item in there if not item.serves(standing.artifact(green))]
    if not memo or (lacking and memo.get("stage") == "smoke"):
        reason = f"{version_of(standing, green)} is deployed beside blue on {named(there)}"
        return _give(standing, "DEPLOY", green, reason, "deploy", since_ms)
    if not lacking and memo["stage"] == "deploy":
        loaded = f"{version_of(standing, green)} is loaded on {share_of(there, there)}"
        reason = f"{loaded}: it is asked {_requests(settings)}"
        return _give(standing, "SMOKE", green, reason, "smoke", since_ms)
    if lacking or any(not _passed(standing, item) for item in there):
        return None
    reason = (
        f"{version_of(standing, green)} answered {_requests(settings)} as expected on"
        f" {share_of(there, there)}: everything to {green} at once"
    )
    return Move(
        Kind.INCREMENT,
        Verdict.PASS,
        reason,
        winner=green,
        evidence=seen(standing),
        needs_data=False,  # no user has met it yet
    )


def _trouble(standing: Standing) -> str:
    """Why green is not to be switched to, empty while it may be."""
    settings: BlueGreen = standing.settings
    memo, version = standing.memo, version_of(standing, standing.newcomer)
    failed = standing.failed()
    if failed:
        what = "answered otherwise" if memo.get("stage") == "smoke" else "could not be deployed"
        return f"{version} {what} on {why(failed)}"
    # An answer that is there has come in time, however long a freeze keeps the switch waiting.
    missing = _silence(standing)
    if memo and missing and standing.now_ms - memo["since_ms"] >= settings.timeout_ms:
        return f"{missing} after {duration(settings.timeout_ms)}"
    return ""


def _restored(standing: Standing) -> Move | None:
    """The end of a way back, when something had to be done."""
    if standing.memo.get("stage") is None:
        return None
    there = live(standing.fleet)
    version = version_of(standing, standing.control)
    reason = f"{version} serves alone on {share_of(there, there)}"
    return Move(Kind.DEPLOY, Verdict.PASS, reason, evidence=seen(standing), memo=ended(standing))


def _after(standing: Standing) -> Move | None:
    settings: BlueGreen = standing.settings
    memo, green = standing.memo, standing.newcomer
    there = live(standing.fleet)
    sick = [item for item in there if item.health(standing.artifact(green)) == DEGRADED]
    if sick:
        what = f"{version_of(standing, green)} is not well on {named(sick)}"
        return roll_back(standing, f"{what}: back to {standing.control}")
    lacking = [item for item in there if not item.serves(standing.artifact(green))]
    if lacking:
        return _bring_along(standing, lacking)
    if standing.held_ms < settings.keep_previous_ms:
        return None
    blues = runs(there, standing.artifact(standing.control))
    is_asked = _are_asked(standing, "retire", blues)
    late = is_asked and standing.now_ms - memo["since_ms"] >= settings.timeout_ms
    if blues and is_asked and not late:
        return None
    if blues and not is_asked:
        reason = (
            f"{green} served everybody for {duration(standing.held_ms)}:"
            f" {version_of(standing, standing.control)} is retired"
        )
        # By name: whoever joins while this is repeated has nothing but blue.
        return _give(
            standing, "RETIRE", standing.control, reason, "retire", needs_data=True, whom=blues
        )
    left = f"; it still runs on {named(blues)}" if blues else ""
    reason = f"{version_of(standing, standing.control)} is retired, the release has ended{left}"
    verdict = Verdict.INCONCLUSIVE if blues else Verdict.PASS
    return Move(Kind.PASS, verdict, reason, winner=green, evidence=seen(standing))


def _bring_along(standing: Standing, lacking: Sequence[Instance]) -> Move | None:
    """After the switch green goes to whoever came without it; blue is kept until it is there."""
    settings: BlueGreen = standing.settings
    memo, green = standing.memo, standing.newcomer
    asked = memo.get("asked", ()) if memo.get("stage") == "join" else ()
    late = bool(asked) and standing.now_ms - memo["since_ms"] >= settings.timeout_ms
    absent = [item for item in lacking if not item.health(standing.artifact(green))]
    chosen = [item for item in absent if late or item.name not in asked]
    if not chosen:
        return None
    again = f"still not there after {duration(settings.timeout_ms)}" if late else "not there"
    reason = f"{version_of(standing, green)} is {again}: deployed on {named(chosen)}"
    move = _give(standing, "DEPLOY", green, reason, "join", whom=chosen)
    everybody = sorted({*asked, *(item.name for item in chosen)})
    return replace(move, memo={**(move.memo or {}), "asked": everybody})


def _give(
    standing: Standing,
    kind: Any,
    variant: str,
    reason: str,
    stage: str,
    since_ms: int | None = None,
    needs_data: bool | None = None,
    whom: Sequence[Instance] = (),
) -> Move:
    """A command to some instances, by default to all."""
    settings: BlueGreen = standing.settings
    cases = [case.to_case() for case in settings.smoke] if kind == "SMOKE" else []
    since_ms = standing.now_ms if since_ms is None else since_ms
    version, patience_ms = standing.variants[variant], settings.timeout_ms
    asked = [item.name for item in whom]
    return Move(
        Kind.DEPLOY,
        Verdict.NONE,
        reason,
        winner=variant,
        evidence=seen(standing),
        commands=tuple(
            instruction(kind, variant, version, patience_ms, name, cases=cases)
            for name in asked or [""]
        ),
        memo={**standing.memo, "stage": stage, "since_ms": since_ms, "asked": asked},
        needs_data=needs_data,
    )


def _are_asked(standing: Standing, stage: str, instances: Sequence[Instance]) -> bool:
    memo = standing.memo
    return memo.get("stage") == stage and all(it.name in memo.get("asked", ()) for it in instances)


def _stop(standing: Standing, reason: str) -> Move:
    said = f"{reason}; users did not meet it"
    return Move(
        Kind.STOP,
        Verdict.FAIL,
        said,
        winner=standing.newcomer,
        evidence=seen(standing),
        memo={},
    )


def _silence(standing: Standing) -> str:
    """What is missing before the switch, empty when nothing is: no answer is no success."""
    settings: BlueGreen = standing.settings
    green, there = standing.newcomer, live(standing.fleet)
    lacking = [item for item in there if not item.serves(standing.artifact(green))]
    if lacking:
        return f"{version_of(standing, green)} is not loaded on {named(lacking)}"
    silent = [item for item in there if not _passed(standing, item)]
    if silent:
        return f"{version_of(standing, green)} did not answer on {named(silent)}"
    return "too few instances are live" if len(there) < settings.instances else ""


def _requests(settings: BlueGreen) -> str:
    number = len(settings.smoke)
    return f"{count(number)} request{'s' if number > 1 else ''}"


def _passed(standing: Standing, item: Instance) -> bool:
    return item.outcome == PASSED and item.answered in standing.issued


STRATEGY = Strategy("blue_green", BlueGreen, True, start, decide, outlook, back=back)
