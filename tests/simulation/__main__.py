"""`python -m tests.simulation`: schedules from seeds, planted bugs, one failing seed made short."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path

from tests.simulation.invariants import INVARIANTS
from tests.simulation.planted import BUGS, Caught
from tests.simulation.running import Summary, hunt_all, run_all
from tests.simulation.schedule import draw
from tests.simulation.shrinking import shrink, told
from tests.simulation.sometimes import ENOUGH, SOMETIMES

SHRUNK_MAX = 3


def main() -> int:
    """0 when every invariant held, everything was seen and every planted bug was caught."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="first seed")
    parser.add_argument("--schedules", type=int, default=1_000, metavar="N")
    parser.add_argument(
        "--minutes", type=float, default=math.inf,
        help=f"play no further after so long; not before {ENOUGH:,} schedules",
    )  # fmt: skip
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--planted", action="store_true", help="hunt planted bugs instead")
    parser.add_argument("--events", action="store_true", help="print the schedule of the seed")
    parser.add_argument("--output", type=Path, help="append what is said to a file, too")
    options = parser.parse_args()
    say = _speaker(options.output)
    if options.events:
        say(told(draw(options.seed)))
        return 0
    if options.planted:
        return _hunt(options.seed, options.schedules, options.processes, say)
    return _run(options, say)


def _run(options: argparse.Namespace, say: Callable[[str], None]) -> int:
    count, processes = options.schedules, options.processes
    progress = _progress(count)
    summary = run_all(options.seed, count, processes, progress, 60 * options.minutes)
    played = sum(summary.schedules.values())
    if played < count:
        if sys.stderr.isatty():
            sys.stderr.write("\n")
        say(f"{options.minutes:g} minutes are over: seeds {options.seed} to "
            f"{options.seed + played - 1} of {count:,}")  # fmt: skip
    say(_table(summary, processes))
    for result in summary.failures[:SHRUNK_MAX]:
        say(f"\nseed {result.seed} ({result.kind}) breaks {result.violation}: {result.detail}")
        say(f"  {INVARIANTS[result.violation]}; the shortest schedule found that does so:")
        say(told(shrink(draw(result.seed))))
    for fault in summary.faults:
        say(fault)
    return 1 if summary.faults else 0


def _progress(count: int) -> Callable[[int, int], None]:
    def show(done: int, failed: int) -> None:
        if sys.stderr.isatty():
            bar = "#" * (40 * done // max(1, count))
            sys.stderr.write(f"\r[{bar:<40}] {done:,} of {count:,}, {failed} failed ")
            sys.stderr.write("\n" if done == count else "")
            sys.stderr.flush()

    return show


def _table(summary: Summary, processes: int) -> str:
    total, seconds = sum(summary.schedules.values()), sum(summary.cpu_seconds.values())
    lines = [
        f"{total:,} schedules, {len(summary.failures)} broke an invariant; "
        f"{summary.wall_seconds:.0f} s on {processes} processes, "
        f"{total / seconds:.1f} schedules/s per core",
        "",
        f"{'kind':<10}{'schedules':>12}{'ms each':>10}{'per s and core':>16}",
    ]
    for kind, number in sorted(summary.schedules.items()):
        spent = summary.cpu_seconds[kind]
        lines.append(
            f"{kind:<10}{number:>12,}{1_000 * spent / number:>10.1f}{number / spent:>16.1f}"
        )
    lines += ["", f"invariants checked: {', '.join(name for name in INVARIANTS)}"]
    lines.append(f"draws against propensities: {summary.standard_deviations:.2f} sd off")
    lines += ["", f"{'seen':<44}{'times':>14}"]
    for name in (*SOMETIMES, *sorted(summary.seen.keys() - set(SOMETIMES))):
        lines.append(f"{name:<44}{summary.seen[name]:>14,}")
    if total < ENOUGH:
        lines.append(f"(a run of {ENOUGH:,} schedules or more must have seen everything)")
    return "\n".join(lines)


def _hunt(seed: int, count: int, processes: int, say: Callable[[str], None]) -> int:
    say(f"{'planted bug':<38}{'first seed':>11}{'hit rate':>10}  invariants")
    missed = []
    for caught in hunt_all(seed, count, processes):
        say(_line(caught))
        if caught.first_seed < 0:
            missed.append(caught.name)
    say(f"{len(BUGS) - len(missed)} of {len(BUGS)} caught within {count} schedules of their kind")
    for name in missed:
        say(f"not caught: {name}: {BUGS[name].sentence}")
    return 1 if missed else 0


def _line(caught: Caught) -> str:
    names = ", ".join(f"{name} {count}" for name, count in caught.invariants.most_common(4))
    first = "never" if caught.first_seed < 0 else str(caught.first_seed)
    return f"{caught.name:<38}{first:>11}{caught.hit_rate:>10.1%}  {names}"


def _speaker(path: Path | None) -> Callable[[str], None]:
    def say(text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
        if path is not None:
            with path.open("a", encoding="utf-8") as file:
                file.write(text + "\n")

    return say


if __name__ == "__main__":
    sys.exit(main())
