"""`tidegate apply`: what differs from what runs, then start or change the experiment."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tidegate.agents.commands.layers import declare_layer, with_slots
from tidegate.agents.commands.lint import load, read_file
from tidegate.agents.commands.logs import (
    decisions_newest_first,
    event_in,
    experiment_partition,
    first_match,
    require_topics,
)
from tidegate.agents.commands.options import Output
from tidegate.agents.commands.orders import give_order, new_order
from tidegate.agents.commands.printing import decision_facts, decision_line, print_facts
from tidegate.agents.commands.schedules import with_utc
from tidegate.agents.kafka import read_topic
from tidegate.agents.settings import Settings
from tidegate.schemas.errors import DefinitionError
from tidegate.schemas.events import Control, Decision
from tidegate.schemas.manifest import ExperimentSpec
from tidegate.schemas.manifest.layer_reading import is_layer


def run_apply(
    settings: Settings, file: Path, dry_run: bool, restart: bool, reason: str, actor: str,
    role: str, seconds: float, output: Output,
) -> int:
    """Apply a manifest and wait for the decider's answer.

    Raises:
        DefinitionError: the manifest has faults; nothing was sent.
        Refused: the decider refuses it.
        TimeRanOut: the decider did not answer.
    """
    text = read_file(file)
    if is_layer(text):
        words = (dry_run, reason, actor, role, seconds, output)
        return declare_layer(settings, file, text, *words)
    manifest = load(file)
    require_topics(settings, "control", "decisions")
    before = running_spec(settings, manifest.name)
    spec = with_utc(manifest.spec, before, time.time_ns() // 1_000_000)
    spec = with_slots(settings, manifest.name, spec, actor, role, seconds, dry_run)
    changes = differences(before, spec)
    facts: dict[str, Any] = {
        "experiment": manifest.name, "new": before is None, "changes": changes,
        "digest": spec.digest(), "decision": None,
    }  # fmt: skip
    if dry_run:
        nothing = ["Nothing was changed: this was a dry run."] if changes else []
        print_facts(facts, output, lambda facts: [*_say(facts, spec), *nothing])
        return 0
    if output is Output.table:
        for line in _say(facts, spec):
            print(line)
    order = new_order(
        manifest.name, "APPLY", actor, reason,
        {
            **({"restart": "true"} if restart else {}),
            **({"owner": manifest.owner} if manifest.owner else {}),
        },
        spec=spec.to_json(), parent=None if before is None else before.digest(),
        role=role,
    )  # fmt: skip
    decision = give_order(settings, order, seconds)
    facts["decision"] = decision_facts(decision)
    print_facts(facts, output, lambda _: [decision_line(decision)])
    return 0


def running_spec(settings: Settings, experiment: str) -> ExperimentSpec | None:
    """The spec in force: that of the last APPLY which was not refused; None when there is none.

    The decision says which control record it had just read, so one record is fetched.

    Raises:
        DefinitionError: the record is not in the log any longer.
    """
    applied = first_match(
        decisions_newest_first(settings, experiment),
        lambda decision: decision.action == "APPLY" and decision.control_id is not None,
    )
    if applied is None:
        return None
    order = _order_behind(settings, applied)
    if order is None or order.spec is None:
        raise DefinitionError(
            f"The manifest in force for {experiment} (version {applied.version}) is not in"
            f" {settings.topic('control')} any longer, so the change cannot be told from what"
            " runs. Keep control as long as experiments run (tidegate topics check)."
        )
    return ExperimentSpec.accepted(order.spec)


def _order_behind(settings: Settings, decision: Decision) -> Control | None:
    partition = experiment_partition(settings, decision.experiment)
    offset = decision.covers.get("control", 0) - 1
    for record in read_topic(
        settings, "control", [partition], {partition: offset}, {partition: offset + 1}
    ):
        order = event_in(Control, record)
        if order is not None and order.control_id == decision.control_id:
            return order
    return None


def differences(before: ExperimentSpec | None, after: ExperimentSpec) -> list[dict[str, Any]]:
    """What changes, by place in the spec: `{"place", "before", "after"}`, None where absent."""
    old = {} if before is None else flattened(json.loads(before.to_json()))
    new = flattened(json.loads(after.to_json()))
    return [
        {"place": place, "before": old.get(place), "after": new.get(place)}
        for place in sorted({*old, *new})
        if old.get(place) != new.get(place)
    ]


def flattened(value: Any, place: str = "") -> dict[str, Any]:
    """Scalars by their place.

    >>> flattened({"a": [1, {"b": 2}]})
    {'a[0]': 1, 'a[1].b': 2}
    """
    if isinstance(value, dict):
        parts = [(f"{place}.{key}" if place else key, item) for key, item in value.items()]
    elif isinstance(value, list):
        parts = [(f"{place}[{number}]", item) for number, item in enumerate(value)]
    else:
        return {place: value}
    return {inner: leaf for key, item in parts for inner, leaf in flattened(item, key).items()}


def _say(facts: dict[str, Any], spec: ExperimentSpec) -> list[str]:
    name = facts["experiment"]
    if facts["new"]:
        return [f"{name}: new", *_summary(spec)]
    if not facts["changes"]:
        return [f"{name}: nothing differs from what runs"]
    lines = [f"{name}: differs from what runs"]
    for change in facts["changes"]:
        if change["before"] is not None:
            lines.append(f"  - {change['place']}: {change['before']}")
        if change["after"] is not None:
            lines.append(f"  + {change['place']}: {change['after']}")
    return lines


def _summary(spec: ExperimentSpec) -> Iterator[str]:
    """What begins with a new experiment, one thing a line."""
    for name in (spec.control, *spec.candidates):
        variant = spec.variants[name]
        role = "control" if name == spec.control else "candidate"
        yield f"  {role:11} {name}: {variant.model} {variant.version}"
    guards = [f"{item.metric} ({item.on_breach})" for item in spec.guardrails]
    release = [step.strategy for step in spec.release]
    yield f"  release     {', '.join(release) or 'a flag, moved by people'}"
    if spec.objective is not None:
        yield f"  objective   {spec.objective}"
    yield f"  guardrails  {', '.join(guards) or 'none'}"
