"""The cases of `docs/attribution.md`: read from the page, and laid out as logs.

How a case reads is told on that page. A case knows nothing of how it is played: its times become
log times behind any beginning, its requests get ids of their own, so that all cases fit one log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.streams.joining.traffic import outcome, prediction, shadow
from tests.streams.logs import Log
from tidegate.schemas.marks import Tick
from tidegate.schemas.partitioner import partition_of
from tidegate.schemas.topics import merged_topics

PAGE = Path(__file__).resolve().parents[3] / "docs" / "attribution.md"
TOPICS = [topic.name for topic in merged_topics("joiner")]
SETTLE_MS = 200
"""What is concluded is in a batch that was cut so much later at most."""
TICKS_MS = 300_000
"""Ticks come so often at least: one ten minutes ahead is taken for a broken clock."""
AFTERWARDS_MS = 1_500_000
"""Behind its last line every case runs on for so long: then nothing is pending."""
REWARD_WAIT_MS = 600_000

_SENT = ("prediction", "shadow", "outcome")
_FIELDS = {"served_by": "served_variant", "version": "routing_version", "unit": "unit_id",
           "weight": "sample_weight"}  # fmt: skip
_NUMBERS = ("generation", "version", "weight", "score")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a case: at which time, what happens, with which words, and what becomes of it."""

    at_ms: int
    verb: str
    options: Mapping[str, str]
    flags: tuple[str, ...]
    fate: str = ""

    @property
    def id(self) -> str:
        """Which request of the case."""
        return self.options.get("id", "r")


@dataclass(frozen=True, slots=True)
class Case:
    """A block of the page."""

    name: str
    lines: tuple[Line, ...]

    def all(self, *verbs: str) -> list[Line]:
        """Its lines of these verbs, in the order of time."""
        return [line for line in self.lines if line.verb in verbs]

    @property
    def experiment(self) -> str:
        """Its name as an experiment's."""
        return self.name.replace(" ", "-").replace(",", "")


@dataclass(frozen=True, slots=True)
class Sent:
    """A record of a case: where its line puts it, and where it stands in its log."""

    line: Line
    name: str
    stream: int
    offset: int


@dataclass(slots=True)
class Layout:
    """Logs of one partition index, in rank order, and the records of each case in them."""

    begin_ms: int
    partition: int = 0
    logs: list[Log] = field(default_factory=lambda: [[], [], []])
    stamps_ms: list[list[int]] = field(default_factory=lambda: [[], [], []])
    sent: dict[str, list[Sent]] = field(default_factory=dict)
    end_ms: int = 0

    def add(self, stream: int, record: bytes | Tick | None, stamp_ms: int) -> None:
        """Append a record to a log."""
        self.logs[stream].append(record)
        self.stamps_ms[stream].append(stamp_ms)


# -- the page


def read_cases(page: Path = PAGE) -> list[Case]:
    """All cases of the page, in its order."""
    blocks = page.read_text(encoding="utf-8").split("```truth\n")[1:]
    cases = []
    for block in blocks:
        for text in block.split("```")[0].strip().split("\n\n"):
            name, *lines = text.splitlines()
            cases.append(Case(name, tuple(sorted(map(_line, lines), key=lambda it: it.at_ms))))
    return cases


def read_index(page: Path = PAGE) -> dict[str, list[str]]:
    """What is asked, and the names of the cases that answer it."""
    section = page.read_text(encoding="utf-8").split("## Which case answers what")[1]
    rows = [row.split("|") for row in section.split("\n## ")[0].splitlines() if row[:1] == "|"]
    return {row[1].strip(): [name.strip() for name in row[2].split(";")] for row in rows[2:]}


def _line(text: str) -> Line:
    at, verb, *words = text.split()
    fate = words.pop() if verb in _SENT else ""
    options = dict(word.split("=") for word in words if "=" in word)
    return Line(to_ms(at), verb, options, tuple(word for word in words if "=" not in word), fate)


def to_ms(seconds: str) -> int:
    return round(float(seconds) * 1_000)


