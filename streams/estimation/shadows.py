"""What variants answered unseen, from a batch into their tallies."""

from __future__ import annotations

from collections.abc import Mapping

from tidegate.streams.estimation.plan import Plan
from tidegate.streams.estimation.summary import Summary
from tidegate.streams.estimation.tally import ShadowTally


def observe_shadows(
    tallies: Mapping[str, ShadowTally], plan: Plan, summary: Summary, owners: Mapping[int, str]
) -> None:
    """Takes the shadows of a batch; `owners` says which of its contexts are whose.

    A shadow is drawn by its request, not by the split that the reason tells of: all are taken.
    """
    if summary.batch.count("shadow"):
        _pairs(tallies, plan, summary, owners)
    if plan.scored is not None and summary.batch.count("closed_shadow"):
        found = summary.squared_errors(plan.scored)
        for number, variant in owners.items():
            tallies[variant].scored += found.counts[number]
            if (moments := found.moments[number]) is not None:
                tallies[variant].squared_error.merge(*moments)


def _pairs(
    tallies: Mapping[str, ShadowTally], plan: Plan, summary: Summary, owners: Mapping[int, str]
) -> None:
    agreed = summary.agreements(plan.score_tolerance)
    shifts = (summary.shifts("latency"), summary.shifts("score"))
    for number, variant in owners.items():
        tally = tallies[variant]
        disagree, agree, unknown = agreed[number]
        tally.pairs += disagree + agree + unknown
        tally.disagree += disagree
        tally.agree += agree
        tally.failures += summary.shadow_failures[number]
        for side, found in zip((tally.latency, tally.score), shifts, strict=True):
            if (moments := found[number]) is not None:
                side.merge(*moments)
