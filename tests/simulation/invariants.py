"""What must hold, by name; the sentences are those of `docs/simulation.md`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

INVARIANTS: Final[Mapping[str, str]] = {
    "I1": "each request, metric and outcome id contributes at most once to a generation",
    "I2": "the joined set is what the oracle says: nothing lost, nothing invented",
    "I3": "outputs do not depend on how the logs were fetched",
    "I4": "a worker puts out each record once, in order, nothing from before its checkpoint",
    "I5": "weights are whole basis points of known variants, at least 0, sum 10,000",
    "I6": "a rolled-back variant has weight 0 for the rest of its generation",
    "I7": "the set of rolled-back variants only grows, until a new generation",
    "I8": "no rollback without a cause: an order of its generation, a failed guardrail, a breaker",
    "I9": "versions are dense, (epoch, version) only rises, one content per pair",
    "I10": "an epoch rises by a recorded gap alone, and nobody goes back behind it",
    "I11": "generations rise one by one, by APPLY and RETRY alone, and statistics never mix them",
    "I12": "every order is answered by exactly one decision",
    "I13": "nothing is NaN, infinite or a negative count",
    "I14": "input = counted + duplicate + conflict + late + orphan + expired + dead + pending",
    "I15": "state after crashes and recovery is bit-identical to state without",
    "I16": "replay from the beginning and from checkpoints gives the recorded records",
    "I17": "a service never serves a variant at 0 or an unknown one; when deaf, only control",
    "I18": "what a service obeys is one decided table with all rollbacks heard, never a mixture",
    "I19": "memory stays below its caps, and nothing is evicted below them",
    "I20": "after healing everything is read and all services agree within bounded steps",
    "I21": "a decision covers what it rests on: existing offsets, its own order included",
    "I22": "every decision names the digest of the one before",
    "I23": "logged propensities are the shares that were drawn with",
    "I24": "a step that asks for approval is passed by people alone, enough of them, in its roles",
    "I25": "no order is carried out that had expired or was meant for another generation",
    "I26": "shares stay within their step: a canary's cap, a bandit's floor and largest change",
    "raised": "nothing raises what it should not",
}
"""Every invariant and its sentence."""


class Violation(AssertionError):
    """An invariant does not hold."""

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(f"{name} ({INVARIANTS[name]}): {detail}")
        self.name = name
        self.detail = detail


def hold(name: str, is_so: bool, *details: object) -> None:
    """Raises unless `is_so`; `details` say what was found."""
    if not is_so:
        raise Violation(name, " ".join(f"{item!s:.400}" for item in details))
