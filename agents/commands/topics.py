"""`tidegate topics plan|apply|check`."""

from __future__ import annotations

from typing import Literal

from tidegate.agents.commands.options import EXIT_DONE, EXIT_NO, Output
from tidegate.agents.commands.printing import print_facts
from tidegate.agents.settings import Settings
from tidegate.infra.topics import Fault

Action = Literal["plan", "apply", "check"]
_NOTHING = {
    "plan": "The topics are as the table wants them: nothing to do.",
    "apply": "The topics are as the table wants them: nothing was done.",
    "check": "The topics are as agents need them.",
}


def run_topics(settings: Settings, action: Action, output: str) -> int:
    """Plan, apply or check; 0, or 1 when agents could not start: a check, or what apply left.

    Raises:
        DefinitionError: the cluster refuses a change.
        Unreachable: no broker answers.
    """
    from tidegate.agents.topics import apply_topics, check_topics, plan_topics

    if action == "check":
        faults = check_topics(settings)
        _show(action, {"faults": _rows(faults)}, [str(fault) for fault in faults], output)
        return EXIT_NO if faults else EXIT_DONE
    changes = plan_topics(settings) if action == "plan" else apply_topics(settings)
    changed: list[dict[str, object]] = [
        {
            "topic": each.wanted.name,
            "action": "create" if each.create else "change",
            "partitions": each.wanted.partitions,
            "settings": dict(each.settings),
        }
        for each in changes
    ]
    lines = [str(change) for change in changes]
    if action == "plan":
        _show(action, {"changes": changed}, lines, output)
        return EXIT_DONE
    left = check_topics(settings)
    lines += [f"not changed: {fault}" for fault in left]
    _show(action, {"changes": changed, "faults": _rows(left)}, lines, output)
    return EXIT_NO if left else EXIT_DONE


def _rows(faults: list[Fault]) -> list[dict[str, str]]:
    return [{"topic": each.topic, "what": each.what, "remedy": each.remedy} for each in faults]


def _show(action: Action, facts: dict[str, object], lines: list[str], output: str) -> None:
    print_facts(facts, Output(output), lambda _: lines or [_NOTHING[action]])
