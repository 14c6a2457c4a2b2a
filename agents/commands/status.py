"""`tidegate status`: waits for the end of the running step or the release; tells by exit code."""

from __future__ import annotations

import time

from tidegate.agents.commands.logs import (
    decisions_newest_first,
    event_in,
    first_match,
    require_experiment,
    require_topics,
)
from tidegate.agents.commands.options import EXIT_DONE, EXIT_NO, Output, TimeRanOut
from tidegate.agents.commands.printing import decision_facts, decision_line, print_facts
from tidegate.agents.kafka import Tail
from tidegate.agents.settings import Settings
from tidegate.schemas.errors import DefinitionError
from tidegate.schemas.events import Decision

_LOST = frozenset({"ROLLED_BACK", "ABORTED"})
_WON = frozenset({"PROMOTED", "COMPLETED"})


def run_status(
    settings: Settings, name: str, only_step: bool, seconds: float, output: Output
) -> int:
    """Wait, and print the decision that ended it; 1 when it ended badly or needs a person.

    Raises:
        DefinitionError: there is no such experiment, or it is a flag, which does not end.
        TimeRanOut: it has not ended in time.
        Unreachable: no broker answers.
    """
    require_topics(settings, "decisions")
    require_experiment(settings, name)
    with Tail(settings, ["decisions"]) as tail:
        # What was refused may tell of no experiment at all, and changed nothing in any case.
        last = first_match(
            decisions_newest_first(settings, name), lambda found: found.action != "REFUSED"
        ) or next(decisions_newest_first(settings, name))
        step, deadline = last.step, time.monotonic() + seconds
        is_moving = last.action != "REFUSED" and outcome_of(last, None) is None
        if step < 0 and is_moving:
            raise DefinitionError(
                f"{name} is a flag, and a flag has no end: a person moves it. Look at it with"
                f" `tidegate get {name}`, or follow it with `tidegate watch {name}`."
            )
        while (code := outcome_of(last, step if only_step else None)) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeRanOut(_still(last, only_step, seconds))
            for record in tail.poll(min(left, 1.0)):
                decision = event_in(Decision, record)
                if decision is None or decision.experiment != name:
                    continue
                is_newer = (decision.epoch, decision.version) > (last.epoch, last.version)
                if is_newer and decision.action != "REFUSED":
                    last = decision
                    if outcome_of(last, step if only_step else None) is not None:
                        break
    print_facts(decision_facts(last), output, lambda _: [decision_line(last)])
    return code


def outcome_of(last: Decision, waited_step: int | None) -> int | None:
    """The exit code that a decision stands for; None while the step, or the release, goes on.

    A release that its evidence has paused needs a person, so waiting on would be for nothing; one
    that pauses because its manifest or a person says so goes on by itself or by them.
    """
    if last.phase in _LOST:
        return EXIT_NO
    if last.phase in _WON:
        is_control = last.action == "FINISH" and last.verdict in ("FAIL", "INCONCLUSIVE", "NO_DATA")
        return EXIT_NO if is_control else EXIT_DONE
    if last.phase == "PAUSED" and last.action == "PAUSE" and last.verdict:
        return EXIT_NO
    if waited_step is not None and last.step != waited_step:
        return EXIT_DONE if last.step > waited_step else EXIT_NO
    return None


def _still(last: Decision, only_step: bool, seconds: float) -> str:
    what = f"Step {last.step + 1}" if only_step else "The release"
    return (
        f"{what} of {last.experiment} has not ended within {seconds:.0f} s: it is {last.phase}."
        f" Its last decision: {last.reason}. Look at `tidegate get {last.experiment}`, or wait"
        " longer with --timeout."
    )
