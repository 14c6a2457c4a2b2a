"""What happened: decisions, one request, and what could not be counted."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import pytest

from tests.agents.commands.recorded import NAME, Recorder, now_ms, run, table
from tests.schemas.samples import event
from tidegate.agents.commands import events as events_command
from tidegate.agents.commands.options import Output
from tidegate.agents.commands.printing import Bar
from tidegate.agents.kafka import read_topic
from tidegate.agents.settings import Settings
from tidegate.schemas.codec import decode_as, encode
from tidegate.schemas.events import Outcome, Prediction
from tidegate.schemas.partitioner import partition_of

Captured = pytest.CaptureFixture[str]
SERVED_MS = 1_700_000_000_000


@pytest.fixture
def recorder(embedded_settings: Settings) -> Recorder:
    """Empty logs."""
    return Recorder(embedded_settings)


# -- long logs


def test_a_long_search_shows_how_far_it_has_come_to_people_only(
    recorder: Recorder, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is looked through in vain is all of it; nothing is drawn where nobody looks."""
    expected, done = [], []
    monkeypatch.setattr(Bar, "expect", lambda bar, count: expected.append(count))
    monkeypatch.setattr(Bar, "advance", lambda bar, count: done.append(count))
    for number in range(300):
        recorder.request("outcomes", event("outcome", request_id=f"r{number}"), "unknown")
    answer = run(recorder.settings, capsys, "why", "unknown")
    assert (answer.code, answer.err) == (1, "")
    assert sum(expected) == sum(done) == 300
    assert len([count for count in done if count]) > 1


# -- events


def test_records_that_a_registry_would_have_to_explain_are_passed_over(
    recorder: Recorder, capsys: Captured
) -> None:
    """A stray frame with a schema id stands in nobody's way: agents write none."""
    stray = b"\x00\x00\x00\x00\x07stray"
    for topic in ("decisions", "commands", "routing"):
        recorder.put(topic, stray)
    recorder.decide(1, phase="PROMOTED")
    recorder.put("dead-letters", stray, partition=0)
    recorder.put("routing", table())
    for words in (("events", NAME), ("status", NAME), ("get", NAME), ("dead-letters", "list")):
        answer = run(recorder.settings, capsys, *words)
        assert answer.code == 0, answer.err


def test_decisions_are_sentences_in_order_and_once(recorder: Recorder, capsys: Captured) -> None:
    """Oldest first, duplicates of a restarted decider dropped, other experiments left out."""
    recorder.decide(1, variant="", reason="applied for the first time by ada")
    recorder.decide(2, "ROLLBACK", variant="challenger", reason="errors 4.1 % against 1.0 %")
    recorder.decide(2, "ROLLBACK", variant="challenger", reason="errors 4.1 % against 1.0 %")
    recorder.decide(3, experiment="another", decision_id="another/1/3")
    answer = run(recorder.settings, capsys, "events", NAME)
    assert answer.code == 0
    first, second = answer.out.splitlines()
    assert first.endswith(f"{NAME}  g3 v1  APPLY                 applied for the first time by ada")
    assert second.endswith("g3 v2  ROLLBACK challenger   errors 4.1 % against 1.0 %")


def test_decisions_are_facts_with_evidence(recorder: Recorder, capsys: Captured) -> None:
    """JSON has the record's fields, the evidence as an object."""
    recorder.decide(1)
    recorder.decide(2)
    facts = run(recorder.settings, capsys, "events", NAME, "--last", "1", "-o", "json").json
    assert [item["version"] for item in facts] == [2]
    assert facts[0]["evidence"]["errors"]["challenger"] == [12, 1204]


