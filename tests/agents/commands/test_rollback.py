"""A rollback is done when every live client says so, and not before."""

from __future__ import annotations

import threading
import time

import pytest

from tests.agents.commands.recorded import NAME, Recorder, now_ms, run, table
from tests.schemas.samples import event
from tidegate.agents.client import Client
from tidegate.agents.commands import rollback
from tidegate.agents.commands.logs import experiment_partition
from tidegate.agents.kafka import read_topic
from tidegate.agents.settings import Settings
from tidegate.schemas.codec import decode_as
from tidegate.schemas.events import Control, Event


@pytest.fixture
def recorder(embedded_settings: Settings) -> Recorder:
    """A log with a routing table and ticks on `applied`."""
    recorder = Recorder(embedded_settings)
    recorder.put("routing", table())
    recorder.tick("applied", now_ms())
    return recorder


def says(client: str, kind: str = "CHANGE", **fields: object) -> Event:
    """A client's word."""
    client_alone = dict.fromkeys(("servers", "command_id", "outcome", "detail"))
    name = NAME if kind == "CHANGE" else ""
    given = {**client_alone, "rolled_back": [], "experiment": name, **fields}
    return event("applied", client_id=client, kind=kind, **given)


def orders(settings: Settings) -> list[Control]:
    """What stands on `control`."""
    partition = experiment_partition(settings, NAME)
    records = read_topic(settings, "control", [partition])
    return [decode_as(Control, record.value) for record in records if record.value is not None]


