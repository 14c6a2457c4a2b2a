"""Replay: an audit of recorded topics finds nothing where nothing is, and names what is."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.agents.recordings import Recording, record_run
from tests.streams.deciding.world import NAME
from tidegate.agents.commands.main import app
from tidegate.agents.kafka import new_producer
from tidegate.agents.replay import Replay, Report
from tidegate.agents.settings import Settings
from tidegate.schemas.codec import decode_as, encode
from tidegate.schemas.events import Decision, Outcome
from tidegate.schemas.facts import encode_observation
from tidegate.schemas.observation_reading import decode_observation


def audited(recording: Recording, **arguments: Any) -> Report:
    """The report of an audit of what the recording writes."""
    recording.write()
    return Replay(recording.settings, **arguments).run()


def test_a_recorded_run_verifies(embedded_settings: Settings) -> None:
    """Everything recorded is derived again, byte for byte, and everything is compared."""
    report = audited(record_run(embedded_settings))
    assert report.equal, (report.differences[:3], report.incomparable)
    for topic in ("observations", "decisions", "routing", "commands"):
        tally = report.tallies[topic]
        assert tally.equal == tally.recorded > 0, topic
    assert report.tallies["decisions"].equal == 5
    assert report.records > 800


def flipped(recording: Recording, number: int) -> str:
    """Flip the reward of an outcome; returns the id of its request."""
    places = [place for place in sorted(recording.logs) if place[0] == "outcomes"]
    log = recording.logs[places[0]]
    place = [at for at, record in enumerate(log) if isinstance(record, bytes)][number]
    value = log[place]
    assert isinstance(value, bytes)
    outcome = decode_as(Outcome, value)
    log[place] = encode(replace(outcome, value=0.0))
    return outcome.request_id


def test_a_flipped_reward_is_found(embedded_settings: Settings) -> None:
    """One flipped reward: the first observation that differs holds it, the first decision named
    is the first that rests on it, and decisions still follow from the observations recorded."""
    recording = record_run(embedded_settings)
    request_id = flipped(recording, 30)
    report = audited(recording)
    assert not report.equal
    first = report.first_observation
    assert first is not None
    assert (first.topic, first.what) == ("observations", "differs")
    batches = [decode_observation(it) for it in _values(recording, "observations")]
    batch = next(
        it
        for it in batches
        if (it.source_partition, it.partition, it.sequence)
        == (first.source_partition, first.partition, first.sequence)
    )
    assert batch.log_time_ms == first.log_time_ms
    source = recording.place_of("outcomes", request_id)[1]
    assert batch.source_partition == source
    assert report.first_decision is not None
    decisions = [decode_as(Decision, it) for it in _values(recording, "decisions")]
    name = f"observations/{source}"
    resting = [it.decision_id for it in decisions if it.covers[name] > first.sequence]
    assert 0 < len(resting) < len(decisions)
    assert report.first_decision.decision_id == resting[0]
    assert report.tallies["decisions"].differences == []


def _values(recording: Recording, topic: str) -> list[bytes]:
    place = recording.place_of(topic, NAME)
    return [record for record in recording.logs[place] if isinstance(record, bytes)]


def test_equal_copies_are_counted_and_other_copies_found(embedded_settings: Settings) -> None:
    """A restarted joiner writes batches again: equal ones are fine, others are not."""
    recording = record_run(embedded_settings)
    log = recording.logs[recording.place_of("observations", NAME)]
    values = [record for record in log if isinstance(record, bytes)]
    batch = decode_observation(values[3])
    log += [values[2], encode_observation(replace(batch, log_time_ms=batch.log_time_ms + 1))]
    report = audited(recording)
    assert report.tallies["observations"].copies == 2
    assert [it.what for it in report.differences] == ["copies differ"]
    assert report.differences[0].sequence == batch.sequence


def test_a_changed_decision_is_found(embedded_settings: Settings) -> None:
    """A decision that was rewritten differs; one that was removed is missing; one invented is
    unexpected."""
    recording = record_run(embedded_settings)
    log = recording.logs[recording.place_of("decisions", NAME)]
    third, fourth = (decode_as(Decision, it) for it in _values(recording, "decisions")[2:4])
    log[2] = encode(replace(third, reason="nothing happened"))
    log[3] = encode(replace(fourth, decision_id=f"{NAME}/0/99", version=99))
    report = audited(recording)
    found = {(it.name, it.what) for it in report.differences}
    assert found == {
        (third.decision_id, "differs"),
        (fourth.decision_id, "missing"),
        (f"{NAME}/0/99", "unexpected"),
    }


def test_what_was_not_yet_written_is_no_difference(embedded_settings: Settings) -> None:
    """A joiner and a decider that were stopped are behind, not wrong."""
    recording = record_run(embedded_settings)
    recording.logs[recording.place_of("decisions", NAME)].pop()
    report = audited(recording)
    assert report.equal
    assert report.tallies["decisions"].derived == report.tallies["decisions"].equal + 1


def test_another_engine_is_never_a_silent_pass(embedded_settings: Settings) -> None:
    """Records of another engine cannot be compared; the report says whose, and is not equal."""
    recording = record_run(embedded_settings)
    audit = replace(recording.settings, grace_ms=recording.settings.grace_ms + 1)
    recording.write()
    report = Replay(audit).run()
    assert not report.equal
    assert {it.topic for it in report.incomparable} == {"observations", "decisions"}
    assert all("engine" in it.why for it in report.incomparable)


def test_one_experiment_and_a_range_of_time(embedded_settings: Settings) -> None:
    """A name compares that experiment alone; a range tells only the differences in it."""
    recording = record_run(embedded_settings)
    flipped(recording, 30)
    report = audited(recording, experiment=NAME)
    assert report.first_observation is not None
    at_ms = report.first_observation.log_time_ms
    assert Replay(recording.settings, NAME, since_ms=at_ms).run().first_observation
    before = Replay(recording.settings, NAME, until_ms=at_ms).run()
    assert before.equal
    nobody = Replay(recording.settings, "nobody").run()
    assert nobody.tallies["decisions"].recorded == 0


def verify(recording: Recording, folder: Path) -> list[str]:
    """The command line of an audit of a recording."""
    settings = recording.settings
    path = folder / "tidegate.yaml"
    path.write_text("partitions: 2\ndecision_partitions: 2\n")
    return [
        "verify", "--config", str(path), "--bootstrap", settings.bootstrap,
        "--prefix", settings.prefix,
    ]  # fmt: skip


def test_the_command_says_what_the_report_says(embedded_settings: Settings, tmp_path: Path) -> None:
    """Exit code 0 and JSON for an equal run; 1, first observation and decision for another."""
    recording = record_run(embedded_settings)
    recording.write()
    done = CliRunner().invoke(app, [*verify(recording, tmp_path), "-o", "json"])
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert facts["equal"] is True
    assert facts["compared"]["decisions"]["equal"] == 5
    said = CliRunner().invoke(app, verify(recording, tmp_path))
    assert "Every record follows from the logs, byte for byte" in said.stdout


def crowd_out(settings: Settings, topic: str, partition: int) -> None:
    """Write until the embedded broker, which keeps 5 MB, has deleted what was there."""
    producer, draw = new_producer(settings), random.Random(1)
    for _ in range(8):
        producer.produce(settings.topic(topic), draw.randbytes(900_000), partition=partition)
    producer.flush(30)


@pytest.mark.parametrize(
    ("topic", "before"),
    [("observations", True), ("predictions", False), ("observations", False), ("decisions", False)],
)
def test_deleted_records_are_named_and_nothing_else_is_blamed(
    embedded_settings: Settings, topic: str, before: bool
) -> None:
    """A log that the broker cut, also while it is audited, cannot be compared: the report says
    which and where it begins, and finds no difference in what is left."""
    recording = record_run(embedded_settings)
    recording.write()
    place = recording.place_of(topic, NAME if topic != "predictions" else "request-1-1")
    settings = recording.settings
    if before:
        crowd_out(settings, *place)
    replay = Replay(settings)
    if not before:
        crowd_out(settings, *place)
    report = replay.run()
    assert not report.equal
    assert report.differences == []
    told = [it.why for it in report.incomparable]
    assert any(f"{topic}-{place[1]} begins at offset" in why for why in told), told


def test_an_unknown_experiment_is_wrong_use(embedded_settings: Settings, tmp_path: Path) -> None:
    """A misspelt name verifies nothing: exit code 2, and the names there are."""
    recording = record_run(embedded_settings)
    recording.write()
    done = CliRunner().invoke(app, [*verify(recording, tmp_path), "nope"])
    assert done.exit_code == 2
    assert f"known: {NAME}" in done.stderr
    assert "byte for byte" not in done.output


def test_nothing_recorded_is_no_success(embedded_settings: Settings, tmp_path: Path) -> None:
    """On empty topics an audit has shown nothing: exit code 1, and it says so."""
    done = CliRunner().invoke(app, verify(Recording(embedded_settings), tmp_path))
    assert done.exit_code == 1
    assert "There is nothing to verify" in done.stdout
    facts = CliRunner().invoke(app, [*verify(Recording(embedded_settings), tmp_path), "-o", "json"])
    assert json.loads(facts.stdout)["equal"] is False


@pytest.mark.kafka
def test_a_recorded_run_verifies_on_real_kafka(kafka_settings: Settings, tmp_path: Path) -> None:
    """The same on Apache Kafka, with one reward flipped: exit code 1 and both names."""
    recording = record_run(kafka_settings)
    flipped(recording, 30)
    recording.write()
    done = CliRunner().invoke(app, verify(recording, tmp_path))
    assert done.exit_code == 1
    assert "The first observation that differs is source" in done.stdout
    assert f"The first decision whose evidence covers it is {NAME}/" in done.stdout
