"""The decider's fold: what goes in, what comes out, in which order."""

from __future__ import annotations

import hashlib
import json

import pytest

from tests.streams.deciding.world import (
    CANARY,
    ENGINE,
    NAME,
    START_MS,
    Group,
    World,
    batch_of,
    spec_of,
)
from tidegate.schemas import codec
from tidegate.schemas.breaks import Break
from tidegate.schemas.canonical import canonical_json
from tidegate.schemas.errors import EventError, UnknownSchemaId
from tidegate.schemas.events import Control
from tidegate.schemas.facts import encode_observation
from tidegate.schemas.marks import Marker
from tidegate.streams.deciding.decider import APPLIED, CONTROL, OBSERVATIONS, Decider
from tidegate.streams.deciding.records import Journal
from tidegate.streams.merge import Run
from tidegate.streams.routing import faults, weights_of

FULL = {"full": {"keep_previous": "60s"}}
GOOD = (Group("champion", 500, 5, version=1), Group("challenger", 500, 5, version=1))
BAD = (Group("champion", 500, 5, version=1), Group("challenger", 500, 100, version=1))


@pytest.fixture
def world() -> World:
    """A canary that has just begun."""
    world = World()
    world.apply({"canary": CANARY}, FULL)
    return world


def test_the_first_manifest_opens_generation_one(world: World) -> None:
    """It is answered by version 1, with the shares of the first step and a sound table."""
    decision, table = world.last(), world.tables()[-1]
    assert (decision.action, decision.version, decision.generation) == ("APPLY", 1, 1)
    assert (decision.control_id, decision.phase, decision.step) == ("c1", "RUNNING", 0)
    assert decision.weights == {"champion": 9000, "challenger": 1000} == weights_of(table)
    assert faults(table) == ()
    assert (table.salt, table.reward_wait_ms, table.published_at) == (NAME, 30_000, START_MS)


def test_a_breach_rolls_back_at_once() -> None:
    """No hold, no watermark, no person: one batch of one joiner and the variant is at 0."""
    world = World(partitions=2)
    world.apply({"canary": CANARY}, FULL)
    world.observe(*BAD)
    assert world.last().watermark == -1
    decision = world.last()
    assert (decision.action, decision.variant, decision.verdict) == (
        "ROLLBACK",
        "challenger",
        "FAIL",
    )
    assert decision.weights == {"champion": 10_000, "challenger": 0}
    assert world.tables()[-1].rolled_back == ("challenger",)
    assert decision.reason == (
        "errors 20.0 % against 1.0 % in control: +19.0 pp, at least +13.7 pp"
        " (limit 1.0 pp, 95 % always valid, n = 500)"
    )


def test_an_own_rollback_is_ordered_on_control_too(world: World) -> None:
    """Clients obey that record without waiting for a table; read back it changes nothing."""
    world.observe(*BAD)
    (order,) = world.own_orders()
    assert (order.action, order.arguments, order.generation) == (
        "ROLLBACK",
        {"variant": "challenger"},
        1,
    )
    assert (order.control_id, order.actor, order.role) == (f"{NAME}/0/2", "tidegate", "decider")
    before = len(world.outputs)
    world.send(CONTROL, codec.encode(order))
    assert len(world.outputs) == before
    assert world.decider.counters()["order.repeated"] == 1


def test_an_own_order_is_known_after_memory_let_go(world: World) -> None:
    """A copy of it that arrives days later still changes nothing."""
    world.observe(*BAD)
    (order,) = world.own_orders()
    world.decider.advance(world.log_time_ms + 3 * 86_400_000)
    before = len(world.decisions())
    world.send(CONTROL, codec.encode(order))
    assert len(world.decisions()) == before


def test_an_own_order_of_an_older_generation_says_nothing(world: World) -> None:
    """What was withheld then may serve now."""
    world.observe(*BAD)
    (order,) = world.own_orders()
    world.order(
        "APPLY", spec_of({"canary": CANARY}, salt="again"), parent=world.state.spec.digest()
    )
    world.decider.advance(world.log_time_ms + 3 * 86_400_000)
    before = len(world.decisions())
    world.send(CONTROL, codec.encode(order))
    assert len(world.decisions()) == before
    assert world.state.candidates == ("challenger",)


