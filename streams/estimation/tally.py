"""Plain counts per variant: everything is counted, though not everything is learnt from."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any, Final

from tidegate.schemas.facts import CLASSES, STATUSES, STREAMS
from tidegate.streams.estimation.moments import Sample

IRREGULAR = {
    place * len(CLASSES) + code: f"{stream}.{CLASSES[code]}"
    for place, stream in enumerate(STREAMS)
    for code in range(1, len(CLASSES))
}
"""By stream * number of classes + class, as facts have them: the names of the joiner's counters."""


@dataclass(slots=True)
class Tally:
    """Requests of one variant.

    `reasons` and `statuses` count exposures by the words of the prediction; `irregular` counts
    late, orphan, duplicate, conflict and expired facts by `stream.class`. `inverse_propensity` is
    the sum of 1/p over learnt exposures, `opportunities` the number of learnt exposures of all
    variants under tables that gave this one a share: equal, about, when recorded propensities are
    true. `shadowed` are the pairs of this variant's shadows that a later step has set aside.
    """

    exposures: int = 0
    learnt: int = 0
    closed: int = 0
    matched: int = 0
    inverse_propensity: float = 0.0
    opportunities: int = 0
    shadowed: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STATUSES, 0))
    irregular: dict[str, int] = field(default_factory=lambda: dict.fromkeys(IRREGULAR.values(), 0))

    def irregular_by_class(self) -> dict[str, int]:
        """`irregular`, over all streams."""
        return {
            kind: sum(self.irregular[f"{stream}.{kind}"] for stream in STREAMS)
            for kind in CLASSES[1:]
        }

    def to_state(self) -> dict[str, Any]:
        """JSON values."""
        found: dict[str, Any] = dict(zip(_FIELDS, _VALUES(self), strict=True))
        for name in ("reasons", "statuses", "irregular"):
            found[name] = dict(found[name])
        return found

    def load(self, state: Mapping[str, Any]) -> None:
        """Takes over what `to_state` gave; what an earlier version did not count begins at 0."""
        for name in _FIELDS:
            if name in state:
                setattr(self, name, copy(state[name]))


_FIELDS: Final = tuple(item.name for item in fields(Tally))
_VALUES: Final = attrgetter(*_FIELDS)


@dataclass(slots=True)
class ShadowTally:
    """Requests a variant answered unseen, compared one by one with the answers that were given.

    `disagree` and `agree` leave out pairs that could not be compared. `failures` counts shadow
    answers that are not OK. `latency` and `score` are moments of shadow minus answer on the same
    request, where both sides have one. `squared_error` is that of the squared distance of the score
    from what came of the request later, on the `scored` requests of which all three are known.
    """

    pairs: int = 0
    agree: int = 0
    disagree: int = 0
    failures: int = 0
    latency: Sample = field(default_factory=Sample)
    score: Sample = field(default_factory=Sample)
    scored: int = 0
    squared_error: Sample = field(default_factory=Sample)

    @property
    def disagreement(self) -> float | None:
        """Share of compared pairs that differ, None without any."""
        compared = self.agree + self.disagree
        return self.disagree / compared if compared else None

    def to_state(self) -> list[Any]:
        """JSON values."""
        counts = [self.pairs, self.agree, self.disagree, self.failures, self.scored]
        samples = (self.latency, self.score, self.squared_error)
        return [*counts, *(sample.to_state() for sample in samples)]

    def load(self, state: list[Any]) -> None:
        """Takes over what `to_state` gave."""
        self.pairs, self.agree, self.disagree, self.failures, self.scored = state[:5]
        self.latency, self.score, self.squared_error = map(Sample.from_state, state[5:])

    def forget_outcomes(self) -> None:
        """Begin anew with what outcomes say: they are measured otherwise from now on."""
        self.scored, self.squared_error = 0, Sample()


def set_aside(
    tallies: Mapping[str, Tally], shadows: Mapping[str, ShadowTally]
) -> dict[str, ShadowTally]:
    """Fresh tallies of shadows for a step that begins; what came before stays counted."""
    for name, shadow in shadows.items():
        tallies[name].shadowed += shadow.pairs
    return {name: ShadowTally() for name in shadows}


def conservation(tally: Tally, shadow: ShadowTally) -> dict[str, dict[str, int]]:
    """What became of a variant's records, per stream: input = the sum of the other classes.

    Of a variant only what has a prediction is known, and a deferred prediction only once it is
    activated. Activations are no outcomes here. A shadow prediction is counted under the variant
    that ran in the shadow, but as irregular under the one that answered the request. Irregular
    classes that are 0 are left out.

    >>> conservation(Tally(exposures=5, closed=3, matched=2), ShadowTally())["prediction"]
    {'input': 5, 'counted': 3, 'pending': 2}
    """
    shadowed = tally.shadowed + shadow.pairs
    counted = {"prediction": tally.closed, "shadow": shadowed, "outcome": tally.matched}
    # A request that was given up at a cap had been exposed, so it is open no longer.
    pending = tally.exposures - tally.closed - tally.irregular["prediction.expired"]
    found = {}
    for stream in STREAMS:
        classes = {"counted": counted[stream]}
        if stream == "prediction":
            classes["pending"] = pending
        classes |= {
            kind: number
            for kind in CLASSES[1:]
            if (number := tally.irregular[f"{stream}.{kind}"])
        }
        found[stream] = {"input": sum(classes.values()), **classes}
    return found