# -- logs


def request_id(case: Case, name: str, partition: int, partitions: int) -> str:
    """An id that nobody else has, and whose key belongs to the partition."""
    number = 0
    while partition_of(f"{case.experiment}/{name}/{number}".encode(), partitions) != partition:
        number += 1
    return f"{case.experiment}/{name}/{number}"


def lay_out(
    cases: Sequence[Case], begin_ms: int, partition: int = 0, partitions: int = 1
) -> Layout:
    """All cases side by side in the logs of one partition; time 0 is `begin_ms`."""
    made = Layout(begin_ms, partition, sent={case.name: [] for case in cases})
    lines = [(line.at_ms, case, line) for case in cases for line in case.lines]
    lines.sort(key=lambda it: it[0])
    times = {at_ms + later for at_ms, _, _ in lines for later in (0, SETTLE_MS)}
    last_ms = max(times) + AFTERWARDS_MS
    times |= set(range(0, last_ms + TICKS_MS, TICKS_MS))
    made.end_ms = begin_ms + max(times)
    silent = [line for _, _, line in lines if line.verb == "silent"]
    for at_ms in sorted(times):
        for stream, topic in enumerate(TOPICS):
            if not any(_is_silent(line, topic, at_ms) for line in silent):
                made.add(stream, Tick(begin_ms + at_ms), begin_ms + at_ms)
        for line_ms, case, line in lines:
            if line_ms == at_ms and line.verb in _SENT:
                name = request_id(case, line.id, partition, partitions)
                _send(made, case, line, name)
    return made


def _is_silent(line: Line, topic: str, at_ms: int) -> bool:
    return topic in line.flags and line.at_ms < at_ms < to_ms(line.options["until"])


def _send(made: Layout, case: Case, line: Line, name: str) -> None:
    stream = _SENT.index(line.verb)
    stamp_ms = made.begin_ms + (
        to_ms(line.options["stamp"]) if "stamp" in line.options else line.at_ms
    )
    for value in _encoded(case, line, name, made.begin_ms):
        made.sent[case.name].append(Sent(line, name, stream, len(made.logs[stream])))
        made.add(stream, value, stamp_ms)


def _encoded(case: Case, line: Line, name: str, begin_ms: int) -> Iterator[bytes | None]:
    options = line.options
    if "no-value" in line.flags or "bytes" in options:
        yield None if "no-value" in line.flags else options["bytes"].encode()
    elif line.verb == "outcome":
        metric, value = outcome_of(line)
        at_ms = begin_ms + (to_ms(options["at"]) if "at" in options else line.at_ms)
        kind = "ACTIVATION" if "activation" in line.flags else None
        many = int(options.get("many", 1))
        for number in range(many):
            outcome_id = options.get("as", "o") + (f"-{number}" if many > 1 else "")
            yield outcome(name, at_ms, value, outcome_id, metric, kind=kind)
    else:
        served = options.get("served", "0" if line.verb == "prediction" else str(line.at_ms / 1e3))
        given: dict[str, Any] = {
            _FIELDS.get(key, key): float(text) if key in _NUMBERS else text
            for key, text in options.items()
            if key not in ("id", "served", "wait", "stamp")
        }
        for key in ("generation", "routing_version"):
            given[key] = int(given.get(key, 1))
        given["experiment"] = case.experiment
        if line.verb == "shadow":
            del given["routing_version"]
            yield shadow(name, begin_ms + to_ms(served), **given)
            return
        given.setdefault("served_variant", given.get("variant", "a"))
        given["deferred"] = True if "deferred" in line.flags else None
        wait_ms = to_ms(options["wait"]) if "wait" in options else REWARD_WAIT_MS
        yield prediction(name, begin_ms + to_ms(served), wait_ms, **given)


def outcome_of(line: Line) -> tuple[str, float]:
    """Metric and value of an outcome; an activation has none."""
    for word, text in line.options.items():
        if word not in ("id", "at", "as", "many", "stamp", "bytes"):
            return word, float(text)
    return "", 1.0
