"""Named points of a worker's work at which its own launcher ends or stops it.

The product knows nothing of them: `plant` wraps one function in the child process.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from tidegate.agents.hosting.checkpoints import Checkpoints
from tidegate.agents.hosting.host import Host
from tidegate.agents.hosting.publisher import Publisher, Tally
from tidegate.agents.hosting.snapshots import read_key, read_segment_key
from tidegate.agents.transport.positions import PositionedConsumer
from tidegate.agents.transport.thread import BatchConsumerThread
from tidegate.schemas.codec import decode_as
from tidegate.schemas.events import Decision, Routing
from tidegate.streams.folding import PartitionFold
from tidegate.streams.output import Output

Passes = Callable[..., bool]
"""Whether a call with these arguments passes the point."""

ARRIVAL_SECONDS = 10.0


def _always(*_arguments: Any) -> bool:
    return True


def _chunk(_self: Any, _partition: int, key: bytes, value: bytes | None, *_: Any) -> bool:
    name = read_key(key)
    return value is not None and name is not None and name[3] is not None


def _segment(_self: Any, _partition: int, key: bytes, value: bytes | None, *_: Any) -> bool:
    return value is not None and read_segment_key(key) is not None


def _manifest(_self: Any, _partition: int, key: bytes, value: bytes | None, *_: Any) -> bool:
    return value is not None and key.endswith(b"/m")


def _tombstone(_self: Any, _partition: int, key: bytes, value: bytes | None, *_: Any) -> bool:
    return value is None and read_key(key) is not None


def _forgetting(_self: Any, _partition: int, key: bytes, value: bytes | None, *_: Any) -> bool:
    return value is None and read_segment_key(key) is not None


def _of(topic: str) -> Passes:
    return lambda _self, _partition, output: output.topic == topic and output.value is not None


def _rolls_back(_self: Any, _partition: int, output: Output) -> bool:
    """Whether it is the decision of a guardrail's rollback."""
    if output.topic != "decisions" or output.value is None:
        return False
    decision = decode_as(Decision, output.value)
    return decision.action == "ROLLBACK" and not decision.control_id


class _TablesOfRollbacks:
    """Tables of rollbacks by guardrails, whose decisions come before them."""

    def __init__(self) -> None:
        self._decided: set[str] = set()

    def __call__(self, _self: Any, _partition: int, output: Output) -> bool:
        if output.value is None:
            return False
        if _rolls_back(_self, _partition, output):
            self._decided.add(decode_as(Decision, output.value).decision_id)
        is_table = output.topic == "routing"
        return is_table and decode_as(Routing, output.value).decision_id in self._decided


@dataclass(frozen=True, slots=True)
class Point:
    """Before or after a function, for the calls that pass.

    `starting` points lie on the way to a worker's first record and are passed once; `moves` needs
    a partition to leave; what `decides` only deciders pass. Outputs are in the producer's queue
    then, unless the point is one at which all have `arrived`.
    """

    what: str
    owner: type
    function: str
    after: bool
    passes: Passes = _always
    starting: bool = False
    moves: bool = False
    decides: bool = False
    arrived: bool = False

    @property
    def rare(self) -> bool:
        """Whether it is passed so seldom that the next pass must do."""
        return self.starting or self.moves or self.decides or self.owner is Checkpoints


