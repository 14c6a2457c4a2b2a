"""`tidegate mark`: a recorded break stands wherever folds must meet it."""

from __future__ import annotations

import json

import pytest

from tidegate.agents.commands.mark import run_barrier, run_gap
from tidegate.agents.commands.options import EXIT_DONE, Output
from tidegate.agents.engine import fingerprint
from tidegate.agents.kafka import read_topic
from tidegate.agents.settings import Settings
from tidegate.schemas.errors import DefinitionError
from tidegate.schemas.marks import Mark, barrier, gap, read_mark
from tidegate.schemas.topics import merged_topics


def marks(settings: Settings, topic: str, partition: int) -> list[Mark | None]:
    """What stands in a topic-partition."""
    return [read_mark(record.headers) for record in read_topic(settings, topic, [partition])]


@pytest.mark.parametrize("role", ["joiner", "decider"])
def test_a_barrier_stands_in_every_merged_partition_of_the_role(
    settings: Settings, role: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names this installation's engine: run from the new version, it hands over to it."""
    assert run_barrier(settings, role, "", Output.json) == EXIT_DONE
    engine = json.loads(capsys.readouterr().out)["engine"]
    assert engine == fingerprint(settings)
    for topic in merged_topics(role):
        for partition in range(settings.partition_count(topic)):
            assert barrier(engine) in marks(settings, topic.name, partition)


def test_a_gap_stands_where_the_decider_reads(settings: Settings) -> None:
    """In one partition of observations; the numbers are those of the alert."""
    assert run_gap(settings, 1, 3, 118, "disk lost", "ada", Output.table) == EXIT_DONE
    assert gap(3, 118, "disk lost", "ada") in marks(settings, "observations", 1)
    assert gap(3, 118, "disk lost", "ada") not in marks(settings, "observations", 0)


def test_what_is_not_there_is_refused(settings: Settings) -> None:
    """Nothing is written for a role, a partition or a number that cannot be."""
    with pytest.raises(DefinitionError, match="joiner or decider"):
        run_barrier(settings, "ticker", "", Output.table)
    with pytest.raises(DefinitionError, match="0 to 3"):
        run_gap(settings, 4, 0, 1, "", "", Output.table)
    with pytest.raises(DefinitionError, match="source partition 9"):
        run_gap(settings, 0, 9, 1, "", "", Output.table)
    with pytest.raises(DefinitionError, match="above 0"):
        run_gap(settings, 0, 0, 0, "", "", Output.table)
