"""A short campaign; the long one is `python -m tests.fuzz`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fuzz import guided
from tests.fuzz.campaign import PEAK_BYTES_MAX, Report, lines, run
from tests.fuzz.mutating import Mutator, read_corpus
from tests.fuzz.targets import ACCEPTED, new_targets
from tidegate.schemas import marks, observation_reading
from tidegate.schemas.decoding.cursor import Cursor
from tidegate.schemas.marks import Marker
from tidegate.streams.joining import outcomes

MUTATIONS = 20_000


@pytest.fixture(scope="module")
def short() -> Report:
    """One campaign for all tests that look at one."""
    return run(MUTATIONS, seed=1)


def test_nothing_crashes_and_readers_agree(short: Report) -> None:
    """Every mutation is refused with a reason or read soundly; many at once equal one by one; folds
    keep count and can be kept; no record makes its reader allocate much."""
    assert [f"{it.kind} {it.number}: {it.error}" for it in short.findings] == []
    assert short.peak_bytes < PEAK_BYTES_MAX
    assert sum(sum(words.values()) for words in short.words.values()) == MUTATIONS
    assert lines(short)[-1] == "crashes and disagreements: 0"


def test_the_campaign_is_not_vacuous(short: Report) -> None:
    """Every kind has mutations that are refused and some that are accepted, and every reason for
    which an event's bytes can be refused comes up."""
    for kind, words in short.words.items():
        assert words[ACCEPTED] > 0, kind
        assert sum(words.values()) > words[ACCEPTED], kind
    every: Counter[str] = Counter()
    for words in short.words.values():
        every += words
    reasons = (
        "framing", "schema", "truncated", "trailing", "value", "length", "latency", "propensity",
        "wait",
    )  # fmt: skip
    assert [reason for reason in reasons if not every[reason]] == []


@pytest.mark.parametrize("kind", sorted(read_corpus()))
def test_the_corpus_is_sound(kind: str) -> None:
    """Frames of the corpus are read for ever: what they come from was once written by us."""
    for frame in read_corpus()[kind]:
        assert new_targets()[kind]([frame]) in ([ACCEPTED], ["unbound"])


def test_a_mutation_is_made_again_from_its_number() -> None:
    """A finding is reported by seed and number alone."""
    corpus = read_corpus()
    one, other = (Mutator(7, "outcome", corpus["outcome"], corpus["tick"]) for _ in range(2))
    made = [one.mutation(number) for number in range(50)]
    assert [other.mutation(number) for number in reversed(range(50))] == made[::-1]
    assert len(set(made)) > 40


def test_guided_inputs_reach_their_reader(tmp_path: Path) -> None:
    """What coverage-guided fuzzing begins with is the corpus, each frame at its own reader."""
    corpus = read_corpus()
    guided.seeds(tmp_path, corpus)
    found: dict[str, list[bytes]] = {kind: [] for kind in corpus}
    for path in tmp_path.iterdir():
        kind, frame = guided.split(path.read_bytes(), sorted(corpus))
        found[kind].append(frame)
    assert {kind: sorted(frames) for kind, frames in found.items()} == {
        kind: sorted(frames) for kind, frames in corpus.items()
    }
    assert set(corpus) <= set(new_targets())


def _unguarded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cursor, "time", Cursor.long)


def _unguarded_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observation_reading, "_check_table", lambda *_: None)


def _lost_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes, "refuse", lambda *_: None)


def _deep_markers(monkeypatch: pytest.MonkeyPatch) -> None:
    def trusting(value: bytes) -> Marker | None:
        try:
            document = json.loads(value)
            return Marker(document["kind"], document["arguments"])
        except (ValueError, KeyError, TypeError):
            return None

    monkeypatch.setattr(marks, "_read_marker", trusting)


@pytest.mark.parametrize(
    "plant", [_unguarded_time, _unguarded_tables, _lost_count, _deep_markers]
)
def test_planted_faults_are_found(
    plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a guard taken away, the short campaign finds something."""
    plant(monkeypatch)
    assert run(MUTATIONS, seed=1, findings_max=1).findings