POINTS: dict[str, Point] = {
    "restoring": Point(
        "a partition came, nothing is loaded", Host, "_load", False, starting=True
    ),
    "restored": Point("its checkpoint is loaded", Host, "_load", True, starting=True),
    "assigned": Point("all partitions are placed", Host, "_assign", True, starting=True),
    "fetched": Point("a fetch is here, nothing is fed", Host, "feed", False),
    "fed": Point("fed, not folded", PartitionFold, "feed", True),
    "folding": Point("half way through a fold, before an output", Publisher, "emit", False),
    "producing": Point("an output is in the producer's queue", Publisher, "emit", True),
    "acknowledged": Point("an output is acknowledged", Tally, "delivered", True),
    "folded": Point("a fetch is folded, not acknowledged to Faust", Host, "feed", True),
    "cut": Point("the state is dumped, nothing is written", Checkpoints, "take", False),
    "chunk": Point(
        "one of several chunks of a checkpoint is written", Checkpoints, "_produce", True, _chunk
    ),
    "segment": Point(
        "one of several chunks of a segment is written", Checkpoints, "_produce", True, _segment
    ),
    "flushed": Point(
        "outputs and chunks have arrived, no manifest", Checkpoints, "_produce", False, _manifest
    ),
    "manifest": Point("the manifest is on its way", Checkpoints, "_produce", True, _manifest),
    "announced": Point(
        "the checkpoint counts, its elders are there", Checkpoints, "_delete_old", False
    ),
    "tombstone": Point(
        "one of its elders' tombstones is written", Checkpoints, "_produce", True, _tombstone
    ),
    "forgetting": Point(
        "one of several chunks of a segment that nobody needs is deleted",
        Checkpoints, "_produce", True, _forgetting,
    ),
    "committing": Point("before a commit", BatchConsumerThread, "_commit", False),
    "committed": Point("after a commit", BatchConsumerThread, "_commit", True),
    "revoked": Point(
        "a rebalance took a partition",
        PositionedConsumer, "on_partitions_revoked", True, moves=True,
    ),
    "decided": Point(
        "a decision is on its way, its table is not",
        Publisher, "emit", True, _of("decisions"), decides=True,
    ),
    "tabled": Point(
        "a routing table is on its way, its elder is there",
        Publisher, "emit", True, _of("routing"), decides=True,
    ),
    "ordered": Point(
        "a rollback of its own is on its way to clients",
        Publisher, "emit", True, _of("control"), decides=True,
    ),
    "breached": Point(
        "a guardrail has failed, nobody knows it",
        Publisher, "emit", False, _of("control"), decides=True,
    ),
    "obeyed": Point(
        "clients have a rollback, its decision is nowhere",
        Publisher, "emit", True, _of("control"), decides=True, arrived=True,
    ),
    "withdrawn": Point(
        "the decision of a rollback has arrived, its table has not",
        Publisher, "emit", True, _rolls_back, decides=True, arrived=True,
    ),
    "returned": Point(
        "the table of a rollback has arrived",
        Publisher, "emit", True, _TablesOfRollbacks(), decides=True, arrived=True,
    ),
}  # fmt: skip


class Trap:
    """Sends this process a signal at the n-th pass of a point, once it is armed (SIGUSR1)."""

    def __init__(self, passes: int, number: signal.Signals, armed: bool) -> None:
        self._left = passes
        self._number = number
        self._armed = armed
        signal.signal(signal.SIGUSR1, self._arm)

    def _arm(self, *_: object) -> None:
        self._armed = True

    def passed(self) -> None:
        """The point was passed."""
        if not self._armed:
            return
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), self._number)


def plant(name: str, trap: Trap) -> None:
    """Make the point's function tell the trap of each pass."""
    point = POINTS[name]
    whole = getattr(point.owner, point.function)

    @wraps(whole)
    def call(*arguments: Any, **named: Any) -> Any:
        tells = point.passes(*arguments)
        if tells and not point.after:
            trap.passed()
        result = whole(*arguments, **named)
        if tells and point.arrived:
            arguments[0].flush(ARRIVAL_SECONDS)
        if tells and point.after:
            trap.passed()
        return result

    @wraps(whole)
    async def call_later(*arguments: Any, **named: Any) -> Any:
        tells = point.passes(*arguments)
        if tells and not point.after:
            trap.passed()
        result = await whole(*arguments, **named)
        if tells and point.after:
            trap.passed()
        return result

    setattr(point.owner, point.function, call_later if asyncio.iscoroutinefunction(whole) else call)