def test_an_own_order_to_nothing_is_refused() -> None:
    """Without the experiment there is nobody whose word it could be."""
    world = World()
    world.order("ROLLBACK", arguments={"variant": "challenger"}, role="decider")
    assert (world.last().action, world.last().version) == ("REFUSED", 0)


def test_an_order_in_our_name_that_we_never_gave_is_obeyed(world: World) -> None:
    """Clients have obeyed it already, and the table has to agree with them."""
    world.order("ROLLBACK", arguments={"variant": "challenger"}, role="decider", generation=1)
    assert world.last().action == "ROLLBACK"


def test_decisions_are_chained_and_dense(world: World) -> None:
    """Every decision names the SHA-256 of the record before it, and versions have no holes."""
    world.order("PAUSE")
    world.observe(*BAD)
    world.order("ABORT")
    records = world.values("decisions")
    previous = ["", *(hashlib.sha256(record).hexdigest() for record in records[:-1])]
    assert [decision.previous for decision in world.decisions()] == previous
    assert [decision.version for decision in world.decisions()] == [1, 2, 3, 4]
    assert {decision.engine for decision in world.decisions()} == {ENGINE}


def test_a_decision_names_what_it_covers(world: World) -> None:
    """Next offsets of the merged topics and next numbers of the source partitions."""
    world.applied("client")
    world.observe(*GOOD)
    world.observe(*BAD)
    assert world.last().covers == {
        "control": 1,
        "applied": 1,
        "observations": 2,
        "observations/0": 2,
    }


def test_evidence_is_canonical_and_holds_the_numbers_of_the_breach(world: World) -> None:
    """What was compared is what is published: canonical JSON, nothing beyond 9 digits."""
    world.observe(*BAD)
    text = world.last().evidence
    evidence = json.loads(text)
    assert canonical_json(evidence) == text
    assert evidence["breach"]["verdict"] == "FAIL"
    assert evidence["breach"]["lower"] > evidence["breach"]["limit"]
    assert evidence["variants"]["challenger"]["metrics"]["errors"]["mean"] == 0.2
    assert evidence["variants"]["challenger"]["statuses"]["ERROR"] == 100


def test_only_tables_that_changed_are_published_and_old_ones_withdrawn(world: World) -> None:
    """A pause moves no bucket; of the tables the last two stay in the topic."""
    for _ in range(3):
        world.order("PAUSE")
        world.order("RESUME")
    routing = [item for item in world.outputs if item.topic == "routing"]
    assert [table.version for table in world.tables()] == [1, 3, 5, 7]
    assert [item.key.decode() for item in routing if item.value is None] == [
        f"{NAME}/0/000000000001",
        f"{NAME}/0/000000000003",
    ]
    assert world.state.tables == [(0, 5), (0, 7)]


def test_everything_goes_to_the_experiments_partition(world: World) -> None:
    """Decisions, tables, commands and own orders stay together, keyed by the experiment."""
    world.observe(*BAD)
    for item in world.outputs:
        if item.topic in ("decisions", "control"):
            assert (item.partition, item.key) == (0, NAME.encode())


def test_heartbeats_tell_log_time_and_watermark_every_second(world: World) -> None:
    """So clients tell silence from deafness."""
    world.tick(3_000)
    beats = world.commands("HEARTBEAT")
    assert [int(beat.arguments["log_time"]) - START_MS for beat in beats] == [
        0,
        1_000,
        2_000,
        3_000,
    ]
    assert beats[-1].arguments["watermark"] == "-1"
    assert beats[-1].arguments["partition"] == "0"


