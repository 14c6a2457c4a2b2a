"""The decider: control, applied and observations of one partition fold into decisions.

People's orders and guardrail breaches act at once. Promotion, holds, bandit updates and "no data"
count watermarked time only: while a joiner is down or catching up, releases wait.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from tidegate.schemas import codec
from tidegate.schemas.canonical import canonical_json
from tidegate.schemas.errors import EventError
from tidegate.schemas.events import Applied, Control
from tidegate.schemas.facts import ObservationBatch
from tidegate.schemas.marks import Marker
from tidegate.schemas.topics import merged_topics
from tidegate.streams.deciding import (
    alarms,
    experiment_json,
    guarding,
    judging,
    orders,
    scheduling,
    view,
)
from tidegate.streams.deciding import experiment as experiments
from tidegate.streams.deciding.amendment import start
from tidegate.streams.deciding.clients import Clients
from tidegate.streams.deciding.counting import learn, variant_counters
from tidegate.streams.deciding.deployment import MOVES_MAX
from tidegate.streams.deciding.experiment import ExperimentState, Unconfirmed
from tidegate.streams.deciding.fleet import Fleet
from tidegate.streams.deciding.layer_book import LayerBook
from tidegate.streams.deciding.memory import SeenIds
from tidegate.streams.deciding.placement import batch_in, check_placement
from tidegate.streams.deciding.proposals import Action, Proposal
from tidegate.streams.deciding.records import Journal, Moment
from tidegate.streams.deciding.sequences import Reading, Sequences
from tidegate.streams.merge import Run
from tidegate.streams.output import Emit

CONTROL, APPLIED, OBSERVATIONS = range(3)
TOPICS = tuple(topic.name for topic in merged_topics("decider"))

HEARTBEAT_MS = 1_000
STATUS_MS = 1_000
IDLE_STATUS_MS = 10_000
"""A view is published so often at least: readers look back no further than some minutes."""


class Decider:
    """The handler of one partition of control, applied and observations.

    `partitions` is the number of partitions of the input topics, `decision_partitions` that of
    the merged ones; `engine` stands in every decision.
    """

    def __init__(
        self, partition: int, partitions: int, decision_partitions: int, emit: Emit, engine: str,
        bindings: codec.Bindings | None = codec.NO_BINDINGS,
    ) -> None:
        self.partition = partition
        self.log_time_ms = 0
        self.experiments: dict[str, ExperimentState] = {}
        self.sequences = Sequences(partitions)
        self.clients = Clients()
        self.fleet = Fleet()
        self._decision_partitions = decision_partitions
        self._bindings = bindings
        self._journal = Journal(partition, engine, emit)
        self._layers = LayerBook(self._journal)
        self._seen = SeenIds()
        self._offsets = [0] * len(TOPICS)
        self._stamped_ms = 0  # Kafka timestamp of the order that is being taken
        self._heartbeat_ms = 0
        self._status_ms = 0
        self._counters: Counter[str] = Counter()
        self._readers: tuple[tuple[Callable[[bytes | None], Any], Callable[[Any], None]], ...] = (
            (self._order_in, self._take_order),
            (lambda value: codec.decode_as(Applied, value, bindings), self._take_word),
            (lambda value: batch_in(value, partition, partitions), self._take_batch),
        )

    # -- the handler's protocol

    def advance(self, log_time_ms: int) -> None:
        """Log time moves: heartbeats, alarms, deployments, views; no evidence is judged here."""
        if self.log_time_ms == 0:
            # What was applied before the first tick holds from there: time 0 is long ago.
            for state in self.experiments.values():
                state.since_ms = log_time_ms
        self.log_time_ms = log_time_ms
        self._seen.forget(log_time_ms)
        self.clients.forget(log_time_ms)
        self.fleet.forget(log_time_ms)
        if log_time_ms - self._heartbeat_ms >= HEARTBEAT_MS:
            self._heartbeat_ms = log_time_ms
            self._journal.heartbeat(log_time_ms, self.sequences.watermark_ms)
            alarms.gaps(self._journal, self.sequences, log_time_ms)
            for _, state in sorted(self.experiments.items()):
                alarms.unconfirmed_rollbacks(self._journal, state, self.clients, log_time_ms)
                if state.strategy.back is not None:
                    self._step(state)  # time-outs
                    self._journal.commands(state.deployment.due(state.phase, log_time_ms))
        if log_time_ms - self._status_ms >= STATUS_MS:
            self._status_ms = log_time_ms
            for _, state in sorted(self.experiments.items()):
                if state.is_view_due or log_time_ms - state.viewed_ms >= IDLE_STATUS_MS:
                    self._publish_view(state, judging.findings_of(state))

    def records(self, run: Run) -> None:
        """Takes records one by one, after all may be read: each sees what the one before left."""
        if run.rank != OBSERVATIONS:  # those are the joiner's, never framed for a registry
            codec.require_bound(run.values[run.start : run.stop], self._bindings)
        (decode, take), topic = self._readers[run.rank], TOPICS[run.rank]
        is_order = run.rank == CONTROL
        for index in range(run.start, run.stop):
            value = run.values[index]
            self._counters[f"{topic}.input"] += 1
            offset = run.first_offset + index - run.start
            self._offsets[run.rank] = offset + 1
            try:
                found = decode(value)
            except EventError as error:
                self._counters[f"{topic}.dead_lettered"] += 1
                self._journal.dead_letter(topic, offset, self.log_time_ms, value, error)
                continue
            self._counters[f"{topic}.counted"] += 1
            if is_order:
                self._stamped_ms = run.timestamps(index)
            take(found)

    def marker(self, rank: int, offset: int, marker: Marker) -> None:
        """What is accepted as lost, here or in the joiner's input, raises every epoch."""
        if marker.kind == "skip":
            self._offsets[rank] = int(marker.arguments["end"])
        accepted = self.sequences.accept_loss(marker, rank == OBSERVATIONS)
        for _, state in sorted(self.experiments.items()) if accepted else ():
            state.epoch += 1
            self._decide(state, Proposal(Action.UPDATE, accepted, republish=True, automatic=True))

    def dump(self) -> bytes:
        """The whole state as canonical JSON."""
        return canonical_json(
            {
                "log_time_ms": self.log_time_ms,
                "sequences": self.sequences.to_state(),
                "clients": self.clients.to_state(),
                "layers": self._layers.to_state(),
                "fleet": self.fleet.to_state(),
                "seen": self._seen.to_state(),
                "offsets": self._offsets,
                "heartbeat_ms": self._heartbeat_ms,
                "status_ms": self._status_ms,
                "counters": dict(self._counters),
                "experiments": experiment_json.all_to_state(self.experiments),
            }
        ).encode()

    def load(self, state: bytes) -> None:
        """Becomes what `dump` told."""
        found = json.loads(state)
        self.log_time_ms = found["log_time_ms"]
        self.sequences = Sequences.from_state(found["sequences"])
        self.clients = Clients.from_state(found["clients"])
        self._layers.load(found.get("layers", []))
        self.fleet = Fleet.from_state(found.get("fleet", []))
        self._seen = SeenIds(found["seen"])
        self._offsets = found["offsets"]
        self._heartbeat_ms = found["heartbeat_ms"]
        self._status_ms = found["status_ms"]
        self._counters = Counter(found["counters"])
        self.experiments = experiment_json.all_from_state(found["experiments"])

    def counters(self) -> dict[str, int]:
        """Counts since the log's beginning; of variants, since their generation's."""
        return {**self._counters, **dict(variant_counters(self.experiments))}

    # -- orders

    def _order_in(self, value: bytes | None) -> Control:
        order = codec.decode_as(Control, value, self._bindings)
        check_placement(order.experiment, self.partition, self._decision_partitions)
        return order

    def _take_order(self, order: Control) -> None:
        state = self.experiments.get(order.experiment)
        if order.control_id in self._seen or orders.is_own(order, state):
            self._counters["order.repeated"] += 1
            return
        self._seen.add(order.control_id, order.issued_at, self.log_time_ms)
        if order in self._layers:
            is_done = self._layers.take(order, state is not None, self._moment())
            self._counters["decisions" if is_done else "order.refused"] += 1
            return
        if state is not None:
            answer = orders.answer(state, order, self.log_time_ms, self._stamped_ms)
            self._decide(state, answer, order.control_id)
            return
        spec = orders.first_apply(order, self.log_time_ms)
        if isinstance(spec, str):
            self._counters["order.refused"] += 1
            self._journal.refusal(order, spec, self._moment())
            return
        state = ExperimentState(order.experiment, spec)
        self.experiments[order.experiment] = state
        reason = orders.said(order, "applied for the first time")
        self._decide(state, start(state, spec, reason), order.control_id)

    # -- confirmations

    def _take_word(self, word: Applied) -> None:
        state = self.experiments.get(word.experiment)
        if word.servers is not None:  # an instance's: it runs no tables, and confirms none
            is_new = self.fleet.hear(word, self.log_time_ms)
            if is_new and state and state.strategy.back and self.log_time_ms:
                self._step(state)
        else:
            self.clients.hear(word, state is not None, self.log_time_ms)
        if state is not None:
            state.is_view_due = True
            while (proposal := guarding.cut(state, word)) is not None:
                self._decide(state, proposal)

    # -- observations

    def _take_batch(self, batch: ObservationBatch) -> None:
        reading = self.sequences.read(batch.source_partition, batch.sequence, self.log_time_ms)
        self._counters[f"batch.{reading.value}"] += 1
        if reading is not Reading.NEXT:
            return
        touched = learn(batch, self.experiments, self._counters)
        rose = self.sequences.accept(batch.source_partition, batch.log_time_ms)
        for state in touched:
            self._judge_guardrails(state)
        # Before the first tick here nothing has begun, so nothing can have lasted.
        if rose and self.log_time_ms:
            for _, state in sorted(self.experiments.items()):
                self._step(state)

    def _judge_guardrails(self, state: ExperimentState) -> None:
        while (proposal := guarding.breach(state)) is not None:
            self._decide(state, proposal)

    def _step(self, state: ExperimentState) -> None:
        """What the step asks for; one that commands instances goes on until it waits for them."""
        for _ in range(MOVES_MAX if state.strategy.back else 1):
            proposal = scheduling.next_move(state, self._sight(state))
            if proposal is None:
                return
            self._decide(state, proposal)

    def _sight(self, state: ExperimentState) -> judging.Sight:
        fleet = self.fleet.of(state.name, self.log_time_ms)
        return judging.Sight(self.sequences.watermark_ms, self.log_time_ms, fleet)

    # -- conclusions

    def _decide(
        self, state: ExperimentState, proposal: Proposal, control_id: str | None = None
    ) -> None:
        changes_table = experiments.evolve(state, proposal, self.log_time_ms)
        self._counters["decisions"] += 1
        if proposal.action is Action.REFUSED:
            self._counters["order.refused"] += 1
        if proposal.automatic and proposal.roll_back:
            self._order_own_rollback(state, proposal)
        found = judging.evidence_of(state)
        evidence = {**found, **proposal.evidence}
        record = self._journal.decision(state, proposal, control_id, self._moment(), evidence)
        experiments.chain(state, record)
        if changes_table:
            self._journal.table(state, self.log_time_ms)
        if proposal.commands:
            self._journal.commands(state.deployment.issued)
        if proposal.alert:
            self._journal.alert(proposal.alert, proposal.reason, self.log_time_ms, state)
        self._publish_view(state, found)

    def _order_own_rollback(self, state: ExperimentState, proposal: Proposal) -> None:
        variant = proposal.roll_back
        # Reading our own record back must change nothing.
        self._seen.add(state.decision_id, self.log_time_ms, self.log_time_ms)
        self._journal.own_rollback(state, variant, proposal.reason, self.log_time_ms)
        state.unconfirmed.append(
            Unconfirmed(variant, state.generation, state.epoch, state.version, self.log_time_ms)
        )

    def _moment(self) -> Moment:
        covers = dict(zip(TOPICS, self._offsets, strict=True)) | self.sequences.covered()
        return Moment(self.log_time_ms, self.sequences.watermark_ms, covers)

    def _publish_view(self, state: ExperimentState, findings: dict[str, Any]) -> None:
        state.viewed_ms, state.is_view_due = self.log_time_ms, False
        found = view.view_of(state, self._sight(state), self.sequences, self.clients, findings)
        self._journal.status(state, found, self.log_time_ms)