def test_all_confirmed_is_0(recorder: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    """Clients that hold the variant at 0 confirm; the record they obeyed is on `control`."""
    recorder.put("applied", says("a", rolled_back=["challenger"]))
    recorder.put("applied", says("b", rolled_back=["challenger"]))
    answer = run(recorder.settings, capsys, "rollback", NAME, "--reason", "wrong prices",
                 "--actor", "ada", "-o", "json")  # fmt: skip
    assert answer.code == 0
    assert answer.json["live"] == answer.json["confirmed"] == 2
    assert answer.json["missing"] == []
    order = orders(recorder.settings)[0]
    assert (order.action, order.arguments, order.generation) == (
        "ROLLBACK", {"variant": "challenger"}, 3
    )  # fmt: skip
    assert (order.actor, order.reason, order.control_id) == (
        "ada", "wrong prices", answer.json["control_id"]
    )  # fmt: skip


def test_confirmations_are_waited_for(
    recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    """A client that obeys while the command waits is counted."""
    recorder.put("applied", says("slow"))

    def obey() -> None:
        while not orders(recorder.settings):
            time.sleep(0.02)
        recorder.put("applied", says("slow", rolled_back=["challenger"]))

    client = threading.Thread(target=obey)
    client.start()
    answer = run(recorder.settings, capsys, "rollback", NAME, "--reason", "x")
    client.join()
    assert answer.code == 0
    assert "confirmed by 1 of 1 live clients" in answer.out


def test_who_has_not_confirmed_is_named_and_4(
    recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    """When time runs out the missing are named: a heartbeat is no confirmation."""
    recorder.put("applied", says("good", rolled_back=["challenger"]))
    recorder.put("applied", says("deaf", "HEARTBEAT", instance="node-9"))
    answer = run(recorder.settings, capsys, "rollback", NAME, "--reason", "x", "--timeout", "200ms")
    assert answer.code == 4
    assert "Not confirmed by deaf (node-9)" in answer.out


def test_nobody_live_is_0_and_said(recorder: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    """Who said goodbye or was silent for 15 s of log time is not waited for."""
    recorder.put("applied", says("gone"))
    recorder.put("applied", says("gone", "GOODBYE"))
    recorder.put("applied", says("silent"))
    recorder.tick("applied", now_ms() + 15_000)
    answer = run(recorder.settings, capsys, "rollback", NAME, "--reason", "x")
    assert answer.code == 0
    assert "no client is live" in answer.out


def test_a_confirmation_of_another_generation_does_not_count(
    recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was rolled back in an older generation is not rolled back in this one."""
    recorder.put("applied", says("old", rolled_back=["challenger"], generation=2))
    answer = run(recorder.settings, capsys, "rollback", NAME, "--reason", "x", "--timeout", "200ms")
    assert answer.code == 4


@pytest.mark.parametrize("variant", ["champion", "nobody"])
def test_what_cannot_be_rolled_back_is_refused(
    recorder: Recorder, capsys: pytest.CaptureFixture[str], variant: str
) -> None:
    """Control and unknown variants: wrong use, and nothing is written."""
    answer = run(recorder.settings, capsys, "rollback", NAME, "--reason", "x", "--variant", variant)
    assert answer.code == 2
    assert "Write --variant challenger" in answer.err
    assert orders(recorder.settings) == []


@pytest.mark.parametrize("heir", ["nobody", "challenger", "withdrawn"])
def test_who_cannot_take_over_is_refused(
    recorder: Recorder, capsys: pytest.CaptureFixture[str], heir: str
) -> None:
    """A mistyped `--to`, or one that is rolled back itself: nothing is written."""
    names = ("champion", "challenger", "withdrawn")
    variants = [{"name": name, "model": "ranker", "model_version": "v1"} for name in names]
    recorder.put("routing", table(version=99, variants=variants, rolled_back=["withdrawn"]))
    words = ("--variant", "challenger", "--reason", "x", "--to", heir)
    answer = run(recorder.settings, capsys, "rollback", NAME, *words)
    assert answer.code == 2
    assert f"{heir} cannot take over from challenger" in answer.err
    assert "those that can are champion." in answer.err
    assert orders(recorder.settings) == []


def test_an_unknown_experiment_is_refused(
    recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names the experiments there are."""
    answer = run(recorder.settings, capsys, "rollback", "clik-ranker", "--reason", "x")
    assert answer.code == 2
    assert f"known: {NAME}" in answer.err


def test_a_repeated_rollback_finds_who_obeyed_long_ago(
    recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    """A client that did so before the order was repeated need not say it again."""
    recorder.put("routing", table(version=18, rolled_back=["challenger"]))
    recorder.put("applied", says("a", rolled_back=["challenger"]))
    for second in range(300):
        recorder.tick("applied", now_ms() + second * 1_000)
    recorder.put("applied", says("a", "HEARTBEAT"))
    answer = run(recorder.settings, capsys, "rollback", NAME, "--reason", "again")
    assert answer.code == 0
    assert "confirmed by 1 of 1 live clients" in answer.out


def test_a_repeated_rollback_that_no_decider_put_into_a_table_finds_them_too(
    recorder: Recorder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the decider down no table tells of the first order: who obeyed it is found anyway."""
    monkeypatch.setattr(rollback, "_OBEYED_SECONDS", 0.1)
    recorder.put("applied", says("a", rolled_back=["challenger"]))
    for second in range(300):
        recorder.tick("applied", now_ms() + second * 1_000)
    recorder.put("applied", says("a", "HEARTBEAT"))
    answer = run(
        recorder.settings, capsys, "rollback", NAME, "--reason", "again", "--timeout", "3s"
    )
    assert answer.code == 0
    assert "confirmed by 1 of 1 live clients" in answer.out


def test_who_spoke_again_while_it_was_looked_for_counts_by_the_last_word(
    recorder: Recorder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking further back must not bring the dead to life, nor undo what was said since."""
    monkeypatch.setattr(rollback, "_OBEYED_SECONDS", 0.1)
    recorder.put("applied", says("gone", rolled_back=[]))
    recorder.put("applied", says("deaf", rolled_back=["challenger"], generation=2))
    for second in range(300):
        recorder.tick("applied", now_ms() + second * 1_000)
    recorder.put("applied", says("deaf", "HEARTBEAT"))
    answer = run(
        recorder.settings, capsys, "rollback", NAME, "--reason", "x", "--timeout", "500ms",
        "-o", "json",
    )  # fmt: skip
    assert (answer.code, answer.json["live"], answer.json["missing"]) == (4, 1, ["deaf"])


def test_words_of_instances_neither_confirm_nor_say_goodbye(
    recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    """An instance tells what is loaded under its client's id; it runs no tables, and its end is
    not the client's."""
    recorder.put("applied", says("a", rolled_back=["challenger"]))
    recorder.put("applied", says("a", servers=[]))
    recorder.put("applied", says("b", rolled_back=[]))
    recorder.put("applied", says("b", "GOODBYE", servers=[], experiment=NAME))
    answer = run(
        recorder.settings, capsys, "rollback", NAME, "--reason", "x", "--timeout", "200ms",
        "-o", "json",
    )  # fmt: skip
    assert (answer.code, answer.json["live"], answer.json["missing"]) == (4, 2, ["b"])


def test_records_with_a_registrys_id_stop_no_rollback(
    recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody writes such frames to these topics: a stray one is passed over, and the order goes
    out."""
    for topic in ("routing", "applied"):
        recorder.put(topic, b"\x00\x00\x00\x00\x07stray")
    recorder.put("applied", says("a", rolled_back=["challenger"]))
    answer = run(recorder.settings, capsys, "rollback", NAME, "--reason", "x")
    assert answer.code == 0
    assert len(orders(recorder.settings)) == 1


def test_a_serving_client_obeys_and_confirms_without_decider_or_joiner(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """The real client reads the order from `control`; asked again, it still counts as done."""
    recorder = Recorder(settings)
    recorder.put("routing", table())
    with Client(settings=recorder.settings) as client:
        while client.assign(NAME, "user-1").routing_version == 0:
            time.sleep(0.02)
        answer = run(recorder.settings, capsys, "rollback", NAME, "--reason", "x", "-o", "json")
        assert answer.code == 0
        assert answer.json["live"] == 1
        drawn = {client.assign(NAME, f"user-{number}").variant for number in range(200)}
        assert drawn == {"champion"}
        recorder.put("routing", table(version=18, rolled_back=["challenger"]))
        again = run(recorder.settings, capsys, "rollback", NAME, "--reason", "x", "-o", "json")
        assert (again.code, again.json["confirmed"]) == (0, 1)
