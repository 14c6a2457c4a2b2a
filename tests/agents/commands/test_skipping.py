"""`tidegate mark skip` on a real broker: accepted is exactly what is lost, and nothing else."""

from __future__ import annotations

import json

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from tidegate.agents.breaks import recorded_breaks, write_break
from tidegate.agents.commands.options import EXIT_DONE, Output, Refused
from tidegate.agents.commands.skipping import run_skip
from tidegate.agents.hosting.snapshots import chunk_key, encode_manifest, manifest_key, pack
from tidegate.agents.kafka import new_producer, read_topic
from tidegate.agents.settings import Settings
from tidegate.schemas.breaks import Break
from tidegate.schemas.errors import DefinitionError
from tidegate.schemas.facts import ObservationBatch, encode_observation
from tidegate.schemas.marks import Mark, read_mark
from tidegate.streams.folding import Checkpoint

pytestmark = pytest.mark.kafka
LOG_TIME_MS = 1_700_000_000_000


def skip(settings: Settings, begin: int, end: int, **changes: object) -> int:
    """Accept a loss in partition 1 of outcomes."""
    given = {"name": "outcomes", "partition": 1, "reason": "disk lost", "actor": "ada", **changes}
    return run_skip(settings, begin=begin, end=end, output=Output.json, **given)  # type: ignore[arg-type]


def refused(settings: Settings, begin: int, end: int, **changes: object) -> str:
    """Why a loss is not accepted; nothing is recorded then."""
    before = recorded_breaks(settings)
    with pytest.raises((DefinitionError, Refused)) as refusal:
        skip(settings, begin, end, **changes)
    assert recorded_breaks(settings) == before
    return str(refusal.value)


def marks(settings: Settings) -> list[Mark | None]:
    """What stands in all partitions of observations beside batches."""
    found = read_topic(settings, "observations")
    return [read_mark(record.headers) for record in found if record.value is None]


def log(settings: Settings, count: int, transactions: int = 0) -> None:
    """Records in partition 1 of outcomes; those in transactions, ten each, leave a hole behind."""
    topic = settings.topic("outcomes")
    producer = new_producer(settings)
    for _ in range(count):
        producer.produce(topic, b"x", partition=1)
    assert producer.flush(20) == 0
    if transactions:
        transactional = Producer({**settings.kafka, "transactional.id": settings.prefix})
        transactional.init_transactions(20)
    for _ in range(transactions):
        transactional.begin_transaction()
        for _ in range(10):
            transactional.produce(topic, b"x", partition=1)
        transactional.commit_transaction(20)


def checkpoint(settings: Settings, position: int) -> None:
    """The joiner's checkpoint of partition 1 stands at an offset of outcomes."""
    taken = Checkpoint(1, 9, (0, 0, position), (LOG_TIME_MS,) * 3, b"state", "")
    packed = pack("joiner", "any engine", taken)
    producer = new_producer(settings)
    for key, value in (
        (chunk_key("joiner", 1, 9, 0), packed.chunks[0]),
        (manifest_key("joiner", 1, 9), encode_manifest(packed.manifest)),
    ):
        producer.produce(settings.topic("snapshots"), value, key=key, partition=1)
    assert producer.flush(20) == 0


def delete_before(settings: Settings, offset: int) -> None:
    """What retention does."""
    admin = AdminClient({"bootstrap.servers": settings.bootstrap, "log_level": 0})
    gone = TopicPartition(settings.topic("outcomes"), 1, offset)
    for future in admin.delete_records([gone]).values():
        future.result()


def test_what_cannot_be_lost_is_refused(kafka_settings: Settings) -> None:
    """Topics nobody merges, partitions that are not there, no reason, offsets with records."""
    log(kafka_settings, 20)
    assert "no topic that is merged" in refused(kafka_settings, 0, 1, name="routing")
    assert "0 to 3" in refused(kafka_settings, 0, 1, partition=4)
    assert "reason" in refused(kafka_settings, 0, 1, reason="  ")
    assert "has a record at offset 5" in refused(kafka_settings, 5, 6)
    assert "holds 0 to 19" in refused(kafka_settings, 5, 21)
    assert "holds 0 to 19" in refused(kafka_settings, 6, 6)


