"""The joiner as a whole: what is joined, and that the same is joined whatever happens."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.streams.joining.oracle import expected
from tests.streams.joining.traffic import SETTINGS, Joined, join, random_logs, request
from tests.streams.logs import Log
from tidegate.schemas import facts
from tidegate.schemas.codec import decode_as, encode
from tidegate.schemas.events import DeadLetter, Prediction
from tidegate.schemas.marks import Tick
from tidegate.streams.joining import attribution, outcomes, predictions, requests, state
from tidegate.streams.joining.settings import JoinerSettings

SEEDS = range(12)


def conservation_faults(logs: list[Log], joined: Joined) -> list[str]:
    """Streams for which input = counted + irregular + dead-lettered + pending does not hold."""
    counters = joined.joiner.counters()
    faults = []
    for rank, stream in enumerate(facts.STREAMS):
        parts = (*facts.CLASSES[1:], "counted", "dead_lettered", "pending")
        total = sum(counters[f"{stream}.{part}"] for part in parts)
        records = sum(
            isinstance(record, bytes) or record is None
            for record in logs[rank][: joined.fold.merge.next_offsets[rank]]
        )
        if not records == total == counters[f"{stream}.input"]:
            faults.append(f"{stream}: {records} records, {total} in classes")
    return faults


def classes(joined: Joined) -> Counter[str]:
    """The joiner's own counts, without those the oracle does not tell."""
    skipped = ("input", "dead_lettered", "pending")
    return +Counter(
        {
            name: count
            for name, count in joined.joiner.counters().items()
            if "." in name and name.split(".")[1] not in skipped
        }
    )


def matched(joined: Joined, ids: dict[int, str]) -> Counter[tuple[str, str, float]]:
    """(request, metric, value) of the matched facts."""
    found: Counter[tuple[str, str, float]] = Counter()
    for batch in joined.batches:
        table = batch.tables["matched"]
        for key, metric, value in zip(
            table["request"].tolist(), table["metric"].tolist(), table["value"].tolist(),
            strict=True,
        ):  # fmt: skip
            found[ids[key], batch.names[metric], value] += 1
    return found


def faults_against_the_oracle(seed: int) -> list[str]:
    """What the joiner concluded otherwise than the oracle, on random logs."""
    logs = random_logs(seed)
    joined = join(logs, sizes=lambda: 7, seed=seed)
    wanted = expected(logs, SETTINGS)
    ids = {request(f"request-{n}-é"): f"request-{n}-é" for n in range(200)}
    faults = conservation_faults(logs, joined)
    if classes(joined) != wanted["classes"]:
        faults.append(f"classes: {classes(joined)} not {wanted['classes']}")
    merged: Counter[tuple[str, str, float]] = Counter()
    for (request_id, metric, _, value), count in wanted["matched"].items():
        merged[request_id, metric, value] += count
    if matched(joined, ids) != merged:
        faults.append("matched facts differ")
    pairs = sum(batch.count("shadow") for batch in joined.batches)
    if pairs != sum(wanted["paired"].values()):
        faults.append(f"{pairs} shadow pairs")
    if told_at_the_end(joined) != scored(joined, wanted["paired"]):
        faults.append("what shadows scored differs")
    return faults


def told_at_the_end(joined: Joined) -> Counter[tuple[int, str, float, float]]:
    """Request, variant and both scores of the shadows that closed requests tell of."""
    found: Counter[tuple[int, str, float, float]] = Counter()
    for batch in joined.batches:
        requests, table = batch.tables["closed"]["request"], batch.tables["closed_shadow"]
        for row, context, score, shadow_score in zip(
            *(column.tolist() for column in table.values()), strict=True
        ):
            variant = batch.contexts[context].variant
            found[int(requests[row]), variant, score, shadow_score] += 1
    return found


def scored(
    joined: Joined, paired: Counter[tuple[str, str, float, str | None]]
) -> Counter[tuple[int, str, float, float]]:
    """The same of all pairs whose request has closed; every answer scored 0.25."""
    closed = {
        key for batch in joined.batches for key in batch.tables["closed"]["request"].tolist()
    }
    return Counter({
        (request(name), variant, 0.25, score): count
        for (name, variant, score, _), count in paired.items()
        if request(name) in closed
    })  # fmt: skip


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_joined_is_what_the_rules_say(seed: int) -> None:
    """Matched, paired and every irregular class agree with the order-free reading of the rules,
    and what shadows scored is told again of every request that closes as a fact;
    and every record read is in exactly one class."""
    assert faults_against_the_oracle(seed) == []


