"""Memory per pending request of the joiner, closed ids included, in bytes of resident memory.

The state a joiner has for ever when requests wait as long as closed ids are remembered: as many
closed ids as pending requests. Each measurement runs in a process of its own. For comparison, the
same numbers of keys and values in a dict, and in the packed form of the joiner.

    python -m benchmarks.memory [--requests 1000000]
"""

from __future__ import annotations

import argparse
import gc
import random
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks.report import against, exit_by, heading, line
from benchmarks.workload import Workload
from tidegate.streams.folding import SEGMENT_RECORDS
from tidegate.streams.joining.joiner import Joiner
from tidegate.streams.joining.layout import CLOSED_BYTES, HEAD_BYTES, KEY_BYTES
from tidegate.streams.joining.packed import Packed
from tidegate.streams.joining.settings import JoinerSettings
from tidegate.streams.merge import Run
from tidegate.streams.output import Output

MUSTS = {0: 220.0, 16: 360.0}
_SETTINGS = JoinerSettings()
_WAIT_MS = _SETTINGS.closed_memory_ms - _SETTINGS.grace_ms
_RUN_RECORDS = 2_000


def resident_bytes(process: int | str = "self") -> int:
    """What a process holds in memory now."""
    pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def fill(joiner: Joiner, workload: Workload) -> None:
    """Let the joiner take the predictions of a workload at the time it begins; seal as folds do."""
    log_time_ms = workload.begin_ms
    joiner.advance(log_time_ms)
    values: list[bytes | None] = []
    unsealed = 0
    for event in workload.requests():
        if event.topic == "predictions":
            values.append(event.value)
            if len(values) == _RUN_RECORDS:
                _take(joiner, values, log_time_ms)
                unsealed, values = unsealed + len(values), []
                if unsealed >= SEGMENT_RECORDS:
                    joiner.seal()
                    unsealed = 0
    _take(joiner, values, log_time_ms)
    joiner.advance(log_time_ms + 1)


def _take(joiner: Joiner, values: list[bytes | None], log_time_ms: int) -> None:
    joiner.records(Run(0, log_time_ms, 0, values, 0, len(values), lambda index: log_time_ms))


def discard(output: Output) -> None:
    """Outputs leave the process."""


def measure(requests: int, features: int) -> None:
    """Fill with requests, close them, fill again; print bytes per pending request."""
    workload = Workload(requests, features=features, reward_wait_ms=_WAIT_MS)
    joiner = Joiner(0, _SETTINGS, "engine", discard)
    early_ms = workload.begin_ms - 10 * _SETTINGS.closed_memory_ms
    fill(joiner, replace(workload, predictions=5_000, seed=0, begin_ms=early_ms))
    joiner.advance(workload.begin_ms)
    gc.collect()
    before = resident_bytes()
    fill(joiner, workload)
    gc.collect()
    opened = resident_bytes()
    # All have closed by then, and none is forgotten.
    later_ms = workload.begin_ms + workload.length_ms + _SETTINGS.closed_memory_ms + 1_000
    fill(joiner, replace(workload, seed=workload.seed + 1, begin_ms=later_ms))
    gc.collect()
    both = resident_bytes()
    counters = joiner.counters()
    assert counters["prediction.pending"] == requests, counters
    assert counters["closed"] == requests, counters
    print((opened - before) / requests, (both - before) / requests)


def compare(requests: int, packed: bool) -> None:
    """Keys and values of open and closed requests, nothing joined: print bytes per pair."""
    source = random.Random(7)
    table, store = dict[bytes, bytes](), Packed()
    before = resident_bytes()
    for size in (HEAD_BYTES, CLOSED_BYTES):
        for start in range(0, requests, _RUN_RECORDS):
            count = min(_RUN_RECORDS, requests - start)
            keys = [source.randbytes(KEY_BYTES) for _ in range(count)]
            values = [source.randbytes(size) for _ in range(count)]
            if packed:
                store.pack(keys, values)
            else:
                table.update(zip(keys, values, strict=True))
    gc.collect()
    print((resident_bytes() - before) / requests)


def run_alone(*arguments: str) -> list[float]:
    """What this program prints when it is run in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", *arguments],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return [float(word) for word in done.stdout.split()]


def main() -> None:
    """Measure without and with features."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--features", type=int, default=-1, help="measure in this process")
    parser.add_argument("--keep", choices=("dict", "packed"), help="compare in this process")
    options = parser.parse_args()
    if options.features >= 0:
        measure(options.requests, options.features)
        return
    if options.keep:
        compare(options.requests, options.keep == "packed")
        return
    requests = ("--requests", str(options.requests))
    heading(f"Memory of the joiner, {options.requests:,} pending and as many closed")
    reached = []
    for features, bound in MUSTS.items():
        said = run_alone(*requests, "--features", str(features))
        line(f"{features} features, open only", said[0], "bytes")
        name = f"{features} features, with one closed each"
        reached.append(against(name, said[1], bound, "bytes", at_least=False))
    for keep in ("dict", "packed"):
        line(f"keys and values alone, {keep}", run_alone(*requests, "--keep", keep)[0], "bytes")
    exit_by(reached)


if __name__ == "__main__":
    main()
