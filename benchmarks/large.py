"""Windows of hours: ten million requests pending, put back from segments, worked on, checkpointed.

Without Kafka: segments as joiners seal them lie in files, packed as in the topic. One process
verifies and loads all partitions, as a worker does that takes them over, and holds them. Then it
joins what comes next, among it outcomes of requests of any age, with checkpoints. (`recovery`
kills a real worker: `benchmarks.recovery --pending 10000000`.)

    python -m benchmarks.large [--requests 10000000] [--hours 24]
"""

from __future__ import annotations

import argparse
import gc
import itertools
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import numpy as np

from benchmarks.memory import discard, fill, resident_bytes
from benchmarks.report import against, exit_by, heading, line
from benchmarks.workload import Produced, Workload, outcome
from tidegate.agents.hosting.heap import give_back
from tidegate.agents.hosting.restore import Segments
from tidegate.agents.hosting.snapshots import (
    CHUNK_BYTES,
    Segment,
    compressed_chunks,
    unpack_segment,
)
from tidegate.schemas import codec
from tidegate.schemas.decoding.hashes import digests
from tidegate.streams.folding import SEGMENT_RECORDS
from tidegate.streams.joining.changes import GIVEN_UP, JOINED, OPENED, ROW_BYTES, Changes
from tidegate.streams.joining.joiner import Joiner
from tidegate.streams.joining.layout import ENTRY, KEY_BYTES, REQUEST_ROWS
from tidegate.streams.joining.rebuilding import changes_of
from tidegate.streams.joining.settings import TIMER_GRID_MS, JoinerSettings
from tidegate.streams.merge import Run

Found = TypeVar("Found")

SECONDS_MUST, BYTES_MUST, PAUSE_MS_MUST, SHARE_MUST = 60.0, 3e9, 50.0, 0.05
BYTES_EACH_MUST = {0: 220.0, 16: 360.0}
_TEMPLATES = 5_000
_NOW_MS = 1_763_000_000_000
_RUN_RECORDS = 500
_TICK_RUNS = 6
_CHECKPOINT_RECORDS = 300_000
_RESTORE_THREADS = 2


def request_ids(partition: int, numbers: range) -> list[bytes]:
    """Ids of requests that have been pending for some time."""
    return [b"old-%d-%d" % (partition, number) for number in numbers]


