"""`tidegate events`: decisions as sentences, in order; and those that follow."""

from __future__ import annotations

import json
from itertools import islice

from tidegate.agents.commands.logs import (
    bounds,
    decisions_newest_first,
    event_in,
    experiment_partition,
    require_topics,
    table_of,
)
from tidegate.agents.commands.options import Output
from tidegate.agents.commands.printing import decision_facts, decision_line, print_facts
from tidegate.agents.kafka import Tail
from tidegate.agents.settings import Settings
from tidegate.schemas.events import Decision

_POLL_SECONDS = 0.5


def run_events(
    settings: Settings, name: str, follow: bool, last: int, output: Output
) -> int:
    """Print the last decisions of an experiment, oldest first; with `follow`, go on until stopped.

    While following, JSON is one object a line.

    Raises:
        DefinitionError: there is no such experiment.
    """
    require_topics(settings, "decisions", "routing")
    partition = experiment_partition(settings, name)
    end = bounds(settings, "decisions", partition)[1]
    found = list(islice(decisions_newest_first(settings, name), last))[::-1]
    if not found and not follow:
        table_of(settings, name)  # says which experiments there are
    if not follow:
        print_facts(
            [decision_facts(decision) for decision in found], output,
            lambda _: [decision_line(decision) for decision in found],
        )  # fmt: skip
        return 0
    for decision in found:
        _print(decision, output)
    _follow(settings, name, partition, end, {item.decision_id for item in found}, output)
    return 0


def _follow(
    settings: Settings, name: str, partition: int, end: int, seen: set[str], output: Output
) -> None:
    with Tail(settings, ["decisions"], {("decisions", partition): end}) as tail:
        while True:
            for record in tail.poll(_POLL_SECONDS):
                decision = event_in(Decision, record)
                if decision is None or decision.experiment != name:
                    continue
                if decision.decision_id not in seen:
                    seen.add(decision.decision_id)
                    _print(decision, output)


def _print(decision: Decision, output: Output) -> None:
    line = decision_line(decision)
    if output is not Output.table:
        line = json.dumps(decision_facts(decision), ensure_ascii=False)
    print(line, flush=True)