def test_batches_count_once_and_in_order(world: World) -> None:
    """A repeated batch changes nothing, one beyond a gap is dropped without advancing."""
    first, second, third = (world.batch(*GOOD) for _ in range(3))
    for value in (first, first, third, second, first, third):
        world.send(OBSERVATIONS, value)
    counters = world.decider.counters()
    assert counters["batch.next"] == 3
    assert counters["batch.known"] == 2
    assert counters["batch.gap"] == 1
    assert world.state.ledger.tallies["champion"].exposures == 1_500


def test_a_gap_that_does_not_heal_is_an_alarm_once(world: World) -> None:
    """Ten seconds of log time; the alarm names the batch that is missing."""
    world.batch(*GOOD)
    world.observe(*GOOD)
    world.tick(9_000)
    assert world.commands("ALERT") == []
    world.tick(20_000)
    (alert,) = world.commands("ALERT")
    assert "batch 0 has been missing for 10 s" in alert.reason


def test_an_accepted_gap_raises_the_epoch(world: World) -> None:
    """A recorded break: readers see (epoch, version) go on, and batches count again."""
    world.batch(*GOOD)
    world.observe(*GOOD)
    world.mark("gap", source_partition="0", sequence="1")
    decision = world.last()
    assert (decision.epoch, decision.version, decision.action) == (1, 2, "UPDATE")
    assert world.tables()[-1].epoch == 1
    world.sequences[0] = 1
    world.observe(*GOOD)
    assert world.decider.counters()["batch.next"] == 1


LOST = {"topic": "outcomes", "partition": "2", "begin": "50", "end": "120"}


def test_a_loss_in_the_joiners_input_raises_the_epoch_and_says_who_accepted_it(
    world: World,
) -> None:
    """The evidence misses records: an audit finds which, why and by whom; batches go on."""
    world.mark("gap", **LOST, reason="disk lost", actor="ada")
    decision = world.last()
    assert (decision.epoch, decision.version, decision.action) == (1, 2, "UPDATE")
    assert decision.reason == (
        "gap accepted: outcomes-2 has nothing at offsets 50 to 119: disk lost (ada)"
    )
    world.observe(*GOOD)
    assert world.decider.counters()["batch.next"] == 1


@pytest.mark.parametrize("rank", [CONTROL, APPLIED, OBSERVATIONS])
def test_offsets_that_are_skipped_here_raise_the_epoch_and_are_covered(
    world: World, rank: int
) -> None:
    """What was decided behind the loss covers what was lost; of observations, each source goes on
    at its next batch, whatever its number, and from there on densely."""
    topic = ("control", "applied", "observations")[rank]
    lost = Break(topic, 0, world.offsets[rank], 500, "disk lost", "ada", 0)
    world.decider.marker(rank, lost.begin, lost.marker())
    decision = world.last()
    assert decision.epoch == 1
    assert decision.covers[topic] == 500
    world.sequences[0] = 7
    world.observe(*GOOD)
    world.sequences[0] = 9
    world.observe(*GOOD)
    counters = world.decider.counters()
    went_on = int(rank == OBSERVATIONS)
    assert (counters.get("batch.next", 0), counters["batch.gap"]) == (went_on, 2 - went_on)
    again = Decider(0, 1, 1, lambda output: None, "engine")
    again.load(world.decider.dump())
    assert again.dump() == world.decider.dump()


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("gap", {}),
        ("gap", {**LOST, "end": "9" * 5_000}),
        ("gap", {"source_partition": "9", "sequence": "1"}),
        ("gap", {"source_partition": "0", "sequence": "x"}),
        ("gap", {"source_partition": "0", "sequence": "9" * 16}),
        ("gap", {"source_partition": "0", "sequence": "9" * 5_000}),
        ("gap", {"source_partition": "9" * 5_000, "sequence": "1"}),
        ("gap", {"source_partition": "\u0660", "sequence": "1"}),
        ("barrier", {"engine": "e"}),
    ],
)
def test_other_markers_decide_nothing(world: World, kind: str, arguments: dict[str, str]) -> None:
    """A marker that names no batch we could go on at, or on another topic, is no gap."""
    before = world.decider.dump()
    world.mark(kind, **arguments)
    world.decider.marker(CONTROL, 5, Marker("gap", {"source_partition": "0", "sequence": "1"}))
    assert world.decider.dump() == before


