"""Ramps and layers over a million units: who leaves the candidate, who is in two experiments.

A candidate grows from 1 % to 50 %: no unit may leave it. Two experiments share a layer: no unit may
take part in both. Two others have layers of their own: taking part in one, and which variant one
gets, must say nothing about the other (Pearson's chi-square test, one degree of freedom).
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable

from scipy.stats import chi2_contingency

from benchmarks.report import exit_by, heading, line
from tidegate.schemas.canonical import canonical_json
from tidegate.schemas.events import BucketRange, Routing, Variant
from tidegate.streams.assignment import Table, assign, prepare
from tidegate.streams.routing import allocate

RAMP_BP = (100, 500, 2_000, 5_000)
P_VALUE_MIN = 0.001
"""Below it two independent experiments would fall once in a thousand choices of salts."""


def table_of(
    name: str, share_bp: int, layer: str = "", slots: tuple[int, int] = (0, 10_000),
    before: tuple[BucketRange, ...] = (),
) -> Table:
    """A table in which the candidate has a share, within slots of a layer."""
    rules = {"layer": {"name": layer, "salt": layer, "slots": [list(slots)]}} if layer else {}
    weights = {"champion": 10_000 - share_bp, "challenger": share_bp}
    return prepare(Routing(
        experiment=name, epoch=0, version=1, generation=1, control="champion",
        variants=tuple(Variant(name=each, model="m", model_version="1") for each in weights),
        buckets=allocate(weights, before), inclusion=10_000, rules=canonical_json(rules),
        salt=name, reward_wait_ms=1_000, decision_id=f"{name}/0/1", published_at=0,
    ))  # fmt: skip


def ramp(units: int) -> tuple[int, list[float]]:
    """Units that ever left the candidate, and its share of all units at each step, percent."""
    tables: list[Table] = []
    before: tuple[BucketRange, ...] = ()
    for share_bp in RAMP_BP:
        tables.append(table_of("ramp", share_bp, before=before))
        before = tables[-1].routing.buckets
    left, shares = 0, [0] * len(tables)
    for number in range(units):
        has = [assign(table, f"user-{number}", "r").variant == "challenger" for table in tables]
        left += has != sorted(has)
        for place, is_candidate in enumerate(has):
            shares[place] += is_candidate
    return left, [100 * share / units for share in shares]


def pairs(
    units: int, one: Table, other: Table, read: Callable[..., str]
) -> Counter[tuple[str, str]]:
    """How many units have which pair of answers."""
    return Counter(
        (read(assign(one, f"user-{n}", "r")), read(assign(other, f"user-{n}", "r")))
        for n in range(units)
    )


def p_value(found: Counter[tuple[str, str]], words: tuple[str, str]) -> float:
    """Of independence, in a table of two by two."""
    table = [[found[first, second] for second in words] for first in words]
    return float(chi2_contingency(table, correction=False).pvalue)


def main() -> None:
    """Count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=1_000_000)
    units = parser.parse_args().units
    heading(f"ramps and layers, {units:,} units")
    left, shares = ramp(units)
    for share_bp, reached in zip(RAMP_BP, shares, strict=True):
        line(f"candidate's share at {share_bp / 100:g} %", reached, "%")
    line("units that left the candidate", left, "units")

    one = table_of("one", 5_000, "shop", (0, 3_000))
    other = table_of("two", 5_000, "shop", (3_000, 9_000))
    shared = pairs(units, one, other, lambda answer: answer.reason)
    line("one layer: in the first of two experiments", shared["SPLIT", "EXCLUDED"], "units")
    line("in the second", shared["EXCLUDED", "SPLIT"], "units")
    line("in both", shared["SPLIT", "SPLIT"], "units")

    apart = table_of("three", 5_000, "search", (0, 5_000))
    taking = p_value(pairs(units, one, apart, lambda answer: answer.reason), ("SPLIT", "EXCLUDED"))
    whole = table_of("one", 5_000), table_of("three", 5_000)
    drawn = p_value(
        pairs(units, *whole, lambda answer: answer.variant), ("champion", "challenger")
    )
    line("two layers: taking part is independent", taking, "p-value")
    line("two experiments: variants are independent", drawn, "p-value")
    exit_by([
        left == 0, shared["SPLIT", "SPLIT"] == 0, min(taking, drawn) >= P_VALUE_MIN,
    ])  # fmt: skip


if __name__ == "__main__":
    main()
