"""Flag: which variant serves is set by a person, now, without a release.

It starts with the shares of the manifest, all to control when it gives none. Evidence is
gathered and guardrails act as anywhere; no evidence moves a weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tidegate.schemas.decimal_text import whole_number
from tidegate.schemas.errors import DefinitionError
from tidegate.schemas.manifest.steps import Flag
from tidegate.streams.strategies.base import ALL_BP, Move, Outlook, Shares, Standing, Strategy
from tidegate.streams.wording import basis_points


def start(
    settings: Flag, control: str, candidates: Sequence[str], winner: str, increment: int
) -> Shares:
    """The manifest's shares; what it does not give away stays with control."""
    weights = {name: settings.weights_bp.get(name, 0) for name in candidates}
    return Shares({control: ALL_BP - sum(weights.values()), **weights})


def decide(standing: Standing) -> Move | None:
    """Nothing: a person moves a flag."""
    return None


def outlook(standing: Standing) -> Outlook:
    """A flag waits for nothing."""
    return Outlook("set by hand", "someone sets it")


def set_weights(
    arguments: Mapping[str, str],
    weights: Mapping[str, int],
    control: str,
    candidates: Sequence[str],
) -> dict[str, int]:
    """Weights after `tidegate set`: what is not named stays, control takes the rest.

    `control=10000` alone is the kill switch: everything else goes to 0.

    Raises:
        DefinitionError: an unknown variant or one that is rolled back, a share that is no whole
            number of basis points, or a sum other than 10,000.

    >>> set_weights({"b": "2500"}, {"a": 10000}, "a", ["b"])
    {'a': 7500, 'b': 2500}
    """
    named: dict[str, int] = {}
    for name, text in arguments.items():
        if name != control and name not in candidates:
            known = ", ".join([control, *candidates])
            raise DefinitionError(f"{name} cannot be set; variants that can are {known}")
        share = whole_number(text, ALL_BP)
        if share is None:
            raise DefinitionError(f"{name}={text:.20} is no share in basis points, 0 to 10000")
        named[name] = share
    if not named:
        raise DefinitionError("no variant was named; write variant=50%")
    if named == {control: ALL_BP}:
        return {control: ALL_BP, **dict.fromkeys(candidates, 0)}
    chosen = {name: named.get(name, weights.get(name, 0)) for name in candidates}
    rest = ALL_BP - sum(chosen.values())
    chosen = {control: named.get(control, max(rest, 0)), **chosen}
    total = sum(chosen.values())
    if total != ALL_BP:
        raise DefinitionError(
            f"shares sum to {basis_points(total)}, not 100 %; name every share that changes"
        )
    return chosen


STRATEGY = Strategy("flag", Flag, True, start, decide, outlook)