@pytest.mark.parametrize("rank", [CONTROL, APPLIED, OBSERVATIONS])
@pytest.mark.parametrize("value", [None, b"", b"\x00", b"\xc3\x01" + bytes(8), bytes([1] * 200)])
def test_what_cannot_be_read_is_set_aside(world: World, rank: int, value: bytes | None) -> None:
    """A dead letter with topic and offset; state as it was but for counters and offsets."""
    before = world.decider.experiments[NAME].ledger.to_state()
    world.send(rank, value)
    letter = world.dead_letters()[-1]
    assert letter.topic == ("control", "applied", "observations")[rank]
    assert letter.offset == world.offsets[rank] - 1
    assert letter.value == (value or b"")
    assert world.decider.experiments[NAME].ledger.to_state() == before
    assert len(world.decisions()) == 1


def test_an_unbound_schema_id_blocks_instead(world: World) -> None:
    """The record may be sound: it must not be lost as a dead letter."""
    with pytest.raises(UnknownSchemaId):
        world.send(CONTROL, b"\x00\x00\x00\x00\x07rest")


def test_nothing_before_an_unbound_schema_id_counts(world: World) -> None:
    """The run is given again later: had a part of it counted, it would count twice."""
    before = world.decider.dump()
    values: list[bytes | None] = [b"no order", b"\x00\x00\x00\x00\x07rest"]
    with pytest.raises(UnknownSchemaId):
        world.decider.records(Run(CONTROL, START_MS, 0, values, 0, 2, lambda index: START_MS))
    assert world.decider.dump() == before


def test_observations_of_other_places_are_set_aside(world: World) -> None:
    """Another partition's batch, or a source partition that cannot exist."""
    elsewhere = batch_of(GOOD, 0, 0, START_MS, 1)
    world.send(
        OBSERVATIONS,
        encode_observation(
            type(elsewhere)(
                0,
                1,
                0,
                "e",
                START_MS,
                (0, 0, 0),
                tables=elsewhere.tables,
                contexts=elsewhere.contexts,
                names=elsewhere.names,
            )
        ),
    )
    world.send(OBSERVATIONS, encode_observation(batch_of(GOOD, 5, 0, START_MS, 1)))
    assert [letter.detail for letter in world.dead_letters()] == [
        "belongs to partition 1 of observations",
        "no source partition 5",
    ]


def test_an_order_in_the_wrong_partition_is_set_aside() -> None:
    """An experiment lives in one partition: two would make two histories of it."""
    world = World()
    world.decider = Decider(1, 1, 2, world.outputs.append, ENGINE)
    for name in ("ranker", "a", "b", "c", "d", "no name"):
        world.order("APPLY", spec_of({"canary": CANARY}), experiment=name)
    homes = {decision.experiment for decision in world.decisions()}
    letters = {letter.detail for letter in world.dead_letters()}
    assert homes
    assert f"{len(homes) + len(letters)}" == "6"
    assert "no name is no name of an experiment" in letters


def test_facts_are_counted_by_where_they_belong(world: World) -> None:
    """Unknown experiments, other generations, unknown variants: counted, no state."""
    world.observe(
        Group("champion", 10),
        Group("champion", 3, experiment="unknown"),
        Group("champion", 4, generation=9),
        Group("nobody", 5),
        Group("champion", 6, closed=True),
    )
    counters = world.decider.counters()
    assert counters["fact.counted"] == 16
    assert counters["fact.unknown_experiment"] == 3
    assert counters["fact.other_generation"] == 4
    assert counters["fact.unknown_variant"] == 5
    assert counters["fact.input"] == 28
    assert counters["observations.input"] == counters["observations.counted"] == 1
    assert list(world.decider.experiments) == [NAME]


