"""Faults of data, row by row: what is promised, and which tests hold it.

The rows are those of the fault matrix the design was reviewed against. Where a promise has become
another one since, the row says so.
"""

from __future__ import annotations

import ast
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.streams.deciding.world import spec_of
from tests.streams.joining.scenario import Scenario
from tests.streams.joining.traffic import BEGIN_MS, SETTINGS, join, outcome, prediction, shadow
from tests.streams.logs import Log, tick_all
from tidegate.schemas.errors import EventError
from tidegate.schemas.manifest.spec import ExperimentSpec

ROOT = Path(__file__).resolve().parent.parent
# Row, what is promised, and the tests that hold it.
TABLE = """
D1  sent again: once is counted, what differs is a conflict, and both are counted exactly
    tests/test_data_faults.py::test_repeats_are_counted_exactly
    tests/streams/joining/test_truth_table.py::test_a_case_of_the_page
D2  out of order between topics: the same bytes; inside a topic and interval: the same facts
    tests/test_data_faults.py::test_a_thousand_interleavings_give_the_same_bytes
    tests/test_data_faults.py::test_order_inside_an_interval_changes_no_class
D3  late: counted as late, never applied, by variant
    tests/streams/joining/test_truth_table.py::test_what_variants_count_is_what_the_joiner_counted
    tests/streams/joining/test_joiner.py::test_what_is_joined_is_what_the_rules_say
D4  outcome before prediction: held, bounded, then joined
    tests/streams/joining/test_truth_table.py::test_a_case_of_the_page
    tests/streams/joining/test_bounds.py::test_too_many_waiting_records_expire_first_come_first
D5  skewed clocks: a dead letter beyond five minutes, and nobody else notices
    tests/test_data_faults.py::test_a_skewed_emitter_moves_nobody_else
    tests/streams/joining/test_attribution.py::test_only_both_clocks_make_an_event_come_from_the_future
    tests/integration/test_replay_set.py::test_one_input_gives_one_digest_whatever_happens_to_the_workers
D6  bad framing, empty, another topic's schema: a dead letter that says where, and on it goes
    tests/schemas/test_codec.py::test_records_of_another_schema_are_refused
    tests/schemas/test_codec.py::test_a_record_without_value_is_refused
    tests/schemas/test_codec.py::test_bytes_behind_the_record_are_refused
    tests/streams/joining/test_facts.py::test_dead_letters_change_nothing
    tests/streams/joining/test_facts.py::test_of_a_large_dead_letter_only_the_beginning_is_kept
D7  truncated or flipped: refused or plausible, never a crash; the accepted share is printed
    tests/schemas/test_codec.py::test_every_prefix_is_refused
    tests/schemas/test_codec.py::test_flipped_bits_are_refused_or_decode_to_something_sound
    tests/fuzz/test_fuzz.py::test_nothing_crashes_and_readers_agree
D8  unknown schema id: its partition waits, others do not, nothing is lost (not parked for a time)
    tests/streams/joining/test_unbound.py::test_an_unbound_id_changes_nothing_and_is_taken_later
    tests/agents/test_registry.py::test_an_unknown_id_is_asked_for_until_it_is_known
D9  hostile schemas: only released fingerprints are decoded
    tests/agents/test_registry.py::test_a_released_schema_is_bound_and_others_are_refused
    tests/schemas/test_codec.py::test_records_of_another_schema_are_refused
D10 NaN, infinity, out of range: refused on the wire, in facts and in JSON
    tests/schemas/test_codec.py::test_impossible_events_are_neither_written_nor_read
    tests/schemas/test_facts.py::test_columns_are_guarded
    tests/test_data_faults.py::test_numbers_json_should_not_have_are_no_spec
D11 huge texts and maps: refused before they are decoded
    tests/schemas/test_codec.py::test_records_above_the_cap_are_refused_before_they_are_decoded
    tests/schemas/test_codec.py::test_impossible_events_are_neither_written_nor_read
D12 Avro bombs: refused at load or while walking, without memory
    tests/schemas/test_catalogue.py::test_a_schema_that_could_exhaust_memory_is_not_loaded
    tests/schemas/test_codec.py::test_refusing_hostile_bytes_takes_no_memory
    tests/fuzz/test_fuzz.py::test_nothing_crashes_and_readers_agree
D13 compressed bombs: dead letters, or refused by the broker; what the client will not unpack stops
    tests/integration/test_bomb.py::test_a_compressed_bomb_becomes_dead_letters
    tests/integration/test_bomb.py::test_topics_that_keep_records_unpacked_refuse_bombs
    tests/integration/test_bomb.py::test_a_bomb_the_client_will_not_unpack_stops_the_worker
D14 negative or absurd latency: a dead letter, not clamped
    tests/schemas/test_codec.py::test_impossible_events_are_neither_written_nor_read
    tests/schemas/test_facts.py::test_columns_are_guarded
D15 unknown experiment, generation or variant: counted, no state
    tests/streams/deciding/test_decider.py::test_facts_are_counted_by_where_they_belong
D16 propensity 0 or above 1: a dead letter; untrue ones show in the sum of their inverses
    tests/schemas/test_codec.py::test_impossible_events_are_neither_written_nor_read
    tests/streams/estimation/test_ledger.py::test_everything_is_counted_and_only_split_is_learnt_from
D17 same request id, another prediction: the first stands, the other is a conflict
    tests/streams/joining/test_truth_table.py::test_a_case_of_the_page
"""


