"""What facts say: every column of every kind, from the records that caused them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from tests.streams.joining.scenario import Scenario
from tests.streams.joining.traffic import BEGIN_MS, SETTINGS, outcome, prediction, request
from tidegate.schemas.context import Context
from tidegate.schemas.facts import CLASSES
from tidegate.schemas.partitioner import partition_of
from tidegate.streams.joining.settings import BATCH_BYTES

CONTEXT = Context("ranker", 1, "a", "a", "m", "1", 0, 3, "SPLIT")


def absent(value: float) -> bool:
    """Whether a column says "none"."""
    return math.isnan(value)


def test_a_prediction_is_an_exposure_at_once() -> None:
    """The exposure holds what the prediction said, absent values as NaN."""
    scenario = Scenario().predict(
        attributes={"region": "eu"}, status="ERROR", sample_weight=2.0, latency_ms=None
    )
    (row,) = scenario.at(100).rows("exposure")
    assert absent(row.pop("latency"))
    assert row.pop("unit") == request("unit-of-r")
    assert row == {
        "request": request("r"), "context": CONTEXT, "attributes": (("region", "eu"),),
        "served_at": BEGIN_MS, "propensity": 0.5, "score": 0.25, "status": 2, "weight": 2.0,
    }  # fmt: skip


def test_features_and_measures_belong_to_their_rows() -> None:
    """Features come with the exposure and again when the request closes, measures only with the
    exposure; requests without them keep their places."""
    scenario = Scenario()
    scenario.predict("plain")
    scenario.predict("rich", features={"b": 2.0, "a": 1.0}, measures={"cost": 0.5})
    scenario.predict("other", features={"b": 3.0})
    scenario.at(700)
    assert scenario.rows("exposure_feature") == [
        {"row": 1, "feature": "a", "value": 1.0},
        {"row": 1, "feature": "b", "value": 2.0},
        {"row": 2, "feature": "b", "value": 3.0},
    ]
    assert scenario.rows("closed_feature") == scenario.rows("exposure_feature")
    assert scenario.rows("measure") == [{"row": 1, "name": "cost", "value": 0.5}]


def test_an_outcome_is_matched_and_summed_up_when_its_request_closes() -> None:
    """Matched facts come at once with metric and source; the closed request has one row per
    metric, and requests without outcomes have none."""
    scenario = Scenario().predict("r").predict("without")
    scenario.outcome(value=2.0, at_ms=20, outcome_id="x", metric="revenue", source="web")
    scenario.outcome(value=1.0, at_ms=10, outcome_id="y", metric="revenue").at(100)
    first, second = scenario.rows("matched")
    assert first == {
        "request": request("r"), "context": CONTEXT, "metric": "revenue", "value": 2.0,
        "occurred_at": BEGIN_MS + 20, "source": "web",
    }  # fmt: skip
    assert second["source"] is None
    scenario.at(700)
    assert [row["request"] for row in scenario.rows("closed")] == [request("r"), request("without")]
    assert scenario.rows("closed_metric") == [
        {
            "row": 0, "metric": "revenue", "count": 2, "first": 1.0, "last": 2.0, "sum": 3.0,
            "min": 1.0, "max": 2.0,
        }
    ]  # fmt: skip


def test_a_shadow_is_paired_with_its_prediction() -> None:
    """A pair holds both scores, latencies, statuses and contexts, and whether labels agree."""
    scenario = Scenario().predict(label="cat").shadow(label="dog", status="TIMEOUT").at(100)
    (row,) = scenario.rows("shadow")
    assert row == {
        "request": request("r"), "context": CONTEXT,
        "shadow_context": CONTEXT._replace(
            variant="b", served_variant="b", model_version="2", routing_version=0, reason="SHADOW"
        ),
        "score": 0.25, "shadow_score": 0.5, "agree": 0, "latency": 12.0, "shadow_latency": 20.0,
        "status": 0, "shadow_status": 3,
    }  # fmt: skip


def test_a_shadow_that_comes_first_waits() -> None:
    """A shadow before its prediction is paired when that comes; without one it is an orphan."""
    scenario = Scenario().shadow("r").shadow("nobody")
    assert scenario.count("shadow.pending") == 2
    scenario.at(200).predict("r").at(300)
    assert len(scenario.rows("shadow")) == 1
    assert scenario.irregular() == ["shadow orphan"]
    assert scenario.rows("irregular")[0]["context"] is None


@pytest.mark.parametrize(
    ("changes", "becomes"),
    [
        ({}, "shadow duplicate"),
        ({"score": None}, "shadow conflict"),
        ({"label": "cat"}, "shadow conflict"),
    ],
)
@pytest.mark.parametrize("closed", [False, True])
def test_a_request_has_one_shadow_per_context(
    changes: dict[str, Any], becomes: str, closed: bool
) -> None:
    """The same shadow again is a duplicate, with another answer a conflict, at any time; a shadow
    of another variant is another pair, or late."""
    scenario = Scenario().predict().shadow()
    if closed:
        scenario.at(700)
    scenario.shadow(**changes).shadow(variant="c").at(scenario.now_ms + 100)
    assert scenario.irregular() == [becomes, *(["shadow late"] if closed else [])]
    assert len(scenario.rows("shadow")) == (1 if closed else 2)


def test_a_repeated_absent_score_is_a_duplicate() -> None:
    """NaN equals nothing, but two shadows without a score say the same."""
    scenario = Scenario().predict().shadow(score=None).shadow(score=None).at(100)
    assert scenario.irregular() == ["shadow duplicate"]


def test_facts_go_to_the_partition_of_their_experiment() -> None:
    """An experiment's facts are in one partition of observations, by Kafka's own partitioner; what
    has no request goes by source partition."""
    scenario = Scenario()
    for name in ("ranker", "pricer", "other"):
        scenario.predict(name, experiment=name)
    scenario.outcome("nobody").at(700)
    for batch in scenario.batches():
        for context in batch.contexts:
            assert batch.partition == partition_of(context.experiment.encode(), 2)
        assert batch.count("irregular") == 0 or batch.partition == 0


def test_dead_letters_change_nothing() -> None:
    """An event from the future is refused when log time and timestamp agree, with its place."""
    scenario = Scenario()
    future = prediction("r", BEGIN_MS + 6_000)
    scenario.send(0, future, timestamps_ms=[0]).send(0, b"junk", None)
    letters = scenario.dead_letters()
    assert [(it.reason, it.offset) for it in letters] == [
        ("clock", 0), ("framing", 1), ("empty", 2),
    ]  # fmt: skip
    assert (letters[0].topic, letters[0].log_time) == ("predictions", BEGIN_MS)
    assert scenario.count("prediction.dead_lettered") == 3
    assert scenario.count("prediction.pending") == 0
    scenario.send(0, future, timestamps_ms=[5_000])
    assert scenario.count("prediction.pending") == 1


def test_of_a_large_dead_letter_only_the_beginning_is_kept() -> None:
    """A dead letter holds at most 4,096 bytes of the record."""
    scenario = Scenario().send(2, b"x" * 10_000)
    assert len(scenario.dead_letters()[0].value) == 4_096


def test_an_empty_batch_says_how_far_it_has_come() -> None:
    """Without facts a batch goes out every second of log time; with facts every 100 ms."""
    scenario = Scenario()
    told = len(scenario.batches())
    assert told == 2  # one for each partition when time begins
    scenario.at(900)
    assert len(scenario.batches()) == told
    scenario.at(1_000)
    assert [it.log_time_ms for it in scenario.batches()[told:]] == [BEGIN_MS + 1_000] * 2
    told += 2
    scenario.predict().at(1_049)
    assert len(scenario.batches()) == told
    scenario.at(1_100)
    assert [it.log_time_ms for it in scenario.batches()[told:]] == [BEGIN_MS + 1_100]


def test_ticks_may_be_a_moment_early() -> None:
    """Facts go out at each tick of an uneven ticker, and at most once per interval on average."""
    scenario = Scenario().at(1_000)
    told = len(scenario.batches())
    for at_ms in (1_103, 1_201, 1_300, 1_330, 1_399, 1_502):
        scenario.predict().at(at_ms)
    told_of = ("exposure", "irregular")
    found = [it for it in scenario.batches()[told:] if any(map(it.count, told_of))]
    cuts = [it.log_time_ms - BEGIN_MS for it in found]
    assert cuts == [1_103, 1_201, 1_300, 1_399, 1_502]


def test_a_full_batch_is_cut_within_an_interval() -> None:
    """A batch holds at most `facts_per_batch` facts, and says up to which offsets it covers and
    that the interval is not complete."""
    scenario = Scenario(replace(SETTINGS, facts_per_batch=10))
    told = len(scenario.batches())
    scenario.send(0, *(prediction(f"r{n}", BEGIN_MS) for n in range(25)))
    batches = scenario.batches()[told:]
    assert [it.count("exposure") for it in batches] == [10, 10]
    assert [it.covers for it in batches] == [(10, 0, 0), (20, 0, 0)]
    assert {it.log_time_ms for it in batches} == {BEGIN_MS}


def test_a_batch_says_no_more_than_what_is_concluded() -> None:
    """Batches cut while requests close still tell the time before: only the last one, behind
    which nothing due is left, tells the new time."""
    scenario = Scenario(replace(SETTINGS, facts_per_batch=10))
    scenario.send(0, *(prediction(f"r{n}", BEGIN_MS) for n in range(25))).at(500)
    told = len(scenario.batches())
    scenario.at(600)
    batches = scenario.batches()[told:]
    assert [it.count("closed") for it in batches] == [10, 10, 5]
    assert [it.log_time_ms - BEGIN_MS for it in batches] == [500, 500, 600]


def test_a_batch_stays_below_the_size_of_a_record() -> None:
    """Texts and features count: however long, an observation stays below BATCH_BYTES and a row."""
    scenario = Scenario(replace(SETTINGS, facts_per_batch=5_000))
    features = {f"feature-{number}-{'x' * 40}": 1.0 for number in range(64)}
    for number in range(400):
        scenario.predict(f"r{number}", features=features, variant=f"{number}-{'v' * 200}")
    scenario.at(900)
    values = [it.value or b"" for it in scenario.outputs]
    assert len(values) > 4
    assert max(map(len, values)) < BATCH_BYTES
    assert len(scenario.rows("closed_feature")) == 400 * 64


def test_late_facts_name_the_recorded_prediction() -> None:
    """A late outcome carries context, metric and value, so that it is counted per variant."""
    scenario = Scenario().predict().at(700).outcome(value=4.0).at(800)
    (row,) = scenario.rows("irregular")
    assert row == {
        "class": CLASSES.index("late"), "stream": 2, "request": request("r"),
        "context": CONTEXT, "metric": "click", "value": 4.0,
    }  # fmt: skip


def test_an_outcome_may_be_read_before_its_prediction_in_the_same_batch() -> None:
    """Outcomes of several metrics wait together and are matched in the order they came."""
    scenario = Scenario()
    scenario.send(
        2, outcome("r", BEGIN_MS, 1.0, "x"), outcome("r", BEGIN_MS, 2.0, "x", "revenue"),
        outcome("r", BEGIN_MS, 1.0, "x"), outcome("r", BEGIN_MS - 151, 1.0, "y"),
    )  # fmt: skip
    scenario.at(100).predict().at(200)
    assert [row["metric"] for row in scenario.rows("matched")] == ["click", "revenue"]
    assert scenario.irregular() == ["outcome duplicate", "outcome late"]
    assert scenario.count("outcome.pending") == 0


def scored(scenario: Scenario) -> list[tuple[int, str, float, float]]:
    """Row, variant and both scores of all closed shadows."""
    return [
        (row["row"], row["shadow_context"].variant, row["score"], row["shadow_score"])
        for row in scenario.rows("closed_shadow")
    ]


@pytest.mark.parametrize("first", ["shadow", "outcome"])
def test_a_closed_request_says_what_its_shadows_scored(first: str) -> None:
    """With the answer's score, undiminished, whether the outcome or the shadow came first, and in
    the order in which the shadows came; requests without shadows keep their rows."""
    scenario = Scenario().predict("plain").predict("r", score=0.1)
    if first == "outcome":
        scenario.outcome("r")
    scenario.shadow("r", variant="c", score=0.7).shadow("r", variant="b", score=0.3)
    if first == "shadow":
        scenario.outcome("r")
    assert scenario.at(599).rows("closed_shadow") == []
    scenario.at(700)
    assert scored(scenario) == [(1, "c", 0.1, 0.7), (1, "b", 0.1, 0.3)]
    assert [row["row"] for row in scenario.rows("closed_metric")] == [1]


@pytest.mark.parametrize("features", [None, {"x": 1.0}])
def test_only_two_scores_can_be_held_against_an_outcome(features: Any) -> None:
    """A shadow without a score, or beside an answer without one, is paired but not told again; a
    late or repeated one neither."""
    scenario = Scenario()
    scenario.predict("mute", score=None, features=features).shadow("mute")
    scenario.predict("r", features=features)
    scenario.shadow("r", score=None, label="cat").shadow("r", variant="c", score=-1.5)
    scenario.shadow("r", variant="c", score=2.0).at(700).shadow("r", variant="d").at(800)
    assert len(scenario.rows("shadow")) == 3
    assert scored(scenario) == [(1, "c", 0.25, -1.5)]
    assert scenario.irregular() == ["shadow conflict", "shadow late"]


@pytest.mark.parametrize("used", [False, True])
def test_a_shadow_of_a_deferred_request_is_told_when_that_was_used(used: bool) -> None:
    """What was never activated closes as no fact, and so do its shadows."""
    scenario = Scenario().predict(deferred=True).shadow()
    if used:
        scenario.outcome(metric="", kind="ACTIVATION")
    scenario.at(700)
    assert scored(scenario) == ([(0, "b", 0.25, 0.5)] if used else [])


def test_what_shadows_scored_survives_a_restart() -> None:
    """Kept with the request, and in an open batch once it has closed."""
    scenario = Scenario(replace(SETTINGS, emit_interval_ms=5_000)).predict().shadow().seal()
    scenario.reload().at(700)
    assert scored(scenario) == []
    scenario.reload().at(2_600)
    assert scored(scenario) == [(0, "b", 0.25, 0.5)]


def test_the_texts_of_many_shadows_do_not_burst_a_record() -> None:
    """However many shadows with texts however long: a request of whose shadows the rest of a batch
    cannot hold the texts begins the next one, with all that hangs on it."""
    scenario = Scenario(replace(SETTINGS, facts_per_batch=5_000))
    for number in range(12):
        name = f"r{number}"
        scenario.predict(name, reward_wait_ms=500)
        for each in range(150):
            version = f"{number}-{each}-{'v' * 240}"
            scenario.shadow(name, variant="x" * 255, model="m" * 255, model_version=version)
        scenario.outcome(name, value=float(number))
    told = len(scenario.batches())
    scenario.at(900)
    values = [it.value or b"" for it in scenario.outputs if it.topic == "observations"][told:]
    assert len(values) > 2
    assert max(map(len, values)) < BATCH_BYTES
    assert len(scored(scenario)) == 12 * 150
    for batch in scenario.batches()[told:]:
        requests, rows = batch.count("closed"), batch.tables["closed_shadow"]["row"].tolist()
        assert sorted(rows) == sorted(150 * list(range(requests)))
        assert batch.tables["closed_metric"]["row"].tolist() == list(range(requests))