def test_events_are_followed(
    recorder: Recorder, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The past first, then what comes, each once, until somebody stops it."""
    recorder.decide(1)
    printed: list[int] = []
    two = threading.Event()

    def note(decision: object, output: Output) -> None:
        printed.append(decision.version)  # type: ignore[attr-defined]  # a Decision, by its caller
        if len(printed) == 1:
            recorder.decide(1)
            recorder.decide(2)
        else:
            two.set()
            raise KeyboardInterrupt

    monkeypatch.setattr(events_command, "_print", note)
    answer = run(recorder.settings, capsys, "events", NAME, "-f")
    assert (answer.code, printed, two.is_set()) == (130, [1, 2], True)


def test_events_of_an_unknown_experiment_are_2(recorder: Recorder, capsys: Captured) -> None:
    """The names that exist are told."""
    recorder.put("routing", table())
    answer = run(recorder.settings, capsys, "events", "clickranker")
    assert answer.code == 2
    assert f"known: {NAME}" in answer.err


# -- why


def outcome(outcome_id: str, after_ms: int, value: float = 1.0) -> Outcome:
    """An outcome of the request so long after it was served."""
    found = event(
        "outcome", request_id="r-1", outcome_id=outcome_id, value=value,
        occurred_at=SERVED_MS + after_ms,
    )  # fmt: skip
    assert isinstance(found, Outcome)
    return found


def test_a_request_is_explained(recorder: Recorder, capsys: Captured) -> None:
    """Variant, table, decision, shadow and every outcome with its class, half-open window."""
    recorder.decide(16, weights={"champion": 10_000, "challenger": 0})
    recorder.decide(17, weights={"champion": 8_000, "challenger": 2_000})
    recorder.decide(18, weights={"champion": 0, "challenger": 10_000})
    prediction = event("prediction", request_id="r-1", served_at=SERVED_MS, routing_version=17)
    recorder.request("predictions", event("prediction", request_id="r-12"), "r-1")
    recorder.request("predictions", prediction, "r-1")
    recorder.request("shadow-predictions", event("shadow-prediction", request_id="r-1"), "r-1")
    for given in (
        outcome("a", 5), outcome("a", 5), outcome("a", 6, 2.0), outcome("b", 1_800_000),
        outcome("c", 1_799_999), outcome("d", -120_000), outcome("e", -120_001),
    ):  # fmt: skip
        recorder.request("outcomes", given, "r-1")
    facts = run(recorder.settings, capsys, "why", "r-1", "-o", "json")
    assert facts.code == 0
    assert [item["class"] for item in facts.json["outcomes"]] == [
        "counted", "duplicate", "conflict", "late", "counted", "counted", "early"
    ]  # fmt: skip
    assert facts.json["decision"]["weights"] == {"challenger": 2_000, "champion": 8_000}
    assert facts.json["window"] == {"from": SERVED_MS - 120_000, "to": SERVED_MS + 1_800_000}
    text = run(recorder.settings, capsys, "why", "r-1").out
    assert "variant     champion: ranker v1" in text
    assert "table       click-ranker g3 v17: challenger 20 %, champion 80 %" in text
    assert "shadow      challenger: ranker v2  OK" in text
    assert "conversion 1  late  (id b)" in text


def test_what_is_missing_is_said_and_1(recorder: Recorder, capsys: Captured) -> None:
    """Outcomes without prediction are orphans; without anything, where one may look."""
    recorder.request("outcomes", outcome("a", 5), "r-1")
    answer = run(recorder.settings, capsys, "why", "r-1")
    assert answer.code == 1
    assert "No prediction with the id r-1" in answer.out
    assert "orphan" in answer.out
    nothing = run(recorder.settings, capsys, "why", "r-2")
    assert nothing.code == 1
    assert "none has come" in nothing.out
    assert nothing.out.count("partitioner=murmur2_random") == 2


def test_a_fallback_without_table_is_told(recorder: Recorder, capsys: Captured) -> None:
    """Who was assigned and who answered are two things; version 0 is no table."""
    recorder.request(
        "predictions",
        event("prediction", request_id="r-1", routing_version=0, variant="challenger",
              status="FALLBACK"),
        "r-1",
    )  # fmt: skip
    text = run(recorder.settings, capsys, "why", "r-1").out
    assert "variant     challenger, answered by champion" in text
    assert "none was known to the client" in text


# -- dead letters


@pytest.fixture
def refused(recorder: Recorder) -> Recorder:
    """Two refused records: one that can be read by now, and one that never will."""
    sound = encode(event("prediction", request_id="r-1"))
    partition = partition_of(b"r-1", recorder.settings.partitions)
    for offset, value in enumerate((sound, b"garbage")):
        recorder.put("predictions", value, "r-1", partition)
        letter = event(
            "dead-letter", reason="clock" if offset == 0 else "framing", topic="predictions",
            partition=partition, offset=offset, value=value, log_time=now_ms(),
        )  # fmt: skip
        recorder.put("dead-letters", letter, partition=0)
    return recorder


def test_dead_letters_are_listed(refused: Recorder, capsys: Captured) -> None:
    """Oldest first, with reason and place; by reason on request."""
    lines = run(refused.settings, capsys, "dead-letters", "list").out.splitlines()
    assert lines[0].split() == ["OFFSET", "TIME", "REASON", "FROM", "DETAIL"]
    assert [line.split()[2] for line in lines[1:]] == ["clock", "framing"]
    facts = run(
        refused.settings, capsys, "dead-letters", "list", "--reason", "framing", "-o", "json"
    ).json
    assert [(item["offset"], item["source_offset"]) for item in facts] == [(1, 1)]


def test_a_dead_letter_is_shown_with_its_bytes(refused: Recorder, capsys: Captured) -> None:
    """The bytes as they came, in hex; an offset without a letter is wrong use."""
    facts = run(refused.settings, capsys, "dead-letters", "show", "1", "-o", "json").json
    assert bytes.fromhex(facts["value_hex"]) == b"garbage"
    missing = run(refused.settings, capsys, "dead-letters", "show", "9")
    assert missing.code == 2
    assert "no dead letter at offset 9" in missing.err


def test_what_can_be_read_is_replayed_and_the_rest_is_not(
    refused: Recorder, capsys: Captured
) -> None:
    """A sound record is written again as it was, where it was; garbage is left alone, exit 1."""
    answer = run(refused.settings, capsys, "dead-letters", "replay", "0", "1", "-o", "json")
    assert answer.code == 1
    assert [item["replayed"] for item in answer.json] == [True, False]
    partition = partition_of(b"r-1", refused.settings.partitions)
    records = list(read_topic(refused.settings, "predictions", [partition]))
    assert len(records) == 3
    assert records[2].value == records[0].value
    assert (records[2].key, records[2].timestamp_ms) == (b"r-1", records[0].timestamp_ms)
    assert decode_as(Prediction, records[2].value).request_id == "r-1"


def test_no_dead_letters_is_an_answer(recorder: Recorder, capsys: Captured) -> None:
    """Nothing was refused."""
    words = ("dead-letters", "list")
    assert run(recorder.settings, capsys, *words).out == "No dead letters.\n"
    said = run(recorder.settings, capsys, *words, "--reason", "clock").out
    assert said == "No dead letters with the reason clock.\n"


# -- all of them


@pytest.mark.parametrize(
    "words",
    [["get"], ["events", NAME], ["why", "r-1"], ["dead-letters", "list"],
     ["pause", NAME, "--reason", "x"], ["rollback", NAME, "--reason", "x"]],
    ids=lambda words: words[0],
)  # fmt: skip
def test_missing_topics_are_2_with_the_command_that_mends_it(
    embedded_settings: Settings, capsys: Captured, words: list[str]
) -> None:
    """One paragraph: what is missing, what it means, what to type."""
    answer = run(replace(embedded_settings, prefix="elsewhere."), capsys, *words)
    assert answer.code == 2
    assert "tidegate topics apply" in answer.err
    assert answer.err.count("\n") == 1


def test_json_is_json_whatever_the_letters(recorder: Recorder, capsys: Captured) -> None:
    """Text of people passes through unharmed."""
    recorder.decide(1, reason="größer als 1 % – „Ende“")
    text = run(recorder.settings, capsys, "events", NAME, "-o", "json").out
    assert json.loads(text)[0]["reason"] == "größer als 1 % – „Ende“"