def rows() -> dict[str, list[str]]:
    """Tests by row."""
    found: dict[str, list[str]] = {}
    row = ""
    for line in TABLE.strip().splitlines():
        if line.startswith("D"):
            row = line.split()[0]
            found[row] = []
        else:
            found[row].append(line.strip())
    return found


def test_every_row_is_held() -> None:
    """D1 to D17, each by tests that exist."""
    assert list(rows()) == [f"D{number}" for number in range(1, 18)]
    for row, tests in rows().items():
        assert tests, row
        for test in tests:
            file, name = test.split("::")
            tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
            named = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
            assert name in named, test


def test_repeats_are_counted_exactly() -> None:
    """D1: of every three outcomes one comes again, as it was or with another value; each request
    counts one, and duplicates and conflicts are those that were sent."""
    draw = random.Random(1)
    scenario = Scenario()
    sent: Counter[str] = Counter()
    for number in range(600):
        scenario.predict(f"r{number}").outcome(f"r{number}", value=1.0)
        for _ in range(draw.choice((0, 0, 1))):
            kind = draw.choice(("duplicate", "conflict"))
            sent[kind] += 1
            scenario.outcome(f"r{number}", value=1.0 if kind == "duplicate" else 0.0)
    assert scenario.count("outcome.counted") == 600
    assert {kind: scenario.count(f"outcome.{kind}") for kind in sent} == sent
    assert min(sent.values()) > 50


def test_a_thousand_interleavings_give_the_same_bytes() -> None:
    """D2: however fetches of the three topics arrive, observations and state are the same."""
    logs: list[Log] = [[], [], []]
    for interval in range(2):
        now_ms = BEGIN_MS + 300 * interval
        tick_all(logs, now_ms)
        for number in range(3):
            logs[number % 2 * 2].append(outcome("early", now_ms) if number % 2 else b"junk")
            logs[0].append(prediction(f"{interval}-{number}", now_ms))
            logs[1].append(shadow(f"{interval}-{number}", now_ms))
            logs[2].append(outcome(f"{interval}-{number - 1}", now_ms + 1))
    tick_all(logs, BEGIN_MS + 700)
    reference = join(logs)
    for seed in range(1_000):
        again = join(logs, sizes=lambda seed=seed: 1 + seed % 7, seed=seed)  # type: ignore[misc]
        assert again.outputs == reference.outputs, seed
    assert again.fold.dump() == reference.fold.dump()


def test_order_inside_an_interval_changes_no_class() -> None:
    """D2: records of different requests may change places inside an interval of their topic."""
    draw = random.Random(2)
    found = []
    for shuffled in (False, True):
        logs: list[Log] = [[], [], []]
        for interval in range(20):
            now_ms = BEGIN_MS + 100 * interval
            tick_all(logs, now_ms)
            names = [f"{interval}-{number}" for number in range(20)]
            for rank in (0, 2):
                if shuffled:
                    draw.shuffle(names)
                logs[rank] += [
                    prediction(name, now_ms) if rank == 0 else outcome(name, now_ms + 1)
                    for name in names
                ]
        tick_all(logs, BEGIN_MS + 5_000)
        joined = join(logs)
        matched = Counter(
            request
            for batch in joined.batches
            for request in batch.tables["matched"]["request"].tolist()
        )
        counters = joined.joiner.counters()
        del counters["facts"]
        found.append((matched, counters))
    assert found[0] == found[1]
    assert sum(found[0][0].values()) == 400


@pytest.mark.parametrize("skew_ms", [-86_400_000, -90_000, 90_000, 86_400_000])
def test_a_skewed_emitter_moves_nobody_else(skew_ms: int) -> None:
    """D5: what one emitter claims about the time neither closes nor delays other requests; its own
    are joined by their own difference, or refused when they claim to be from the future."""
    settings = replace(SETTINGS, future_tolerance_ms=300_000)
    found = []
    for skewed in (False, True):
        scenario = Scenario(settings)
        scenario.predict("honest").outcome("honest", at_ms=10)
        if skewed:
            scenario.predict("skewed", served_ms=skew_ms)
            scenario.outcome("skewed", at_ms=skew_ms + 10)
        scenario.at(599)
        assert scenario.rows("closed") == []
        scenario.at(700)
        rows = [row["request"] for row in scenario.rows("closed")]
        found.append(rows[:1])
        if skewed:
            refused = len(scenario.dead_letters())
            assert refused == (2 if skew_ms > 300_000 else 0)
            assert scenario.count("outcome.counted") == (1 if refused else 2)
    assert found[0] == found[1]
    assert len(found[0]) == 1


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_json_should_not_have_are_no_spec(number: str) -> None:
    """D10: a manifest on `control` is JSON that others may have written."""
    text = spec_of().to_json()
    ExperimentSpec.from_json(text)
    hostile = text.replace('"default":0.0', f'"default":{number}')
    assert hostile != text
    with pytest.raises(EventError):
        ExperimentSpec.from_json(hostile)
