"""A campaign: so many mutations over all targets, and what came of them."""

from __future__ import annotations

import time
import traceback
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.fuzz.folds import RANKS
from tests.fuzz.mutating import Mutator, read_corpus
from tests.fuzz.targets import ACCEPTED, Target, kinds_of, new_targets

RUN_RECORDS = 60
"""So many records are read at once, as a fetch brings them; a fold's three kinds take turns."""
SLOWEST_SECONDS_MAX = 0.25
PEAK_BYTES_MAX = 10_000_000


@dataclass(slots=True)
class Finding:
    """A crash or a disagreement, and how to see it again."""

    kind: str
    number: int
    value: bytes
    error: str


@dataclass(slots=True)
class Report:
    """What a campaign saw."""

    seed: int
    mutations: int = 0
    seconds: float = 0.0
    words: dict[str, Counter[str]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    slowest: dict[str, tuple[float, int, int]] = field(default_factory=dict)
    """By kind (seconds, number, bytes) of the slowest record; of folds, of a run of records."""
    peak_bytes: int = 0

    @property
    def faults(self) -> list[str]:
        """Why the campaign fails."""
        said = [f"{it.kind} {it.number}: {it.error}" for it in self.findings]
        said += [
            f"{kind} {number}: takes {seconds:.3f} s"
            for kind, (seconds, number, _) in self.slowest.items()
            if seconds > SLOWEST_SECONDS_MAX
        ]
        if self.peak_bytes > PEAK_BYTES_MAX:
            said.append(f"{self.peak_bytes} bytes were allocated for one record")
        return said


def run(mutations: int, seed: int, findings_max: int = 20) -> Report:
    """Mutations `0` to `mutations` of a seed, shared among the kinds of the corpus.

    Ends early at so many findings.
    """
    corpus = read_corpus()
    others = [frame for frames in corpus.values() for frame in frames]
    mutators = {
        kind: [Mutator(seed, each, corpus[each], others) for each in RANKS.get(kind, (kind,))]
        for kind in (*corpus, *RANKS)
    }
    targets, kinds = new_targets(), kinds_of(corpus)
    report = Report(seed, words={kind: Counter() for kind in mutators})
    slowest: dict[str, tuple[float, int]] = {}
    begun = time.perf_counter()
    for turn, first in enumerate(range(0, mutations, RUN_RECORDS)):
        kind = kinds[turn % len(kinds)]
        numbers = range(first, min(first + RUN_RECORDS, mutations))
        values = [_mutation(mutators[kind], number) for number in numbers]
        before = time.perf_counter()
        _read(report, targets[kind], kind, numbers, values)
        if len(report.findings) >= findings_max:
            return report
        slowest[kind] = max(slowest.get(kind, (0.0, 0)), (time.perf_counter() - before, first))
    report.seconds = time.perf_counter() - begun
    report.mutations = mutations
    if report.findings:
        return report
    for kind, (_, first) in sorted(slowest.items()):
        numbers = range(first, min(first + RUN_RECORDS, mutations))
        values = [_mutation(mutators[kind], number) for number in numbers]
        if kind in RANKS:
            _measure(report, targets[kind], kind, first, values)
            continue
        for number, value in zip(numbers, values, strict=True):
            _measure(report, targets[kind], kind, number, [value])
    return report


def _mutation(mutators: Sequence[Mutator], number: int) -> bytes:
    return mutators[number % len(mutators)].mutation(number)


def _read(
    report: Report, target: Target, kind: str, numbers: range, values: list[bytes]
) -> None:
    try:
        report.words[kind].update(target(values))
    except Exception:  # one of them did it: look at each
        for number, value in zip(numbers, values, strict=True):
            try:
                new_targets()[kind](_alone(kind, number, value))
            except Exception:
                report.findings.append(Finding(kind, number, value, traceback.format_exc()))
                return
        # Only together: caches or neighbours matter.
        report.findings.append(Finding(kind, numbers[0], b"", traceback.format_exc()))


def _alone(kind: str, number: int, value: bytes) -> list[bytes]:
    """One mutation as a run of its own; folds tell kinds apart by place."""
    return [b""] * (number % len(RANKS.get(kind, (kind,)))) + [value]


def _measure(
    report: Report, target: Target, kind: str, number: int, values: list[bytes]
) -> None:
    """Time (the best of three, so that a busy machine is no finding) and memory of one record,
    or of a fold over a run of them."""
    seconds = []
    for _ in range(3):
        before = time.perf_counter()
        target(values)
        seconds.append(time.perf_counter() - before)
    measured = (min(seconds), number, sum(map(len, values)))
    report.slowest[kind] = max(report.slowest.get(kind, measured), measured)
    tracemalloc.start()
    target(values)
    report.peak_bytes = max(report.peak_bytes, tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()


def lines(report: Report) -> list[str]:
    """The report for people."""
    said = [
        f"{report.mutations:,} mutations, seed {report.seed}, {report.seconds:.0f} s"
        f" ({report.mutations / max(report.seconds, 1e-9):,.0f}/s)",
        f"{'kind':<18} {'mutations':>10} {'accepted':>9} {'slowest ms':>11}  refused as",
    ]
    for kind, words in report.words.items():
        total = sum(words.values())
        refused = ", ".join(
            f"{word} {number:,}" for word, number in words.most_common() if word != ACCEPTED
        )
        share = words[ACCEPTED] / total if total else 0.0
        slowest_ms = report.slowest.get(kind, (0.0, 0, 0))[0] * 1e3
        said.append(f"{kind:<18} {total:>10,} {share:>8.1%} {slowest_ms:>11.2f}  {refused}")
    records = [(*it, kind) for kind, it in report.slowest.items() if kind not in RANKS]
    for seconds, number, size, kind in sorted(records)[-1:]:
        said.append(
            f"slowest decode: {seconds * 1e3:.2f} ms ({kind}, number {number}, {size:,} bytes);"
            f" largest allocation {report.peak_bytes:,} bytes; of folds, a run of {RUN_RECORDS}"
        )
    said.append(f"crashes and disagreements: {len(report.findings)}")
    return said
