"""The real audit over what a schedule left behind: no difference, and one where one was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tests.simulation.invariants import hold
from tests.simulation.logs import Entry
from tests.simulation.workers import ENGINE, Role
from tests.simulation.world import World
from tidegate.schemas import codec
from tidegate.schemas.events import Decision
from tidegate.streams.output import Output
from tidegate.streams.verification.decisions import DecisionAudit
from tidegate.streams.verification.findings import Difference
from tidegate.streams.verification.observations import ObservationAudit

WRITTEN = ("decisions", "routing", "commands", "control")


def check_audit(world: World, derived: Mapping[Role, Sequence[Output]]) -> None:
    """I16, as `tidegate verify` sees it; then a record is changed, and it must say so."""
    for role, outputs in derived.items():
        if role.name == "decider":
            found = _decisions(world, outputs, -1)
            hold("I16", not found, "verify:", found[:1])
            decided = [entry for entry in world.cluster.logs["decisions", 0].entries if entry.value]
            if decided:
                changed = world.config.seed % len(decided)
                found = _decisions(world, outputs, changed)
                hold("I22", bool(found), "verify does not see a changed decision", changed)
    joiners = {role: outputs for role, outputs in derived.items() if role.name == "joiner"}
    if joiners:
        found = _observations(world, joiners)
        hold("I16", not found, "verify:", found[:1])


def _decisions(world: World, outputs: Sequence[Output], changed: int) -> list[Difference]:
    audit = DecisionAudit(0, ENGINE)
    for topic in WRITTEN:
        values = [entry for entry in world.cluster.logs[topic, 0].entries if entry.value]
        for offset, entry in enumerate(values):
            tampered = topic == "decisions" and offset == changed
            audit.recorded(topic, _other_reason(entry) if tampered else entry.value, offset)
    for output in outputs:
        audit.derived(output.topic, output.value)
    audit.finish()
    return [item for tally in audit.tallies.values() for item in tally.differences]


def _other_reason(entry: Entry) -> bytes:
    """The record with other prose."""
    decision = codec.decode_as(Decision, entry.value)
    return codec.encode(replace(decision, reason=decision.reason + "."))


def _observations(
    world: World, derived: Mapping[Role, Sequence[Output]]
) -> list[Difference]:
    audit = ObservationAudit(ENGINE)
    for offset, entry in enumerate(world.cluster.logs["observations", 0].entries):
        if entry.value is not None:
            audit.recorded(entry.value, offset)
    for role, outputs in derived.items():
        for output in outputs:
            if output.topic == "observations" and output.value is not None:
                audit.derived(role.partition, output.partition, output.value)
        audit.finish(role.partition)
    return audit.tally.differences
