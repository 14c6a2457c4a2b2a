"""Invariants of workers: whoever did it, however often, the same records and the same bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tests.simulation.invariants import hold
from tests.simulation.logs import Place
from tests.simulation.workers import TOPICS, Role, reference
from tests.simulation.world import World
from tidegate.schemas.marks import Marker
from tidegate.streams.folding import PartitionFold
from tidegate.streams.joining.joiner import Joiner
from tidegate.streams.merge import Run
from tidegate.streams.output import Output


def check_copies(world: World, role: Role, fold: PartitionFold, outputs: list[Output]) -> None:
    """I3, I4, I15, I16 and I20 of one role and partition.

    `fold` and `outputs` come from one fetch order that nobody ever crashed in.
    """
    wanted: dict[Place, list[Output]] = {}
    for output in outputs:
        wanted.setdefault((output.topic, output.partition), []).append(output)
    dumps: dict[int, tuple[bytes, tuple[str, ...]]] = {}
    bases: dict[int, Counter[Place]] = {-1: Counter()}
    for worker in world.all_workers:
        if worker.role != role:
            continue
        base = bases[worker.restored]
        for place, emitted in worker.emitted.items():
            repeated = wanted.get(place, [])[base[place] : base[place] + len(emitted)]
            if emitted != repeated:
                name = "I3" if worker.restored < 0 else "I16"
                told = _first(emitted, repeated)
                hold(name, False, role, "incarnation", worker.incarnation, told)
        for checkpoint, counts in worker.checkpoints:
            bases[checkpoint.released] = base + counts
            found = checkpoint.state, checkpoint.segments
            before = dumps.setdefault(checkpoint.released, found)
            hold("I15", before == found, role, "two states at", checkpoint.released)
            world.seen["segments referred to"] += bool(checkpoint.segments)
    live = world.alive(role)
    for rank, topic in enumerate(TOPICS[role.name]):
        end = len(world.cluster.logs[topic.name, role.partition].entries)
        hold("I20", live.fold.merge.fetch_offsets[rank] == end, role, "lags on", topic.name)
    hold("I15", live.fold.dump() == fold.dump(), role, "state after crashes differs")
    hold("I15", _requests(live.fold) == _requests(fold), role, "requests after crashes differ")
    for place, all_of_it in wanted.items():
        done = bases[live.restored][place] + len(live.emitted.get(place, ()))
        hold("I4", done == len(all_of_it), role, place, "put out", done, "of", len(all_of_it))
    hold("I20", not live.queue, role, "still owes", len(live.queue))


def _requests(fold: PartitionFold) -> tuple[object, ...]:
    """Every request in memory, which a dump tells of by the changes that led to it alone."""
    if not isinstance(fold.handler, Joiner):
        return ()
    deadlines_ms, dumped = fold.handler.state.requests.dump()
    return (deadlines_ms.tolist(), *dumped)


class _Recorder:
    """A handler that keeps the order in which it was given records."""

    def __init__(self) -> None:
        self.order: list[tuple[int, int, int]] = []
        self.times: list[int] = []

    def advance(self, log_time_ms: int) -> None:
        self.times.append(log_time_ms)

    def records(self, run: Run) -> None:
        count = run.stop - run.start
        self.order += [(run.log_time_ms, run.rank, run.first_offset + n) for n in range(count)]

    def marker(self, rank: int, offset: int, marker: Marker) -> None:
        """Markers stand among the records; their places follow."""

    def dump(self) -> bytes:
        return b""

    def load(self, state: bytes) -> None:
        """Never happens."""

    def counters(self) -> dict[str, int]:
        return {}


def check_order(world: World, role: Role) -> None:
    """I3: the canonical order is (log time, rank, offset), by the logs alone; time only rises."""
    recorder = _Recorder()
    fold, _ = reference(role, world.cluster, lambda *_: recorder, 3)
    wanted = []
    for rank, topic in enumerate(TOPICS[role.name]):
        log = world.cluster.logs[topic.name, role.partition]
        times, end = log.times(), fold.merge.next_offsets[rank]
        wanted += [
            (times[offset], rank, offset)
            for offset in range(end)
            if log.entries[offset].mark is None
        ]
    hold("I3", recorder.order == sorted(wanted), role, "is not in canonical order")
    hold("I3", recorder.times == sorted(set(recorder.times)), role, "time goes back")


def _first(found: Sequence[Output], wanted: Sequence[Output]) -> str:
    for number, (one, other) in enumerate(zip(found, wanted, strict=False)):
        if one != other:
            return f"output {number}: {one!s:.150} instead of {other!s:.150}"
    return f"{len(found)} outputs instead of {len(wanted)}"
