"""Decisions, tables and commands as records: the only place that knows how they are put out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tidegate.schemas import codec
from tidegate.schemas.canonical import canonical_json, round_significant, sha256_hex
from tidegate.schemas.errors import EventError
from tidegate.schemas.events import Command, Control, DeadLetter, Decision, Event
from tidegate.streams.deciding.experiment import FLAG_STEP, ExperimentState
from tidegate.streams.deciding.proposals import Action, Proposal
from tidegate.streams.deciding.tables import table_key, table_of
from tidegate.streams.output import Emit, Output
from tidegate.streams.rollout import Phase

DECIDER = "tidegate"
DECIDER_ROLE = "decider"

TABLES_KEPT = 2
REASON_CHARACTERS_MAX = 1_000
DEAD_LETTER_BYTES_MAX = 4_096
VIEW_PIECE_CHARACTERS = 2_000
VIEW_BYTES_MAX = 60_000


@dataclass(frozen=True, slots=True)
class Moment:
    """When something was decided and on what: log time, watermark, and the records covered."""

    log_time_ms: int
    watermark_ms: int
    covers: Mapping[str, int]


class Journal:
    """Writes what one partition of the decider concludes."""

    def __init__(self, partition: int, engine: str, emit: Emit) -> None:
        self.partition = partition
        self.engine = engine
        self._emit = emit

    def decision(
        self,
        state: ExperimentState,
        proposal: Proposal,
        control_id: str | None,
        moment: Moment,
        evidence: Mapping[str, Any],
    ) -> bytes:
        """Writes the decision that led to `state`; returns its bytes, which the next one names."""
        record = Decision(
            decision_id=state.decision_id,
            control_id=control_id,
            experiment=state.name,
            epoch=state.epoch,
            version=state.version,
            generation=state.generation,
            decided_at=moment.log_time_ms,
            watermark=moment.watermark_ms,
            step=state.step,
            phase=str(state.phase),
            verdict=str(proposal.verdict),
            action=str(proposal.action),
            variant=proposal.variant,
            reason=clipped(proposal.reason),
            evidence=canonical_json(rounded(evidence)),
            weights=dict(sorted(state.weights.items())),
            covers=dict(moment.covers),
            engine=self.engine,
            previous=state.previous,
        )
        return self._write("decisions", state.name.encode(), record)

    def decided(self, decision: Decision) -> bytes:
        """Writes a decision that is made already; returns its bytes."""
        return self._write("decisions", decision.experiment.encode(), decision)

    def refusal(self, order: Control, reason: str, moment: Moment) -> None:
        """Answers an order to an experiment that does not exist: version 0, outside its chain."""
        self._write(
            "decisions",
            order.experiment.encode(),
            Decision(
                decision_id=f"{order.experiment}/refused/{sha256_hex(order.control_id)[:16]}",
                control_id=order.control_id,
                experiment=order.experiment,
                epoch=0,
                version=0,
                generation=0,
                decided_at=moment.log_time_ms,
                watermark=moment.watermark_ms,
                step=FLAG_STEP,
                phase=str(Phase.IDLE),
                verdict="",
                action=str(Action.REFUSED),
                variant="",
                reason=clipped(reason),
                evidence="{}",
                weights={},
                covers=dict(moment.covers),
                engine=self.engine,
                previous="",
            ),
        )

    def table(self, state: ExperimentState, log_time_ms: int) -> None:
        """Publishes the routing table of `state` and withdraws all but the last two."""
        self._write("routing", table_key(state.name, state.key), table_of(state, log_time_ms))
        state.tables.append(state.key)
        state.published_at_ms = log_time_ms
        while len(state.tables) > TABLES_KEPT:
            key = table_key(state.name, state.tables.pop(0))
            self._emit(Output("routing", self.partition, key, None))

    def own_rollback(self, state: ExperimentState, variant: str, reason: str, at_ms: int) -> None:
        """The record clients obey without waiting for a table."""
        self._write(
            "control",
            state.name.encode(),
            Control(
                control_id=state.decision_id,
                experiment=state.name,
                generation=state.generation,
                action="ROLLBACK",
                arguments={"variant": variant},
                actor=DECIDER,
                role=DECIDER_ROLE,
                reason=clipped(reason),
                issued_at=at_ms,
            ),
        )

    def heartbeat(self, log_time_ms: int, watermark_ms: int) -> None:
        """Tells clients silence from deafness."""
        self._write(
            "commands",
            b"",
            Command(
                command_id=f"heartbeat/{self.partition}/{log_time_ms}",
                experiment="",
                generation=0,
                kind="HEARTBEAT",
                reason="",
                decision_id="",
                arguments={
                    "partition": str(self.partition),
                    "log_time": str(log_time_ms),
                    "watermark": str(watermark_ms),
                },
            ),
        )

    def alert(
        self,
        subject: str,
        reason: str,
        log_time_ms: int,
        state: ExperimentState | None = None,
        arguments: Mapping[str, str] | None = None,
    ) -> None:
        """Asks for a person's attention; `subject` names the cause once."""
        name = "" if state is None else state.name
        self._write(
            "commands",
            name.encode(),
            Command(
                command_id=f"alert/{subject}/{log_time_ms}",
                experiment=name,
                generation=0 if state is None else state.generation,
                kind="ALERT",
                arguments=dict(arguments or {}),
                reason=clipped(reason),
                decision_id="" if state is None else state.decision_id,
            ),
        )

    def status(self, state: ExperimentState, view: Mapping[str, Any], log_time_ms: int) -> None:
        """Publishes the view of an experiment, JSON in pieces: `view.0`, `view.1`, …

        One that is too large for a command is left out: the decisions hold the same numbers.
        """
        text = canonical_json(rounded(view))
        if len(text.encode()) > VIEW_BYTES_MAX:
            return
        starts = range(0, len(text), VIEW_PIECE_CHARACTERS)
        pieces = {
            f"view.{number}": text[start : start + VIEW_PIECE_CHARACTERS]
            for number, start in enumerate(starts)
        }
        self._write(
            "commands",
            state.name.encode(),
            Command(
                # A decision publishes a view too, perhaps at the log time of the one before it.
                command_id=f"status/{state.decision_id}/{log_time_ms}",
                experiment=state.name,
                generation=state.generation,
                kind="STATUS",
                arguments=pieces,
                reason="",
                decision_id=state.decision_id,
            ),
        )

    def commands(self, commands: Iterable[Command]) -> None:
        """Tells instances what to do; said again, it is the same record."""
        for command in commands:
            self._write("commands", command.experiment.encode(), command)

    def dead_letter(
        self, topic: str, offset: int, log_time_ms: int, value: bytes | None, error: EventError
    ) -> None:
        """Sets aside a record that cannot be counted."""
        self._emit(
            Output(
                "dead-letters",
                0,
                f"{topic}-{self.partition}".encode(),
                codec.encode(
                    DeadLetter(
                        reason=error.reason,
                        detail=clipped(error.detail),
                        topic=topic,
                        partition=self.partition,
                        offset=offset,
                        log_time=log_time_ms,
                        engine=self.engine,
                        value=(value or b"")[:DEAD_LETTER_BYTES_MAX],
                    )
                ),
            )
        )

    def _write(self, topic: str, key: bytes, event: Event) -> bytes:
        value = codec.encode(event)
        self._emit(Output(topic, self.partition, key, value))
        return value


_EXACT: Final = frozenset({str, int, bool, type(None)})


def rounded(value: Any) -> Any:
    """The same JSON value with every float rounded to 9 significant digits."""
    if type(value) in _EXACT:
        return value
    if isinstance(value, float):
        return round_significant(value)
    if isinstance(value, (dict, Mapping)):  # a plain one is told at once
        return {str(key): it if type(it) in _EXACT else rounded(it) for key, it in value.items()}
    if isinstance(value, (list, tuple)):
        return [it if type(it) in _EXACT else rounded(it) for it in value]
    return value


def clipped(text: str) -> str:
    """Prose of bounded length: what people write to us may be long, a decision is one sentence."""
    if len(text) <= REASON_CHARACTERS_MAX:
        return text
    return text[: REASON_CHARACTERS_MAX - 1] + "…"
