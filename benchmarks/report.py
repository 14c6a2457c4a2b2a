"""How figures are printed: never without the machine, its load, and how fast it is just now."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

_PACE_STEPS = 2_000_000


def machine() -> str:
    """Processor, number of cores, Python, load average: one line."""
    load = " ".join(f"{item:.2f}" for item in os.getloadavg())
    return (
        f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, load {load}"
    )


def heading(title: str) -> None:
    """Print what is measured, and where."""
    print(f"\n{title}\n{machine()}\n{pace()}", flush=True)


def pace() -> str:
    """How long plain Python takes just now: a shared machine may be half as fast as an hour ago."""
    began, number = time.perf_counter(), 0
    while number < _PACE_STEPS:
        number += 1
    seconds = (time.perf_counter() - began) * 10_000_000 / _PACE_STEPS
    return f"counting to ten million takes {seconds:.2f} s"


def line(name: str, value: float, unit: str, note: str = "") -> None:
    """Print one figure; units are spelled out, digits are kept to what is meant."""
    shown = f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"
    print(f"  {name:<52} {shown:>12} {unit:<10} {note}".rstrip(), flush=True)


def against(name: str, value: float, bound: float, unit: str, *, at_least: bool) -> bool:
    """Print a figure beside the one it must reach; whether it does."""
    reached = value >= bound if at_least else value <= bound
    relation = "at least" if at_least else "at most"
    line(name, value, unit, f"{'reached' if reached else 'MISSED'}: {relation} {bound:,g}")
    return reached


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of them lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def percentiles(name: str, values: Sequence[float], unit: str) -> None:
    """Print p50, p99 and the largest."""
    parts = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    shown = ", ".join(f"{part} {percentile(values, share):.4g}" for part, share in parts.items())
    print(f"  {name:<52} {shown} {unit} (n = {len(values):,})", flush=True)


def best_of(repeats: int, work: Callable[[], int]) -> tuple[float, float]:
    """Processor seconds per item of the fastest and of the middle of `repeats` runs.

    `work` returns how many items it did, on one thread. Processor time, because other processes
    may want the same core.
    """
    seconds = []
    for _ in range(repeats):
        began = time.process_time()
        done = work()
        seconds.append((time.process_time() - began) / done)
    return min(seconds), median(seconds)


def exit_by(reached: Sequence[bool]) -> None:
    """Leave with 0 when every bound was reached, else with 1."""
    sys.exit(0 if all(reached) else 1)


def exit_by_percentiles(found: Sequence[float], p50_must: float, p99_must: float) -> None:
    """Leave with 0 when median and 99th percentile, in ms, are below their bounds, else with 1."""
    exit_by([
        against("p50", percentile(found, 0.5), p50_must, "ms", at_least=False),
        against("p99", percentile(found, 0.99), p99_must, "ms", at_least=False),
    ])  # fmt: skip


def _processor() -> str:
    try:
        for row in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if row.startswith("model name"):
                return row.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
