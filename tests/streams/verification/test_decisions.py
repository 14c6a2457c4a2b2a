"""Decisions, tables, commands and own rollbacks held against those derived again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.streams.deciding.world import ENGINE, NAME, World
from tidegate.schemas.codec import decode_as, encode
from tidegate.schemas.events import Control, Decision
from tidegate.streams.output import Output
from tidegate.streams.verification.decisions import Covered, DecisionAudit, first_covering
from tidegate.streams.verification.findings import Difference, Tally, total


def outputs() -> list[Output]:
    """What a decider wrote about a flag whose share was set three times."""
    world = World()
    world.apply()
    for share in (1_000, 2_000, 3_000):
        world.tick(1_000)
        world.order("SET", arguments={"challenger": str(share)})
    world.tick(2_000)
    return world.outputs


def audit(recorded: list[Output], derived: list[Output], **arguments: Any) -> DecisionAudit:
    """The audit of both."""
    held = DecisionAudit(0, **{"engine": ENGINE, **arguments})
    for offset, output in enumerate(recorded):
        if output.topic in held.tallies:
            held.recorded(output.topic, output.value, offset)
    for output in derived:
        held.derived(output.topic, output.value)
    held.finish()
    return held


def told(held: DecisionAudit) -> list[tuple[str, str, str]]:
    """(topic, name, what) of all differences."""
    return [
        (it.topic, it.name, it.what) for tally in held.tallies.values() for it in tally.differences
    ]


def decisions(written: list[Output]) -> list[int]:
    """Where the decisions stand among the outputs."""
    return [place for place, output in enumerate(written) if output.topic == "decisions"]


def changed(output: Output, **fields: Any) -> Output:
    """A decision with other fields."""
    return replace(output, value=encode(replace(decode_as(Decision, output.value), **fields)))


def test_equal_records_are_equal() -> None:
    """Every topic is compared and nothing differs; tombstones say nothing."""
    written = outputs()
    assert any(output.value is None for output in written)
    held = audit(written, written)
    assert told(held) == []
    for topic in ("decisions", "routing", "commands"):
        assert held.tallies[topic].equal == held.tallies[topic].recorded > 0
    assert [it.decision_id for it in held.decisions] == [f"{NAME}/0/{n}" for n in range(1, 5)]


def test_a_changed_decision_differs() -> None:
    """One byte is enough."""
    written = outputs()
    place = decisions(written)[1]
    recorded = list(written)
    recorded[place] = changed(written[place], reason="otherwise")
    assert told(audit(recorded, written)) == [("decisions", f"{NAME}/0/2", "differs")]


def test_copies_are_held_against_the_first() -> None:
    """A restarted decider writes again: equal copies are fine, others are told."""
    written = outputs()
    place = decisions(written)[1]
    again = [*written, written[place], changed(written[place], reason="otherwise")]
    held = audit(again, written)
    assert held.tallies["decisions"].copies == 2
    assert told(held) == [("decisions", f"{NAME}/0/2", "copies differ")]


def test_decisions_must_be_whole_and_no_more() -> None:
    """One left out below the last is missing, one more is unexpected, the last may lack."""
    written = outputs()
    places = decisions(written)
    without = [it for place, it in enumerate(written) if place != places[1]]
    assert told(audit(without, written)) == [("decisions", f"{NAME}/0/2", "missing")]
    assert told(audit(written[: places[3]], written)) == []
    assert ("decisions", f"{NAME}/0/4", "unexpected") in told(audit(written, written[: places[3]]))


def test_what_retention_has_deleted_is_not_missed() -> None:
    """Tables and commands are deleted in time; those still there are compared."""
    written = outputs()
    kept = [it for it in written if it.topic not in ("routing", "commands")]
    assert told(audit(kept, written)) == []
    table = next(it for it in written if it.topic == "routing" and it.value is not None)
    forged = replace(table, value=(table.value or b"")[:-1] + b"\x02")
    assert [it[2] for it in told(audit([*kept, forged], written))] == ["differs"]


def test_only_the_deciders_own_orders_are_compared() -> None:
    """People's orders are input, not output; an order in the decider's name is output."""
    order = Control(
        control_id="c1", experiment=NAME, action="ROLLBACK", actor="ann", role="owner",
        reason="", issued_at=1,
    )  # fmt: skip
    person = Output("control", 0, b"", encode(order))
    forged = Output("control", 0, b"", encode(replace(order, control_id="c2", role="decider")))
    held = audit([person, forged], [])
    assert held.tallies["control"].recorded == 1
    assert told(held) == [("control", "c2", "unexpected")]


def test_another_engine_is_not_compared() -> None:
    """Its decisions are counted as another engine's, neither equal nor different."""
    written = outputs()
    only = [written[place] for place in decisions(written)]
    held = audit(only, written, engine="newer")
    assert held.tallies["decisions"].other_engines == {ENGINE: 4}
    assert held.tallies["decisions"].equal == 0
    assert told(held) == []


def test_one_experiment_alone() -> None:
    """With a name, records about others are passed over."""
    written = outputs()
    held = audit(written, written, experiment="other")
    assert held.tallies["decisions"].recorded == 0
    assert audit(written, written, experiment=NAME).tallies["decisions"].equal == 4


def test_what_cannot_be_read_is_counted() -> None:
    """A record that is no event of its topic is never passed over in silence."""
    held = audit([Output("decisions", 0, b"", b"junk")], [Output("dead-letters", 0, b"", b"x")])
    assert held.tallies["decisions"].unreadable == 1


def test_the_first_decision_that_covers_a_batch() -> None:
    """The first in its log whose evidence reaches beyond the batch; none when none does."""
    made = [
        Covered(f"d{next_sequence}", NAME, 0, 0, {"observations/1": next_sequence})
        for next_sequence in (0, 3, 5, 9)
    ]
    difference = Difference("observations", 0, "", "differs", 0, 0, 1, 4)
    found = first_covering(difference, made)
    assert found is not None
    assert found.decision_id == "d5"
    assert first_covering(replace(difference, sequence=9), made) is None
    assert first_covering(replace(difference, source_partition=0), made) is None


def test_tallies_add_up() -> None:
    """The tally of a topic is the sum over its partitions."""
    one = Tally(recorded=3, copies=1, derived=2, equal=2, unreadable=1, other_engines={"a": 1})
    two = Tally(recorded=1, differences=[Difference("t", 0, "n", "differs", 0, 0)])
    two.foreign("a")
    two.foreign("b")
    summed = total([one, two])
    assert (summed.recorded, summed.copies, summed.derived, summed.equal) == (4, 1, 2, 2)
    assert summed.unreadable == 1
    assert summed.other_engines == {"a": 2, "b": 1}
    assert summed.differences == two.differences
