"""Shadow: candidates answer a sample of control's requests without being shown.

Ends when every candidate was compared on `until.requests` requests. Each requirement is judged
then, by bounds that are valid at any time: one that is surely broken stops the release for a
person, since nobody was harmed; one that is neither kept nor broken surely ends as
`on_inconclusive` says; one about which nothing is known waits. What became of requests is known
later than what was answered, so `squared_error` waits until as many of them have closed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tidegate.schemas.manifest.steps import Shadow
from tidegate.schemas.manifest.types import Condition
from tidegate.streams.estimation import ShadowTally
from tidegate.streams.inference import Bound, method_for, share
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
from tidegate.streams.wording import count, listing, number, percent

_LATER: Final = "squared_error"


@dataclass(frozen=True, slots=True)
class Requirement:
    """What one requirement says about one candidate."""

    candidate: str
    word: str
    verdict: Verdict
    found: Bound | None
    n: int
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """As evidence."""
        found = self.found
        return {
            "candidate": self.candidate,
            "requirement": self.word,
            "verdict": str(self.verdict),
            "n": self.n,
            "value": None if found is None else found.estimate,
            "lower": None if found is None else found.lower,
            "upper": None if found is None else found.upper,
        }


def start(
    settings: Shadow, control: str, candidates: Sequence[str], winner: str, increment: int
) -> Shares:
    """Control serves everybody; every candidate answers the sample unseen."""
    return Shares({control: ALL_BP}, dict.fromkeys(candidates, settings.sample_bp))


def decide(standing: Standing) -> Move | None:
    """Passes, stops, or waits, once every candidate was compared often enough."""
    settings: Shadow = standing.settings
    compared = {name: standing.evidence.disagreement(name) for name in standing.candidates}
    if any(total < settings.until.requests for _, total in compared.values()):
        return None
    judged = list(_judged(standing))
    evidence = {
        "disagreement": {name: list(pair) for name, pair in compared.items()},
        "require": [item.to_dict() for item in judged],
    }
    if not judged:
        said = [_disagreed(name, *pair) for name, pair in compared.items()]
        return Move(Kind.PASS, Verdict.PASS, listing(said), evidence=evidence)
    verdict = _worst(judged)
    telling = [item for item in judged if item.verdict is verdict]
    reason = listing([item.sentence for item in telling])
    if verdict is Verdict.FAIL:
        return Move(Kind.STOP, verdict, reason, winner=telling[0].candidate, evidence=evidence)
    if verdict is Verdict.PASS:
        return Move(Kind.PASS, verdict, reason, evidence=evidence)
    if verdict is Verdict.NO_DATA:
        return Move(Kind.HOLD, verdict, f"{reason}: waiting, no data is no success", None, "",
                    evidence)  # fmt: skip
    answer = settings.on_inconclusive or "hold"
    kinds = {"hold": Kind.HOLD, "fail": Kind.STOP, "pass": Kind.PASS}
    winner = telling[0].candidate if answer == "fail" else ""
    reason += f"; on_inconclusive: {answer}"
    return Move(kinds[answer], verdict, reason, winner=winner, evidence=evidence)


def outlook(standing: Standing) -> Outlook:
    """Compared requests of the candidate that has fewest, and what is required of them."""
    settings: Shadow = standing.settings
    totals = [standing.evidence.disagreement(name)[1] for name in standing.candidates]
    fewest = min(totals, default=0)
    needed = count(settings.until.requests)
    following = f"{needed} requests are compared ({count(fewest)})"
    progress = f"{count(fewest)} of {needed} compared"
    if settings.require is not None and settings.require.squared_error is not None:
        scored = [standing.evidence.shadow(name).scored for name in standing.candidates]
        progress += f", {count(min(scored, default=0))} with what came of them"
    wanted = [f"{word} {_limit(word, condition)}" for word, condition in _required(settings)]
    if wanted:
        following += f" and surely {listing(wanted)}"
    silent = sum(standing.evidence.incomparable(name) for name in standing.candidates)
    if silent:
        following += f"; {count(silent)} pairs have neither labels nor scores on both sides"
    return Outlook(progress, following)


def _required(settings: Shadow) -> Iterator[tuple[str, Condition]]:
    for word in ("disagreement", "errors", "latency", "score_shift", _LATER):
        condition = getattr(settings.require, word, None)
        if condition is not None:
            yield word, condition


def _judged(standing: Standing) -> Iterator[Requirement]:
    settings: Shadow = standing.settings
    for name in standing.candidates:
        tally = standing.evidence.shadow(name)
        for word, condition in _required(settings):
            n, found = _measured(tally, word, settings.alpha)
            needed = settings.until.requests if word == _LATER else 1
            if n < needed:
                said = _unknown(name, word, condition, n, needed)
                yield Requirement(name, word, Verdict.NO_DATA, found, n, said)
                continue
            verdict = _verdict(found, word, condition)
            yield Requirement(name, word, verdict, found, n, _said(name, word, condition, n, found))


def _measured(tally: ShadowTally, word: str, alpha: float) -> tuple[int, Bound | None]:
    """Pairs behind a requirement, and always valid bounds of what it asks about."""
    if word == "disagreement":
        n = tally.agree + tally.disagree
        return n, share.bound(n, tally.disagree, alpha)
    if word == "errors":
        return tally.pairs, share.bound(tally.pairs, tally.failures, alpha)
    sample = {"latency": tally.latency, "score_shift": tally.score}.get(word, tally.squared_error)
    moments = sample.moments()
    n = tally.scored if word == _LATER else int(moments.n)
    return n, method_for(False).bound(moments, alpha)


def _verdict(found: Bound | None, word: str, condition: Condition) -> Verdict:
    if found is None:
        return Verdict.INCONCLUSIVE
    lower, upper, limit = found.lower, found.upper, condition.value
    if word == "score_shift":
        # A shift is a shift whichever way it goes.
        nearest = max(lower, -upper, 0.0)
        lower, upper = nearest, max(upper, -lower)
    if condition.operator in (">=", ">"):
        lower, upper, limit = -upper, -lower, -limit
    if lower > limit:
        return Verdict.FAIL
    return Verdict.PASS if upper <= limit else Verdict.INCONCLUSIVE


def _worst(judged: Sequence[Requirement]) -> Verdict:
    order = (Verdict.FAIL, Verdict.NO_DATA, Verdict.INCONCLUSIVE, Verdict.PASS)
    return min((item.verdict for item in judged), key=order.index)


def _said(name: str, word: str, condition: Condition, n: int, found: Bound | None) -> str:
    limit = f"(required {_limit(word, condition)}, {count(n)} compared)"
    what = {
        "disagreement": f"{name} disagreed on",
        "errors": f"{name} failed on",
        "latency": f"{name} took longer by",
        "score_shift": f"{name} scored apart by",
        _LATER: f"{name} missed what came by a squared error larger by",
    }[word]
    if found is None:
        return f"{what} what never varied {limit}"
    value, low, high = (_value(word, item) for item in (found.estimate, found.lower, found.upper))
    return f"{what} {value}, between {low} and {high} {limit}"


def _unknown(name: str, word: str, condition: Condition, n: int, needed: int) -> str:
    required = f"required {_limit(word, condition)}"
    if word == _LATER:
        of = f"{count(n)} of {count(needed)} requests"
        return f"{name} has scores beside what came of {of} (squared error {required})"
    return f"{name} has no {word.replace('_', ' ')} to compare ({required}, {count(n)} compared)"


def _disagreed(name: str, disagreeing: int, total: int) -> str:
    share_of = percent(disagreeing / total)
    return f"{name} disagreed on {share_of} of {count(total)} compared requests"


def _limit(word: str, condition: Condition) -> str:
    return f"{condition.operator} {_value(word, condition.value)}"


def _value(word: str, value: float) -> str:
    if word in ("disagreement", "errors"):
        return percent(value)
    return f"{number(value)} ms" if word == "latency" else number(value)


STRATEGY = Strategy("shadow", Shadow, False, start, decide, outlook)
