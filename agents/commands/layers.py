"""Layers: declared by a manifest, allotted by `apply`, listed and released by people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tidegate.agents.commands.logs import (
    decisions_newest_first,
    decoded,
    require_topics,
    tables,
)
from tidegate.agents.commands.options import Output, Refused
from tidegate.agents.commands.orders import give_order, new_order
from tidegate.agents.commands.printing import (
    decision_facts,
    decision_line,
    print_facts,
    table_lines,
)
from tidegate.agents.kafka import read_topic
from tidegate.agents.settings import Settings
from tidegate.schemas.errors import DefinitionError
from tidegate.schemas.events import Decision, Routing
from tidegate.schemas.manifest import ExperimentSpec
from tidegate.schemas.manifest.layer_reading import read_layer
from tidegate.streams.assignment import BUCKETS
from tidegate.streams.deciding.layers import PHASE
from tidegate.streams.rollout import ENDED
from tidegate.streams.routing import weights_of
from tidegate.streams.rules import read_rules


def declare_layer(
    settings: Settings, file: Path, text: str, dry_run: bool, reason: str, actor: str, role: str,
    seconds: float, output: Output,
) -> int:
    """Declare the layer of a manifest.

    Raises:
        DefinitionError: the manifest has faults; nothing was sent.
        Refused: the decider refuses it.
    """
    layer = read_layer(text, str(file))
    require_topics(settings, "control", "decisions")
    facts: dict[str, Any] = {"layer": layer.name, "salt": layer.salt, "decision": None}
    if dry_run:
        print_facts(facts, output, lambda _: [f"{layer.name}: a layer, salt {layer.salt}"])
        return 0
    order = new_order(layer.name, "LAYER", actor, reason, {"salt": layer.salt}, role=role)
    decision = give_order(settings, order, seconds)
    facts["decision"] = decision_facts(decision)
    print_facts(facts, output, lambda _: [decision_line(decision)])
    return 0


def with_slots(
    settings: Settings, name: str, spec: ExperimentSpec, actor: str, role: str, seconds: float,
    dry_run: bool,
) -> ExperimentSpec:
    """The spec with the slots that its layer has allotted, asked for when they are not yet.

    In a dry run nothing is asked for: slots that are not allotted are left out.

    Raises:
        DefinitionError: there is no such layer.
        Refused: too little of the layer is free, or somebody else was quicker.
    """
    if spec.layer is None:
        return spec
    allotted = _allotment(settings, spec.layer.name)
    slots = allotted["slots"].get(name, [])
    if sum(end - start for start, end in slots) != spec.layer.share_bp and not dry_run:
        order = new_order(
            spec.layer.name, "ALLOT", actor, f"for {name}",
            {"experiment": name, "share_bp": str(spec.layer.share_bp)},
            parent=allotted["digest"], role=role,
        )  # fmt: skip
        allotted = json.loads(give_order(settings, order, seconds).evidence)
        slots = allotted["slots"][name]
    share = spec.layer.model_copy(
        update={
            "salt": allotted["salt"],
            "slots": tuple((start, end) for start, end in slots),
        }
    )
    return spec.model_copy(update={"layer": share})


def run_release(
    settings: Settings, layer: str, experiment: str, reason: str, actor: str, role: str,
    seconds: float, output: Output,
) -> int:
    """Give the slots of an experiment back to its layer.

    Raises:
        Refused: the experiment still runs in them, or has none.
    """
    allotted = _allotment(settings, layer)
    last, table = next(decisions_newest_first(settings, experiment), None), None
    if last is not None:
        table = tables(settings).get(experiment)
    if last is not None and table is not None and _serves(table, layer, last.phase):
        end = "rollback" if last.phase in ENDED else "abort"
        raise Refused(
            f"{experiment} is {last.phase} and serves in its slots of {layer}. End it first"
            f" (`tidegate {end} {experiment}`), or apply it without the layer."
        )
    order = new_order(
        layer, "RELEASE", actor, reason, {"experiment": experiment}, parent=allotted["digest"],
        role=role,
    )  # fmt: skip
    decision = give_order(settings, order, seconds)
    print_facts(decision_facts(decision), output, lambda _: [decision_line(decision)])
    return 0


def _serves(table: Routing, layer: str, phase: str) -> bool:
    """Whether units of the layer get candidates: also after the end, of what won."""
    found = read_rules(table.rules or "{}").layer
    if found is None or found.name != layer:
        return False
    return phase not in ENDED or weights_of(table)[table.control] < BUCKETS


def run_list(settings: Settings, output: Output) -> int:
    """What each layer has allotted."""
    require_topics(settings, "decisions")
    newest: dict[str, Decision] = {}
    records = (record for record in read_topic(settings, "decisions") if record.value is not None)
    for decision in decoded(Decision, records):
        if decision.phase == PHASE and (
            decision.experiment not in newest
            or decision.version > newest[decision.experiment].version
        ):
            newest[decision.experiment] = decision
    facts = [
        {"layer": name, **json.loads(each.evidence)}
        for name, each in sorted(newest.items())
    ]
    print_facts(facts, output, _lines)
    return 0


def _lines(facts: list[dict[str, Any]]) -> list[str]:
    rows = [
        {
            "layer": each["layer"],
            "experiment": name,
            "share": f"{share / 100:g} %",
            "slots": ", ".join(f"{start}-{end}" for start, end in each["slots"].get(name, [])),
        }
        for each in facts
        for name, share in {
            **each["shares"], "(free)": 10_000 - sum(each["shares"].values())
        }.items()
    ]
    headings = {"layer": "LAYER", "experiment": "EXPERIMENT", "share": "SHARE", "slots": "SLOTS"}
    return table_lines(rows, headings) if rows else ["no layer was declared"]


def _allotment(settings: Settings, layer: str) -> dict[str, Any]:
    """What a layer has allotted: `salt`, `slots` by experiment, `digest`."""
    newest = next(
        (each for each in decisions_newest_first(settings, layer) if each.phase == PHASE), None
    )
    if newest is None:
        raise DefinitionError(
            f"No layer {layer} has been declared on this broker (prefix {settings.prefix}). Apply"
            " its manifest first: kind: Layer, metadata: {name: …}."
        )
    found: dict[str, Any] = json.loads(newest.evidence)
    return found
