"""Layers: no unit in two experiments, two who want the same told apart, and nobody moved."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.streams.deciding.world import NAME, World, spec_of
from tidegate.schemas.errors import DefinitionError, EventError
from tidegate.schemas.events import Control
from tidegate.schemas.manifest import ExperimentSpec
from tidegate.schemas.manifest.layer import LayerShare
from tidegate.streams.assignment import assign, prepare
from tidegate.streams.deciding.layers import LayerState, carry_out, width

SHOP = "shop"


def ask(world: World, action: str, experiment: str = "", **changes: Any) -> str:
    """An order to the layer, written against what is allotted now; the answer's action."""
    fields: dict[str, Any] = {"experiment": SHOP, "parent": digest(world), "arguments": {}}
    if experiment:
        share = {"share_bp": str(changes.pop("share_bp"))} if "share_bp" in changes else {}
        fields["arguments"] = {"experiment": experiment, **share}
    world.order(action, **{**fields, **changes})
    return world.last().action


def digest(world: World) -> str | None:
    """Of the layer's last decision; None before there was one."""
    found = [each for each in world.decisions() if each.phase == "LAYER"]
    return json.loads(found[-1].evidence)["digest"] if found else None


def slots(world: World) -> dict[str, list[list[int]]]:
    """What is allotted."""
    found = [each for each in world.decisions() if each.phase == "LAYER"]
    allotted: dict[str, list[list[int]]] = json.loads(found[-1].evidence)["slots"]
    return allotted


def declared() -> World:
    """A layer without experiments."""
    world = World()
    assert ask(world, "LAYER", arguments={"salt": "s"}, parent=None) == "LAYER"
    return world


def test_slots_are_allotted_and_never_shared() -> None:
    """Each gets the share it asked for, side by side."""
    world = declared()
    assert ask(world, "ALLOT", "one", share_bp=3_000) == "ALLOT"
    assert ask(world, "ALLOT", "two", share_bp=6_000) == "ALLOT"
    assert slots(world) == {"one": [[0, 3_000]], "two": [[3_000, 9_000]]}
    assert json.loads(world.last().evidence)["shares"] == {"one": 3_000, "two": 6_000}
    assert world.last().reason == "60 % allotted to two by ann: because"
    assert [each.version for each in world.decisions()] == [1, 2, 3]


@pytest.mark.parametrize("share_bp", ["", "0", "-1", "10001", "x", "1" * 5_000, "01" + "0" * 5_000])
def test_shares_of_a_layer_that_cannot_be_are_refused(share_bp: str) -> None:
    """Whole basis points from 1 on; thousands of digits are refused like any others."""
    world = declared()
    assert ask(world, "ALLOT", "one", share_bp=share_bp) == "REFUSED"
    assert slots(world) == {}


def test_more_than_is_free_is_refused() -> None:
    """And it says what is free and who has the rest."""
    world = declared()
    ask(world, "ALLOT", "one", share_bp=8_000)
    assert ask(world, "ALLOT", "two", share_bp=3_000) == "REFUSED"
    assert "20 % of shop is free, and two asks for 30 % more; allotted: one 80 %" in (
        world.last().reason
    )
    assert slots(world) == {"one": [[0, 8_000]]}


def test_of_two_writers_one_wins_and_the_other_is_told() -> None:
    """Both saw the same allotment; the second is refused, whatever would be free."""
    world = declared()
    seen = digest(world)
    assert ask(world, "ALLOT", "one", share_bp=1_000, parent=seen) == "ALLOT"
    assert ask(world, "ALLOT", "two", share_bp=1_000, parent=seen) == "REFUSED"
    assert "somebody else has changed the layer meanwhile" in world.last().reason
    assert ask(world, "ALLOT", "two", share_bp=1_000) == "ALLOT"


def test_who_grows_keeps_what_it_has() -> None:
    """Units of an experiment stay in it; new ones come from what is free."""
    world = declared()
    for name in ("one", "two"):
        ask(world, "ALLOT", name, share_bp=2_000)
    ask(world, "ALLOT", "one", share_bp=3_000)
    assert slots(world)["one"] == [[0, 2_000], [4_000, 5_000]]
    assert ask(world, "ALLOT", "one", share_bp=1_000) == "REFUSED"
    assert "slots in use are not taken away" in world.last().reason


