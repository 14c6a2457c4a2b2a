"""`set`, `promote`, `pause`, …, `retry`, `approve`: a person's order, and what answers it."""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.agents.commands.logs import (
    decisions_newest_first,
    require_experiment,
    require_topics,
)
from tidegate.agents.commands.options import Output
from tidegate.agents.commands.orders import give_order, new_order
from tidegate.agents.commands.printing import decision_facts, decision_line, print_facts
from tidegate.agents.settings import Settings
from tidegate.schemas.errors import DefinitionError
from tidegate.schemas.manifest.notation import parse_share_bp


def run_order(
    settings: Settings, name: str, action: str, arguments: dict[str, str], reason: str,
    actor: str, role: str, seconds: float, output: Output, generation: int = 0,
) -> int:
    """Give an order and print the decision.

    Raises:
        Refused: the decider refuses; the message is its reason.
        TimeRanOut: it did not answer.
    """
    order = new_order(
        name, action, actor, reason, arguments, generation=generation, role=role
    )
    decision = give_order(settings, order, seconds)
    print_facts(decision_facts(decision), output, lambda _: [decision_line(decision)])
    return 0


def run_approve(
    settings: Settings, name: str, reason: str, actor: str, role: str, seconds: float,
    output: Output,
) -> int:
    """Approve the step that runs now, of the generation that runs now.

    Raises:
        DefinitionError: there is no such experiment.
        Refused: the decider refuses; the message is its reason.
        TimeRanOut: it did not answer.
    """
    require_topics(settings, "control", "decisions")
    require_experiment(settings, name)
    last = next(decisions_newest_first(settings, name))
    arguments = {"step": str(last.step)}
    return run_order(
        settings, name, "APPROVE", arguments, reason, actor, role, seconds, output,
        generation=last.generation,
    )  # fmt: skip


def shares(words: Sequence[str]) -> dict[str, str]:
    """`variant=50%` words as the arguments of SET, in basis points.

    Raises:
        DefinitionError: a word is not like that.

    >>> shares(["on=12.5%"])
    {'on': '1250'}
    """
    found: dict[str, str] = {}
    for word in words:
        variant, sign, share = word.partition("=")
        if not sign or not variant or variant in found:
            raise DefinitionError(
                f"{word} does not say a share, so nothing was changed. Write each variant once, as"
                " NAME=50%."
            )
        try:
            found[variant] = str(parse_share_bp(share))
        except ValueError as error:
            raise DefinitionError(f"{word}: {error}. Nothing was changed.") from error
    return found