def test_the_random_logs_show_every_class() -> None:
    """The oracle's agreement means something only where every rule was used."""
    seen: Counter[str] = Counter()
    for seed in SEEDS:
        seen += classes(join(random_logs(seed)))
    for stream in ("shadow", "outcome"):
        for kind in ("counted", "late", "orphan", "duplicate", "conflict"):
            assert seen[f"{stream}.{kind}"] > 10, (stream, kind, seen)
    assert seen["prediction.duplicate"] > 10
    assert seen["prediction.conflict"] > 10


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("size", [1, 7, 1_000])
def test_the_same_bytes_whatever_the_fetches(seed: int, size: int) -> None:
    """Observations, dead letters and state do not depend on fetch sizes or their order."""
    logs = random_logs(seed)
    reference = join(logs)
    again = join(logs, sizes=lambda: size, seed=size)
    assert again.outputs == reference.outputs
    assert again.fold.dump() == reference.fold.dump()


def test_layouts_are_numbered_alike_in_one_run_and_in_two() -> None:
    """Measures of one request and features of the next share numbers: the order of the records
    decides which is smaller, not where a fetch ended."""
    common: dict[str, Any] = {
        "served_at": 100, "unit_id": "u", "propensity": 0.5, "experiment": "e", "generation": 1,
        "variant": "a", "served_variant": "a", "model": "m", "model_version": "1",
        "routing_epoch": 0, "routing_version": 1, "reason": "SPLIT", "reward_wait_ms": 1_000,
        "status": "OK",
    }  # fmt: skip
    first = Prediction(request_id="r1", measures={"cost": 1.0}, **common)
    second = Prediction(request_id="r2", features={"age": 2.0}, **common)
    later = [Tick(200), Tick(2_000), Tick(4_000)]
    logs: list[Log] = [
        [Tick(100), encode(first), encode(second), *later], [Tick(100), *later], [Tick(100), *later]
    ]  # fmt: skip
    whole, cut = join(logs, sizes=lambda: 1_000), join(logs, sizes=lambda: 1)
    assert cut.values("observations") == whole.values("observations")
    assert cut.fold.dump() == whole.fold.dump()


@pytest.mark.parametrize("seed", range(4))
def test_every_restart_emits_the_same_bytes_again(seed: int) -> None:
    """From any checkpoint on, outputs, later checkpoints and the final state are the same; a
    loaded state dumps to the bytes it came from."""
    logs = random_logs(seed, steps=300)
    reference = join(logs, checkpoint_records=1)
    states = {it.released: it.state for it in reference.checkpoints}
    assert len(states) > 30
    compared = 0
    for checkpoint, emitted in zip(reference.checkpoints, reference.emitted_before, strict=True):
        again = join(
            logs, sizes=lambda: 23, seed=emitted, checkpoint_records=40, state=checkpoint.state
        )
        assert again.outputs == reference.outputs[emitted:]
        assert again.fold.dump() == reference.fold.dump()
        for later in again.checkpoints:
            assert later.state == states[later.released]
            compared += 1
    assert compared > 30


CROWDED = replace(SETTINGS, open_max=30, closed_max=50, waiting_max=20, closed_memory_ms=1_500)