def test_counters_tell_what_became_of_each_variant(world: World) -> None:
    """By experiment, generation, variant, stream and class; requests are open until they close."""
    world.observe(Group("challenger", 10), Group("challenger", 4, closed=True))
    counters = world.decider.counters()
    told = {name: n for name, n in counters.items() if name.startswith(f"{NAME}/1/challenger/")}
    assert told == {
        f"{NAME}/1/challenger/prediction.input": 10,
        f"{NAME}/1/challenger/prediction.counted": 4,
        f"{NAME}/1/challenger/prediction.pending": 6,
        f"{NAME}/1/challenger/shadow.input": 0,
        f"{NAME}/1/challenger/shadow.counted": 0,
        f"{NAME}/1/challenger/outcome.input": 0,
        f"{NAME}/1/challenger/outcome.counted": 0,
    }
    assert f"{NAME}/1/champion/prediction.input" in counters


def test_a_rollback_nobody_confirms_is_an_alarm(world: World) -> None:
    """Ten seconds of log time; who has not said so is named; said once."""
    world.applied("slow", version=1)
    world.observe(*BAD)
    world.applied("quick", version=1, rolled_back=("challenger",))
    for _ in range(12):
        world.tick(1_000)
        world.applied("slow", kind="HEARTBEAT", experiment="")
        world.applied("quick", kind="HEARTBEAT", experiment="")
    (alert,) = world.commands("ALERT")
    assert "confirmed by 1 of 2 clients after 10 s; missing: slow" in alert.reason
    assert alert.experiment == NAME


def test_a_confirmed_rollback_is_no_alarm(world: World) -> None:
    """By the record or by the table; a client that says goodbye is not waited for."""
    for client in ("a", "b", "c"):
        world.applied(client, version=1)
    world.observe(*BAD)
    world.applied("a", version=2)
    world.applied("b", version=1, rolled_back=("challenger",))
    world.applied("c", kind="GOODBYE")
    world.tick(20_000)
    assert world.commands("ALERT") == []
    assert world.state.unconfirmed == []


def test_two_experiments_do_not_touch_each_other(world: World) -> None:
    """A breach in one leaves the other as it was."""
    world.order("APPLY", spec_of({"canary": CANARY}), experiment="other")
    world.observe(*BAD)
    other = [item for item in world.decisions() if item.experiment == "other"]
    assert [item.action for item in other] == ["APPLY"]
    assert world.last().experiment == NAME


def test_offsets_are_positions_of_records_not_of_fetches(world: World) -> None:
    """However records are cut into runs, a decision covers the same."""
    orders = [
        codec.encode(
            Control(
                control_id=f"x{number}",
                experiment=NAME,
                action="PAUSE",
                actor="a",
                role="b",
                reason="",
                issued_at=START_MS,
            )
        )
        for number in range(3)
    ]
    split, whole = World(), World()
    for one in (split, whole):
        one.apply({"canary": CANARY}, FULL)
    for value in orders:
        split.send(CONTROL, value)
    whole.decider.records(
        Run(CONTROL, START_MS, 0, [b"before", *orders, b"after"], 1, 4, lambda index: 0)
    )
    assert [item.covers["control"] for item in whole.decisions()[1:]] == [1, 2, 3]
    assert [item.covers["control"] for item in split.decisions()[1:]] == [2, 3, 4]


def test_a_fault_of_ours_is_no_dead_letter(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what cannot be read is set aside; a decision that cannot be written stops the fold."""

    def broken(*given: object) -> bytes:
        raise EventError("length", "too long")

    monkeypatch.setattr(Journal, "decision", broken)
    with pytest.raises(EventError):
        world.order("PAUSE")
    assert world.dead_letters() == []


def test_a_view_too_large_for_a_command_is_left_out() -> None:
    """Decisions and tables go on; they hold the same numbers."""
    world = World()
    candidates = tuple(f"candidate-{number:03d}" for number in range(250))
    world.apply({"canary": CANARY}, candidates=candidates)
    assert world.commands("STATUS") == []
    assert sum(world.last().weights.values()) == 10_000