def test_refused_is_another_answer_than_wrong_use(kafka_settings: Settings) -> None:
    """What the logs say no to is 1; what cannot be meant is 2."""
    log(kafka_settings, 20)
    for begin, end in ((5, 6), (0, 1)):
        with pytest.raises(Refused):
            skip(kafka_settings, begin, end)
    with pytest.raises(DefinitionError):
        skip(kafka_settings, 5, 21)


def test_a_hole_in_the_log_is_accepted_as_it_is(
    kafka_settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """The end of a transaction takes an offset: all of a hole is accepted or nothing, in the midst
    of a log and at its end; deciders are told where they read; once is enough."""
    log(kafka_settings, 5, transactions=2)
    log(kafka_settings, 3)
    assert "the next record is at 16, not at 17" in refused(kafka_settings, 15, 17)
    assert "has a record at offset 14" in refused(kafka_settings, 14, 16)
    assert skip(kafka_settings, 15, 16) == EXIT_DONE
    assert json.loads(capsys.readouterr().out)["new"] is True
    [told, *others] = marks(kafka_settings)
    assert told is not None
    assert others == [told] * (kafka_settings.decision_partitions - 1)
    assert skip(kafka_settings, 15, 16) == EXIT_DONE
    assert json.loads(capsys.readouterr().out)["new"] is False
    assert len(marks(kafka_settings)) == kafka_settings.decision_partitions
    assert "was accepted to go on at 16" in refused(kafka_settings, 15, 17)
    [accepted] = recorded_breaks(kafka_settings)
    assert (accepted.reason, accepted.actor, accepted.told) == ("disk lost", "ada", ())

    log(kafka_settings, 0, transactions=1)
    assert skip(kafka_settings, 26, 27) == EXIT_DONE
    assert skip(kafka_settings, 40, 41) == EXIT_DONE


def test_what_retention_ate_is_accepted_from_where_the_fold_stands(
    kafka_settings: Settings,
) -> None:
    """From the checkpoint to the log's beginning, as both are now; what the joiner had told behind
    its checkpoint is recorded with it; more that is lost later is another loss."""
    log(kafka_settings, 100)
    delete_before(kafka_settings, 60)
    assert "has no checkpoint" in refused(kafka_settings, 0, 60)
    checkpoint(kafka_settings, 40)
    assert "--from 40 --to 60" in refused(kafka_settings, 0, 60)
    assert "--from 40 --to 60" in refused(kafka_settings, 40, 50)
    producer = new_producer(kafka_settings)
    for source, sequence, log_time_ms in ((1, 7, 5_000), (1, 6, 4_000), (0, 99, 9_000)):
        batch = ObservationBatch(source, 2, sequence, "e", LOG_TIME_MS + log_time_ms, (0, 0, 0))
        producer.produce(
            kafka_settings.topic("observations"), encode_observation(batch), partition=2
        )
    assert producer.flush(20) == 0
    assert skip(kafka_settings, 40, 60) == EXIT_DONE
    [accepted] = recorded_breaks(kafka_settings)
    assert accepted.told == ((0, 0), (0, 0), (LOG_TIME_MS + 5_000, 8), (0, 0))
    assert "needs offset 60, and 60 to 99 are there" in refused(kafka_settings, 41, 60)
    delete_before(kafka_settings, 70)
    assert skip(kafka_settings, 60, 70) == EXIT_DONE


def test_two_losses_that_contradict_each_other_stop_everyone(kafka_settings: Settings) -> None:
    """Folds that read one or the other would differ; nobody may go on."""
    for end in (5, 6):
        write_break(kafka_settings, Break("outcomes", 0, 3, end, "r", "a", 0))
    with pytest.raises(DefinitionError, match="two people accepted different losses"):
        recorded_breaks(kafka_settings)
