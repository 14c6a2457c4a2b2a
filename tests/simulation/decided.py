"""Invariants of decisions, tables and what services make of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tests.simulation.approved import check_approvals
from tests.simulation.bounded import check_bounds
from tests.simulation.invariants import hold
from tests.simulation.joined import batch_of
from tests.simulation.people import EXPERIMENT
from tests.simulation.world import DECIDED, World
from tidegate.schemas import codec
from tidegate.schemas.canonical import sha256_hex
from tidegate.schemas.errors import EventError
from tidegate.schemas.events import Control, Decision, Routing
from tidegate.schemas.facts import ObservationBatch
from tidegate.schemas.marks import Marker
from tidegate.streams.deciding.decider import Decider
from tidegate.streams.folding import PartitionFold
from tidegate.streams.output import Output

ALL_BP = 10_000
_OPENING = ("APPLY", "RETRY")


def check_decided(world: World, fold: PartitionFold, outputs: list[Output]) -> None:
    """All of one partition of experiments, from the fold that never crashed."""
    handler = fold.handler
    assert isinstance(handler, Decider)
    hold("I13", all(count >= 0 for count in handler.counters().values()), handler.counters())
    values = [item.value for item in outputs if item.topic == "decisions" and item.value]
    found = [(value, codec.decode_as(Decision, value)) for value in values]
    orders = _orders(world)
    chain = [pair for pair in found if pair[1].experiment == EXPERIMENT]
    _check_chain(world, chain, orders)
    answered = [
        (decision, orders[decision.control_id][2] if decision.control_id is not None else None)
        for _, decision in chain
        if decision.version > 0
    ]
    check_approvals(world, answered)
    check_bounds(answered)
    _check_answers([decision for _, decision in found], orders)
    _check_tables(world, outputs)
    for _, decision in found:
        world.seen[f"action: {decision.action}"] += 1
        world.seen[f"phase: {decision.phase}"] += 1
    state = handler.experiments.get(EXPERIMENT)
    if state is not None:
        _check_statistics(world, handler)
    for name, count in handler.counters().items():
        world.seen[f"decider: {name}"] += count


Orders = Mapping[str, tuple[int, int, Control]]
"""The first record of each order: offset, Kafka timestamp, order."""


def _orders(world: World) -> Orders:
    found: dict[str, tuple[int, int, Control]] = {}
    for offset, entry in enumerate(world.cluster.logs["control", 0].entries):
        if entry.mark is not None:
            continue
        try:
            order = codec.decode_as(Control, entry.value)
        except EventError:
            continue
        found.setdefault(order.control_id, (offset, entry.timestamp_ms, order))
    return found


def _check_chain(
    world: World,
    found: Sequence[tuple[bytes, Decision]],
    orders: Orders,
) -> None:
    """I5 to I11, I21 and I22, decision by decision."""
    chained = [pair for pair in found if pair[1].version > 0]
    before: Decision | None = None
    digest, rolled_back = "", set[str]()
    ends = {topic: len(world.cluster.logs[topic, 0].entries) for topic in DECIDED}
    for number, (value, decision) in enumerate(chained, start=1):
        told = (decision.decision_id, decision.action, decision.reason)
        hold("I9", decision.version == number, *told)
        hold("I22", decision.previous == digest, *told)
        digest = sha256_hex(value)
        weights = decision.weights
        sound = all(type(share) is int and share >= 0 for share in weights.values())
        hold("I5", sound and sum(weights.values()) == ALL_BP, *told, weights)
        if decision.control_id is not None and decision.action != "REFUSED":
            _check_meant(decision, 0 if before is None else before.generation, orders)
        if before is not None:
            gap = decision.reason.startswith("gap accepted")
            hold("I10", decision.epoch == before.epoch + gap, *told)
            opens = decision.generation - before.generation
            hold("I11", opens in (0, 1) and (not opens or decision.action in _OPENING), *told)
            risen = all(decision.covers[name] >= count for name, count in before.covers.items())
            hold("I21", risen, *told, decision.covers)
            rolled_back = set() if opens else rolled_back
        evidence = json.loads(decision.evidence)
        now = set(evidence["rolled_back"])
        hold("I7", now >= rolled_back, *told, now, rolled_back)
        for variant in sorted(now - rolled_back):
            _check_cause(decision, variant, evidence, orders)
        rolled_back = now
        hold("I6", not any(weights.get(variant) for variant in now), *told, weights, now)
        if decision.action == "ROLLBACK" and decision.variant:
            hold("I6", decision.variant in now, *told, now)
        hold("I21", all(decision.covers[name] <= end for name, end in ends.items()), *told)
        before = decision


def _check_cause(
    decision: Decision,
    variant: str,
    evidence: Mapping[str, Any],
    orders: Orders,
) -> None:
    """I8: who or what asked for it."""
    told = (decision.decision_id, decision.reason, variant)
    hold("I8", decision.action == "ROLLBACK" and decision.variant == variant, *told)
    if decision.control_id is None and "breaker" in evidence:
        hold("I8", evidence["breaker"]["candidate"] == variant, *told, evidence["breaker"])
        return
    if decision.control_id is None:
        breach = evidence.get("breach", {})
        failed = breach.get("verdict") == "FAIL" and breach.get("candidate") == variant
        hold("I8", failed and breach["n"] >= breach["min_samples"], *told, breach)
        beyond = breach["lower"] is not None and breach["lower"] > breach["limit"]
        hold("I8", beyond, *told, breach)
        return
    _, stamped_ms, order = orders[decision.control_id]
    hold("I8", order.action == "ROLLBACK", *told, order)
    hold("I8", order.generation in (0, decision.generation), *told, order)
    arrived_ms = stamped_ms if order.generation else decision.decided_at
    in_time = not order.expires_at or arrived_ms <= order.expires_at
    hold("I8", in_time and order.arguments.get("variant", variant) == variant, *told, order)


def _check_meant(decision: Decision, generation: int, orders: Orders) -> None:
    """I25: by log time, or by its own time where services obey the record itself."""
    assert decision.control_id is not None
    _, stamped_ms, order = orders[decision.control_id]
    hold("I25", order.generation in (0, generation), decision.decision_id, generation, order)
    is_obeyed = order.action == "ROLLBACK" and order.generation == generation
    arrived_ms = stamped_ms if is_obeyed else decision.decided_at
    in_time = not order.expires_at or arrived_ms <= order.expires_at
    hold("I25", in_time, decision.decision_id, arrived_ms, order)


def _check_answers(
    decisions: Sequence[Decision], orders: Orders
) -> None:
    """I12, and that the answer covers the order."""
    answers = Counter(it.control_id for it in decisions if it.control_id is not None)
    for control_id, (_, _, order) in orders.items():
        wanted = 0 if order.role == "decider" else 1
        hold("I12", answers[control_id] == wanted, answers[control_id], "answers to", order)
    for decision in decisions:
        if decision.control_id is not None:
            hold("I12", decision.control_id in orders, decision)
            offset, _, _ = orders[decision.control_id]
            covers = decision.covers["control"]
            hold("I21", covers == offset + 1, decision.decision_id, covers, offset)


def _check_tables(world: World, outputs: Sequence[Output]) -> None:
    """I9 and I20: tables rise, the last two stay, and services obey the last."""
    tables = [
        codec.decode_as(Routing, item.value)
        for item in outputs
        if item.topic == "routing" and item.value is not None
    ]
    keys = [(table.epoch, table.version) for table in tables]
    hold("I9", keys == sorted(set(keys)), keys)
    # A zombie's older copy may come last in the log, never under the name of a newer one.
    kept = [entry for entry in world.cluster.newest(("routing", 0)) if entry.value is not None]
    names = {codec.decode_as(Routing, entry.value).version for entry in kept}
    hold("I9", {table.version for table in tables[-2:]} <= names, names, keys[-2:])
    if not tables:
        return
    last = tables[-1]
    for service in world.services:
        item = service.tables.in_force.get(EXPERIMENT)
        hold("I20", item is not None and item.table is not None, service.name, "has no table")
        assert item is not None
        key = (item.epoch, item.version, item.generation)
        wanted = (last.epoch, last.version, last.generation)
        hold("I20", key == wanted, service.name, key, "instead of", wanted)
        known = {variant.name for variant in last.variants}
        withheld = tuple(name for name in item.rolled_back if name in known)
        hold("I20", withheld == last.rolled_back, service.name, "withholds", withheld,
             "decided:", last.rolled_back)  # fmt: skip


def _check_statistics(world: World, handler: Decider) -> None:
    """I1 and I11 of the decider: each batch counts once, for its own generation."""
    state = handler.experiments[EXPERIMENT]
    exposures, learnt, closed = Counter[str](), Counter[str](), Counter[str]()
    for batch in _taken(world):
        for number, context in enumerate(batch.contexts):
            ours = (context.experiment, context.generation) == (EXPERIMENT, state.generation)
            if not ours:
                continue
            seen = int((batch.tables["exposure"]["context"] == number).sum())
            exposures[context.variant] += seen
            learnt[context.variant] += seen if context.reason == "SPLIT" else 0
            closed[context.variant] += int((batch.tables["closed"]["context"] == number).sum())
    for variant, tally in state.ledger.tallies.items():
        found = (tally.exposures, tally.learnt, tally.closed)
        wanted = (exposures[variant], learnt[variant], closed[variant])
        world.seen["statistics compared"] += 1
        name = "I11" if state.generation > 1 else "I1"
        # A variant that an amended manifest brought in counts from there on.
        if state.spec.variants.keys() >= exposures.keys():
            hold(name, found == wanted, variant, found, "instead of", wanted)


def _taken(world: World) -> list[ObservationBatch]:
    """Batches as a decider must take them: each number once, in order, behind accepted gaps."""
    expected = [0] * world.config.partitions
    taken = []
    for entry in world.cluster.logs["observations", 0].entries:
        if isinstance(entry.mark, Marker):
            source = int(entry.mark.arguments.get("source_partition", "-1"))
            if entry.mark.kind == "gap":
                sequence = int(entry.mark.arguments["sequence"])
                expected[source] = max(expected[source], sequence)
        elif entry.value is not None:
            try:
                batch = batch_of(entry.value)
            except EventError:
                continue
            if batch.sequence == expected[batch.source_partition]:
                expected[batch.source_partition] += 1
                taken.append(batch)
    return taken