def test_released_slots_are_free_again() -> None:
    """The next one gets them."""
    world = declared()
    ask(world, "ALLOT", "one", share_bp=6_000)
    ask(world, "ALLOT", "two", share_bp=4_000)
    assert ask(world, "RELEASE", "one") == "RELEASE"
    assert ask(world, "ALLOT", "three", share_bp=5_000) == "ALLOT"
    assert slots(world) == {"two": [[6_000, 10_000]], "three": [[0, 5_000]]}
    assert ask(world, "RELEASE", "one") == "REFUSED"


@pytest.mark.parametrize("share", ["", "0", "-1", "10001", "1.5", "many", "1" * 5_000, "٣"])
def test_what_is_no_share_is_refused(share: str) -> None:
    """Nothing is allotted to nonsense."""
    world = declared()
    assert ask(world, "ALLOT", "one", share_bp=share) == "REFUSED"


def test_another_salt_needs_an_empty_layer() -> None:
    """It would move every unit of every experiment."""
    world = declared()
    ask(world, "ALLOT", "one", share_bp=1_000)
    assert ask(world, "LAYER", arguments={"salt": "other"}) == "REFUSED"
    ask(world, "RELEASE", "one")
    assert ask(world, "LAYER", arguments={"salt": "other"}) == "LAYER"


def test_a_name_is_a_layers_or_an_experiments() -> None:
    """Their decisions stand under one name, so they would be one history."""
    world = World()
    world.apply()
    world.order("LAYER", arguments={})
    assert world.last().action == "REFUSED"
    assert f"{NAME} is an experiment, not a layer" in world.last().reason
    world = declared()
    world.order("APPLY", spec_of(), experiment=SHOP)
    assert "shop is a layer; layers know LAYER, ALLOT, RELEASE" in world.last().reason
    world = World()
    assert ask(world, "ALLOT", "one", share_bp=1, parent=None) == "REFUSED"
    assert "apply its manifest first" in world.last().reason


def test_orders_are_signed_repeated_and_remembered() -> None:
    """A repeated order has no effect, one without a name is refused, a restart forgets nothing."""
    world = declared()
    ask(world, "ALLOT", "one", share_bp=1_000, control_id="once")
    ask(world, "ALLOT", "two", share_bp=1_000, control_id="once")
    assert slots(world) == {"one": [[0, 1_000]]}
    assert ask(world, "ALLOT", "two", share_bp=1_000, actor=" ") == "REFUSED"
    state = world.decider.dump()
    world.decider = world.fresh()
    world.decider.load(state)
    assert world.decider.dump() == state
    assert ask(world, "ALLOT", "two", share_bp=500) == "ALLOT"
    assert slots(world) == {"one": [[0, 1_000]], "two": [[1_000, 1_500]]}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 6_000)), max_size=25))
def test_whatever_is_asked_slots_stay_apart(orders: list[tuple[str, int]]) -> None:
    """No bucket belongs to two, shares are exact, and who keeps its slots keeps all of them."""
    state = LayerState(SHOP, "s", 1)
    for name, share in orders:
        action = "ALLOT" if share else "RELEASE"
        order = Control(
            control_id="c", experiment=SHOP, action=action, parent=state.digest(), actor="a",
            role="r", reason="", issued_at=0,
            arguments={"experiment": name, "share_bp": str(share)},
        )  # fmt: skip
        before = state
        try:
            state, _ = carry_out(state, order)
        except DefinitionError:
            continue
        if share:
            assert width(state.slots[name]) == share
        owners = [each for pairs in state.slots.values() for pair in pairs for each in range(*pair)]
        assert len(owners) == len(set(owners))
        for each in before.slots.keys() & state.slots.keys():
            kept = {place for pair in state.slots[each] for place in range(*pair)}
            assert all(set(range(*pair)) <= kept for pair in before.slots[each])


def spec_in(*pairs: tuple[int, int]) -> ExperimentSpec:
    """An experiment in slots of the layer."""
    written = LayerShare.model_validate({"name": SHOP, "share": "10%"})
    share = written.model_copy(update={"salt": "s", "slots": pairs} if pairs else {})
    return spec_of().model_copy(update={"layer": share})


def test_an_experiment_serves_in_its_slots_only() -> None:
    """The table carries them; without them the spec is refused."""
    world = World()
    world.order("APPLY", spec_in((0, 3_000)))
    made = prepare(world.tables()[-1])
    reasons = [assign(made, f"u{number}", "r").reason for number in range(2_000)]
    assert abs(reasons.count("SPLIT") - 600) < 4.5 * (2_000 * 0.21) ** 0.5
    with pytest.raises(EventError, match="no slots are allotted"):
        ExperimentSpec.from_json(spec_in().to_json())