def build(folder: Path, partition: int, requests: int, features: int, wait_ms: int) -> None:
    """Write state and segments of a joiner whose requests came evenly during the last window;
    every second one has an outcome."""
    settings = JoinerSettings(open_max=4 * requests)
    first = Joiner(partition, settings, "engine", discard)
    fill(first, Workload(_TEMPLATES, features=features, reward_wait_ms=wait_ms, begin_ms=_NOW_MS))
    template_deadlines_ms, dumped = first.state.requests.dump()
    templates = changes_of(dumped, template_deadlines_ms)
    rows = np.resize(
        np.ascontiguousarray(templates.opened["row"]).view(np.uint8).reshape(-1, ROW_BYTES),
        (requests, ROW_BYTES),
    )
    keys = b"".join(digests(request_ids(partition, range(requests))))
    rows[:, :KEY_BYTES] = np.frombuffer(keys, np.uint8).reshape(-1, KEY_BYTES)
    opened = np.empty(requests, OPENED)
    heads = rows.view(REQUEST_ROWS)[:, 0]
    served_ms = _NOW_MS - wait_ms + np.arange(requests) * wait_ms // requests
    source = np.random.default_rng(partition)
    heads["served_at"], heads["unit"] = served_ms, source.integers(0, 2**63, requests)
    heads["score"], heads["latency"] = source.random(requests), source.random(requests)
    deadlines_ms = served_ms + wait_ms + settings.grace_ms
    opened["until_ms"] = -(-deadlines_ms // TIMER_GRID_MS) * TIMER_GRID_MS
    opened["serial"], opened["row"] = np.arange(requests), heads.view(OPENED["row"])
    joined = np.empty(requests // 2, JOINED)
    joined["until_ms"], joined["key"] = opened["until_ms"][: 2 * len(joined) : 2], (
        np.frombuffer(keys, "<u8").reshape(-1, 2)[: 2 * len(joined) : 2]
    )
    joined["serial"], joined["after"] = np.arange(len(joined)), requests
    entries = (ENTRY.pack(0, number, 1.0, 5_000) for number in range(len(joined)))
    joined["entry"] = np.frombuffer(b"".join(entries), JOINED["entry"])
    changes = Changes(opened, source.random(requests * features), joined, np.empty(0, GIVEN_UP))
    joiner = Joiner(partition, settings, "engine", discard)
    state = joiner.state
    state.log_time_ms = first.state.log_time_ms
    state.interned.load(first.state.interned.dump())
    latest_ms = int(opened["until_ms"].max())
    state.requests.load(
        {"open": requests, "latest_deadline_ms": latest_ms, "forgetting": []}, [changes], _NOW_MS
    )
    state.changelog.rebase(changes)
    for number, (digest, content) in enumerate(joiner.seal().items()):
        chunks = compressed_chunks(content)
        (folder / f"{partition}-{number:05d}-{digest}-{len(chunks)}").write_bytes(b"".join(chunks))
    (folder / f"{partition}-state").write_bytes(joiner.dump())


def packed_segments(folder: Path, partition: int) -> list[tuple[Segment, list[bytes]]]:
    """What a log of checkpoints would have given."""
    found = []
    for path in sorted(folder.glob(f"{partition}-0*")):
        _, number, digest, count = path.name.split("-")
        data = path.read_bytes()
        chunks = [data[at : at + CHUNK_BYTES] for at in range(0, len(data), CHUNK_BYTES)]
        found.append((Segment(int(number), digest, int(count)), chunks))
    return found


def restore(folder: Path, partition: int, open_max: int) -> Joiner:
    """As a worker takes a partition over: verify all, then load."""
    packed = packed_segments(folder, partition)
    for segment, chunks in packed:
        assert unpack_segment(segment, chunks) is not None
    joiner = Joiner(partition, JoinerSettings(open_max=open_max), "engine", discard)
    joiner.load((folder / f"{partition}-state").read_bytes(), Segments(packed))
    del packed
    give_back()
    return joiner


def traffic(old: int, events: int, features: int, wait_ms: int) -> Iterator[Produced]:
    """What comes next: of the outcomes every second one is of an old request."""
    draw = random.Random(5)
    workload = Workload(
        events // 2, features=features, reward_wait_ms=wait_ms, begin_ms=_NOW_MS + 10_000, seed=11
    )
    for event in workload.requests():
        if event.topic == "outcomes" and draw.random() < 0.5:
            (key,) = request_ids(0, range(number := draw.randrange(old), number + 1))
            record = outcome(draw, key.decode(), event.time_ms)
            yield event._replace(key=key, value=codec.encode_record("outcome", record))
        else:
            yield event


class Stops:
    """Times for which writing state down stopped everything else, and what it took in all.

    On a machine that is shared the clock says more of others than of this, so both are told.
    """

    def __init__(self) -> None:
        self.processor_ms: list[float] = []
        self.clock_ms: list[float] = []
        self.seconds = 0.0

    def stop(self, what: Callable[[], Found]) -> Found:
        """Do something that nothing else can be done beside."""
        began, processor = time.perf_counter(), time.thread_time()
        found = what()
        self.processor_ms.append(1_000 * (time.thread_time() - processor))
        self.clock_ms.append(1_000 * (time.perf_counter() - began))
        self.seconds += self.processor_ms[-1] / 1_000
        return found

    def beside(self, what: Callable[[bytes], object], content: bytes) -> None:
        """Do something that a worker does in another thread."""
        began = time.thread_time()
        what(content)
        self.seconds += time.thread_time() - began


def work(joiner: Joiner, events: Iterator[Produced], stops: Stops) -> int:
    """Join events with checkpoints; how many were joined."""
    ranks = {"predictions": 0, "shadow-predictions": 1, "outcomes": 2}
    done = unsealed = unsaved = 0
    for turn, part in enumerate(iter(lambda: list(itertools.islice(events, _RUN_RECORDS)), [])):
        now_ms = part[-1].time_ms // TIMER_GRID_MS * TIMER_GRID_MS
        if turn % _TICK_RUNS == 0:
            if unsealed >= SEGMENT_RECORDS:
                for content in stops.stop(joiner.seal).values():
                    stops.beside(compressed_chunks, content)
                unsealed = 0
            if unsaved >= _CHECKPOINT_RECORDS or turn == 0:
                state = stops.stop(joiner.dump)
                stops.beside(compressed_chunks, state)
                stops.beside(sha256, state)
                unsaved = 0
            joiner.advance(now_ms)
        for topic, rank in ranks.items():
            values: list[bytes | None] = [event.value for event in part if event.topic == topic]
            joiner.records(Run(rank, now_ms, 0, values, 0, len(values), lambda _: _NOW_MS))
        done, unsealed, unsaved = done + len(part), unsealed + len(part), unsaved + len(part)
    return done


def main() -> None:
    """Build in other processes, then restore, hold and work in this one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000_000)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--features", type=int, default=0, choices=sorted(BYTES_EACH_MUST))
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--events", type=int, default=700_000)
    parser.add_argument("--build", type=int, default=-1, help="write one partition to --folder")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    each, wait_ms = options.requests // options.partitions, int(options.hours * 3_600_000)
    if options.build >= 0:
        build(options.folder, options.build, each, options.features, wait_ms)
        return
    requests, partitions = options.requests, options.partitions
    heading(f"{requests:,} pending in {partitions} partitions, windows of {options.hours:g} hours")
    with tempfile.TemporaryDirectory(prefix="tidegate-large-") as name:
        for partition in range(partitions):
            subprocess.run(
                [sys.executable, "-m", "benchmarks.large", *sys.argv[1:],
                 "--build", str(partition), "--folder", name], check=True,
            )  # fmt: skip
        reached = measure(Path(name), each, options)
    exit_by(reached)


def measure(folder: Path, each: int, options: argparse.Namespace) -> list[bool]:
    """Everything of one process that owns all partitions."""
    stored = sum(path.stat().st_size for path in folder.iterdir())
    line("stored", stored / options.requests, "bytes", "per request, every second has an outcome")
    gc.collect()
    base, began, processor = resident_bytes(), time.monotonic(), time.process_time()
    with ThreadPoolExecutor(_RESTORE_THREADS) as threads:
        partitions = range(options.partitions)
        joiners = list(threads.map(lambda number: restore(folder, number, 4 * each), partitions))
    line("restored in, processor time", time.process_time() - processor, "s")
    seconds = time.monotonic() - began
    gc.collect()
    gc.freeze()
    resident = resident_bytes()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1_024
    pending = sum(joiner.counters()["prediction.pending"] for joiner in joiners)
    assert pending == each * options.partitions, pending
    reached = [
        against("restored in, verified and loaded", seconds, SECONDS_MUST, "s", at_least=False),
        against("resident", resident / 1e6, BYTES_MUST / 1e6, "MB", at_least=False),
        against("most that was resident", peak / 1e6, BYTES_MUST / 1e6, "MB", at_least=False),
        against("per pending request", (resident - base) / pending,
                BYTES_EACH_MUST[options.features], "bytes", at_least=False),
    ]  # fmt: skip
    wait_ms = int(options.hours * 3_600_000)
    events = list(traffic(each, options.events, options.features, wait_ms))
    stops, began = Stops(), time.thread_time()
    joined = work(joiners[0], iter(events), stops)
    took = time.thread_time() - began
    line("events joined, with checkpoints", joined / took, "per second", "of processor time")
    line("of that, checkpoints that stop the joining", sum(stops.processor_ms) / 10 / took, "%")
    line("longest pause on the clock", max(stops.clock_ms), "ms")
    reached += [
        against("longest pause, processor time", max(stops.processor_ms), PAUSE_MS_MUST, "ms",
                at_least=False),
        against("checkpoints' share of processor time", stops.seconds / took, SHARE_MUST,
                "", at_least=False),
    ]  # fmt: skip
    return reached


if __name__ == "__main__":
    main()
