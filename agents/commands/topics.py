"""`tidegate topics plan|apply|check`."""

from __future__ import annotations

import json
from typing import Literal

from tidegate.agents.settings import Settings

Action = Literal["plan", "apply", "check"]
_NOTHING = {
    "plan": "The topics are as the table wants them: nothing to do.",
    "apply": "The topics are as the table wants them: nothing was done.",
    "check": "The topics are as agents need them.",
}


def run_topics(settings: Settings, action: Action, output: str) -> int:
    """Plan, apply or check; 0, or 1 when a check found faults.

    Raises:
        DefinitionError: the cluster refuses a change.
        Unreachable: no broker answers.
    """
    from tidegate.agents.topics import apply_topics, check_topics, plan_topics

    if action == "check":
        faults = check_topics(settings)
        rows = [{"topic": each.topic, "what": each.what, "remedy": each.remedy} for each in faults]
        _show(action, "faults", rows, [str(fault) for fault in faults], output)
        return 1 if faults else 0
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
    _show(action, "changes", changed, [str(change) for change in changes], output)
    return 0


def _show(action: Action, key: str, rows: object, lines: list[str], output: str) -> None:
    if output == "json":
        print(json.dumps({key: rows}, indent=2))
        return
    print("\n".join(lines) if lines else _NOTHING[action])