@pytest.mark.parametrize("settings", [SETTINGS, CROWDED])
@pytest.mark.parametrize("young_max", [0, 1, 9])
def test_nobody_sees_which_requests_are_packed(
    young_max: int, settings: JoinerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few requests may be young, outputs and dumps are the same, with caps reached or
    not; so are they after a restart, which leaves none of them young."""
    for seed in (1, 2, 3):
        logs = random_logs(seed, steps=400)
        reference = join(logs, settings, checkpoint_records=60)
        with monkeypatch.context() as patch:
            patch.setattr(requests, "YOUNG_MAX", young_max)
            patch.setattr(requests, "_CHUNK", 3)
            patch.setattr(requests, "_UNPACKED_AT_ONCE", 2)
            again = join(logs, settings, sizes=lambda: 7, seed=seed, checkpoint_records=60)
        assert again.outputs == reference.outputs
        assert again.checkpoints == reference.checkpoints
        assert len(again.checkpoints) > 3
        assert again.fold.dump() == reference.fold.dump()


def test_sequences_are_dense_per_partition_and_say_how_far_they_cover() -> None:
    """Readers drop what they have by number: numbers are dense, and time never goes back."""
    joined = join(random_logs(3))
    by_partition = defaultdict(list)
    for batch in joined.batches:
        by_partition[batch.partition].append(batch)
    assert sorted(by_partition) == [0, 1]
    for batches in by_partition.values():
        assert [it.sequence for it in batches] == list(range(len(batches)))
        for before, after in pairwise(batches):
            assert before.log_time_ms <= after.log_time_ms
            assert all(x <= y for x, y in zip(before.covers, after.covers, strict=True))
    assert {it.engine for it in joined.batches} == {"engine-1"}
    assert {it.source_partition for it in joined.batches} == {1}


def test_dead_letters_name_reason_and_place() -> None:
    """Unreadable records go to `dead-letters` in the order of their log, with offset and reason,
    and change nothing else."""
    logs = random_logs(5)
    joined = join(logs)
    letters = [decode_as(DeadLetter, value) for value in joined.values("dead-letters")]
    assert {letter.reason for letter in letters} == {"empty", "framing", "schema", "clock"}
    for letter in letters:
        rank = ("predictions", "shadow-predictions", "outcomes").index(letter.topic)
        assert letter.value == (logs[rank][letter.offset] or b"")
        assert (letter.partition, letter.engine) == (1, "engine-1")
    for topic in ("predictions", "outcomes"):
        offsets = [letter.offset for letter in letters if letter.topic == topic]
        assert offsets == sorted(set(offsets))
    bare: list[Log] = [
        [it for it in log if it not in (None, b"junk") and not _unknown(it)] for log in logs
    ]
    assert classes(join(bare)) == classes(joined)


def _unknown(record: object) -> bool:
    return isinstance(record, bytes) and record.endswith(b"\0" * 30)


_DIGEST = """
import hashlib
from tests.streams.joining.traffic import join, random_logs
joined = join(random_logs(7), sizes=lambda: 11, seed=5)
told = b"".join(output.value for output in joined.outputs) + joined.fold.dump()
print(hashlib.sha256(told).hexdigest())
"""


def test_nothing_depends_on_the_hash_seed() -> None:
    """Processes with other PYTHONHASHSEED emit the same bytes and have the same state."""
    digests = set()
    for seed in ("0", "1", "4711"):
        done = subprocess.run(
            [sys.executable, "-c", _DIGEST], env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[3], capture_output=True, text=True, check=True,
        )  # fmt: skip
        digests.add(done.stdout.strip())
    joined = join(random_logs(7))
    told = b"".join(output.value or b"" for output in joined.outputs) + joined.fold.dump()
    assert digests == {hashlib.sha256(told).hexdigest()}


def _closed_window(after_ms: int, reward_wait_ms: int, early_tolerance_ms: int) -> bool:
    return -early_tolerance_ms <= after_ms <= reward_wait_ms


def _no_early_tolerance(after_ms: int, reward_wait_ms: int, early_tolerance_ms: int) -> bool:
    return 0 <= after_ms < reward_wait_ms


def _deadline_by_log_time(log_time_ms: int, served_at_ms: int, wait_ms: int) -> int:
    return -(-(log_time_ms + wait_ms) // 100) * 100


def _never_found(state: bytes, start: int, name: bytes) -> int:
    return -1


def _everything_from_the_future(
    event_ms: int, log_time_ms: int, timestamp_ms: int, tolerance_ms: int
) -> bool:
    return event_ms > log_time_ms


PLANTED = {
    "window closed at its end": (attribution, "in_window", _closed_window),
    "no early tolerance": (attribution, "in_window", _no_early_tolerance),
    "deadline ignores served_at": (attribution, "deadline_ms", _deadline_by_log_time),
    "duplicates count": (attribution, "find_entry", _never_found),
    "future is now": (attribution, "is_from_the_future", _everything_from_the_future),
    "early outcomes are dropped": (predictions.Predictions, "_welcome", lambda self, key: None),
    "conflicts are duplicates": (outcomes, "CONFLICT", state.DUPLICATE),
    "orphans vanish": (state.JoinState, "give_up", lambda self, kind, key, item: None),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_bugs_are_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every planted bug makes the joiner differ from the oracle on some of the seeds."""
    place, attribute, bug = PLANTED[name]
    monkeypatch.setattr(place, attribute, bug)
    assert any(faults_against_the_oracle(seed) for seed in SEEDS)
