"""People's orders: each is answered exactly once, by what it caused or by REFUSED."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.streams.deciding.world import BANDIT, CANARY, ERRORS, NAME, Group, World, spec_of
from tidegate.schemas.events import Decision
from tidegate.streams.routing import weights_of

FULL = {"full": {"keep_previous": "60s"}}
STEPS = ({"canary": CANARY}, FULL)
THREE = ("blue", "green")


@pytest.fixture
def world() -> World:
    """A canary that has just begun."""
    world = World()
    world.apply(*STEPS)
    return world


@pytest.fixture
def three() -> World:
    """A bandit over two candidates."""
    world = World()
    world.apply({"bandit": BANDIT}, FULL, candidates=THREE)
    return world


@pytest.fixture
def flag() -> World:
    """A flag: all to control."""
    world = World()
    world.apply(candidates=THREE)
    return world


def test_pause_and_resume(world: World) -> None:
    """A pause keeps the shares; what follows a resume is judged anew, from its table on."""
    world.order("PAUSE")
    assert (world.last().phase, world.last().weights["challenger"]) == ("PAUSED", 1000)
    world.tick(30_000)
    world.order("RESUME")
    assert world.last().phase == "RUNNING"
    assert world.tables()[-1].version == 3
    assert world.state.since_ms == world.log_time_ms
    assert world.last().reason == "resumed by ann: because"


def test_abort_gives_everything_to_control(world: World) -> None:
    """The end of a release by a person."""
    world.order("ABORT")
    assert world.last().phase == "ABORTED"
    assert world.last().weights == {"champion": 10_000, "challenger": 0}
    assert world.state.shadow == {}


def test_promote_goes_to_the_full_step(world: World) -> None:
    """The only candidate needs no name; the previous variant is kept for a while."""
    world.order("PROMOTE")
    assert (world.last().action, world.last().phase, world.last().step) == (
        "PROMOTE",
        "PROMOTED",
        1,
    )
    assert world.last().weights == {"champion": 0, "challenger": 10_000}


def test_promote_without_a_full_step_ends_the_release() -> None:
    """Nothing is left to do then."""
    world = World()
    world.apply({"canary": CANARY})
    world.order("PROMOTE")
    assert (world.last().phase, world.last().weights["challenger"]) == ("COMPLETED", 10_000)


def test_promote_to_next_passes_one_step() -> None:
    """A person takes the place of the step's own condition."""
    world = World()
    world.apply({"canary": CANARY}, {"bandit": BANDIT}, FULL)
    world.order("PROMOTE", arguments={"to": "next"})
    assert (world.last().action, world.last().step) == ("ADVANCE", 1)
    world.order("PROMOTE", arguments={"to": "next"})
    assert (world.last().action, world.last().phase) == ("PROMOTE", "PROMOTED")


def test_promote_needs_a_name_among_several(three: World) -> None:
    """Nobody guesses."""
    three.order("PROMOTE")
    assert three.last().action == "REFUSED"
    assert "name the variant; candidates: blue and green" in three.last().reason
    three.order("PROMOTE", arguments={"to": "next"})
    assert three.last().action == "REFUSED"
    three.order("PROMOTE", arguments={"variant": "green"})
    assert three.last().weights == {"champion": 0, "blue": 0, "green": 10_000}


def test_what_is_rolled_back_is_not_promoted(three: World) -> None:
    """Rollback wins, also while others go on."""
    three.order("ROLLBACK", arguments={"variant": "blue"})
    three.order("PROMOTE", arguments={"variant": "blue"})
    assert three.last().action == "REFUSED"
    assert "rolled back for this generation" in three.last().reason


def test_the_last_step_has_no_next() -> None:
    """Passing on needs somewhere to go."""
    world = World()
    world.apply({"canary": CANARY})
    world.order("PROMOTE", arguments={"to": "next"})
    assert world.last().action == "REFUSED"
    assert "no step follows" in world.last().reason


def test_rollback_gives_the_share_to_control(three: World) -> None:
    """The others keep every bucket; the release goes on without it."""
    before = three.tables()[-1]
    three.order("ROLLBACK", arguments={"variant": "blue"})
    decision, table = three.last(), three.tables()[-1]
    assert (decision.action, decision.phase, decision.variant) == ("ROLLBACK", "RUNNING", "blue")
    assert table.rolled_back == ("blue",)
    assert weights_of(table) == {"champion": 6667, "blue": 0, "green": 3333}
    green = [item for item in before.buckets if item.variant == "green"]
    assert [item for item in table.buckets if item.variant == "green"] == green
    assert three.own_orders() == []


def test_rollback_to_another_variant(three: World) -> None:
    """The heir named gets the share."""
    three.order("ROLLBACK", arguments={"variant": "blue", "to": "green"})
    assert three.last().weights == {"champion": 3334, "blue": 0, "green": 6666}


def test_rolling_back_the_last_candidate_ends_the_release(three: World) -> None:
    """Nothing is left to release."""
    three.order("ROLLBACK", arguments={"variant": "blue"})
    three.order("ROLLBACK")
    assert three.last().phase == "ROLLED_BACK"
    assert three.last().weights == {"champion": 10_000, "blue": 0, "green": 0}


def test_rollback_of_what_was_promoted_returns_to_control(three: World) -> None:
    """Also when another candidate stood by at 0."""
    three.order("PROMOTE", arguments={"variant": "green"})
    three.order("ROLLBACK", arguments={"variant": "blue"})
    assert three.last().phase == "PROMOTED"
    three.order("ROLLBACK", arguments={"variant": "green"})
    assert three.last().phase == "ROLLED_BACK"
    assert three.last().weights["champion"] == 10_000


def test_who_stood_by_can_be_rolled_back_after_the_promoted_one(three: World) -> None:
    """The release is over; the wish is still fulfilled."""
    three.order("PROMOTE", arguments={"variant": "green"})
    three.order("ROLLBACK", arguments={"variant": "green"})
    three.order("ROLLBACK", arguments={"variant": "blue"})
    assert (three.last().action, three.last().phase) == ("ROLLBACK", "ROLLED_BACK")
    assert three.state.rolled_back == ["blue", "green"]


def test_a_repeated_wish_to_roll_back_is_fulfilled(three: World) -> None:
    """It is answered, and nothing moves."""
    three.order("ROLLBACK", arguments={"variant": "blue"})
    tables = len(three.tables())
    three.order("ROLLBACK", arguments={"variant": "blue"})
    assert three.last().action == "ROLLBACK"
    assert "already" in three.last().reason
    assert len(three.tables()) == tables


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "name the variant"),
        ({"variant": "champion"}, "is control"),
        ({"variant": "nobody"}, "not a candidate"),
    ],
)
def test_rollbacks_that_are_refused(three: World, arguments: dict[str, str], said: str) -> None:
    """Somebody has to answer, and it must be clear who goes."""
    three.order("ROLLBACK", arguments=arguments)
    assert three.last().action == "REFUSED"
    assert said in three.last().reason


@pytest.mark.parametrize("heir", ["blue", "nobody"])
def test_a_rollback_to_whom_it_cannot_go_is_carried_out(three: World, heir: str) -> None:
    """Clients obey the record as soon as they read it, so the decider must not think otherwise:
    control takes the share."""
    three.order("ROLLBACK", arguments={"variant": "blue", "to": heir}, generation=1)
    assert three.last().action == "ROLLBACK"
    assert f"because {heir} cannot take over" in three.last().reason
    assert three.last().weights["blue"] == 0
    assert three.tables()[-1].rolled_back == ("blue",)


@pytest.mark.parametrize("orders", list(itertools.permutations(["PROMOTE", "ROLLBACK", "RESUME"])))
def test_rollback_beats_promotion_in_every_order(orders: tuple[str, ...]) -> None:
    """Whatever order people's words arrive in, the variant ends at 0."""
    world = World()
    world.apply(*STEPS)
    world.order("PAUSE")
    for action in orders:
        world.order(action, arguments={"variant": "challenger"})
    assert world.last().weights["challenger"] == 0
    assert world.state.rolled_back == ["challenger"]


def test_a_rolled_back_variant_stays_at_0_in_its_generation(world: World) -> None:
    """Nothing but a new generation brings it back."""
    world.order("ROLLBACK")
    for action in ("PROMOTE", "RESUME", "PAUSE", "SET", "ABORT"):
        world.order(action, arguments={"variant": "challenger"})
        assert world.last().action == "REFUSED"
    world.order("APPLY", spec_of(*STEPS), parent=world.state.spec.digest())
    assert world.last().phase == "ROLLED_BACK"
    world.order(
        "APPLY", spec_of(*STEPS), parent=world.state.spec.digest(), arguments={"restart": "true"}
    )
    assert (world.last().generation, world.last().weights["challenger"]) == (2, 1000)
    assert world.tables()[-1].rolled_back == ()


def test_flags_are_set_by_people(flag: World) -> None:
    """What is not named stays; control takes the rest; control alone is the kill switch."""
    assert flag.last().step == -1
    flag.order("SET", arguments={"blue": "2500"})
    flag.order("SET", arguments={"green": "500"})
    assert flag.last().weights == {"champion": 7000, "blue": 2500, "green": 500}
    assert flag.last().reason == "set to blue 25 %, champion 70 %, green 5 % by ann: because"
    flag.order("SET", arguments={"champion": "10000"})
    assert flag.last().weights == {"champion": 10_000, "blue": 0, "green": 0}
    assert flag.last().phase == "FLAG"


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"nobody": "1"},
        {"blue": "-1"},
        {"blue": "10001"},
        {"blue": "0.5"},
        {"blue": "x"},
        {"blue": "1" * 5_000},
        {"blue": "²"},
        {"blue": "6000", "green": "6000"},
        {"blue": "1000", "champion": "1000"},
    ],
)
def test_shares_that_cannot_be_are_refused(flag: World, arguments: dict[str, str]) -> None:
    """Whole basis points, known variants, sum 10,000; not as many digits as Python refuses."""
    flag.order("SET", arguments=arguments)
    assert flag.last().action == "REFUSED"
    assert flag.last().weights == {"champion": 10_000, "blue": 0, "green": 0}


def test_a_rolled_back_flag_variant_cannot_be_set(flag: World) -> None:
    """The flag stands, without it."""
    flag.order("SET", arguments={"blue": "2500"})
    flag.order("ROLLBACK", arguments={"variant": "blue"})
    assert flag.last().weights["blue"] == 0
    flag.order("SET", arguments={"blue": "100"})
    assert flag.last().action == "REFUSED"
    flag.order("ROLLBACK", arguments={"variant": "green"})
    assert flag.last().phase == "FLAG"


def test_releases_are_not_set_by_hand(world: World) -> None:
    """The release decides; the answer says what to use."""
    world.order("SET", arguments={"challenger": "5000"})
    assert world.last().action == "REFUSED"
    assert "promote, pause, abort" in world.last().reason


@pytest.mark.parametrize("action", ["PROMOTE", "PAUSE", "RESUME", "ABORT"])
def test_flags_have_no_release_to_move(flag: World, action: str) -> None:
    """Orders to a release make no sense for a flag."""
    flag.order(action)
    assert flag.last().action == "REFUSED"
    assert "FLAG" in flag.last().reason


@pytest.mark.parametrize("action", ["SIGN", "DANCE"])
def test_other_actions_are_not_in_this_version(world: World, action: str) -> None:
    """Refused by name, with what is known."""
    world.order(action)
    assert "is not in this version" in world.last().reason


def test_a_repeated_control_id_has_no_effect(world: World) -> None:
    """Producers retry; the second copy is counted and nothing else."""
    world.order("PAUSE", control_id="same")
    world.order("RESUME")
    world.order("PAUSE", control_id="same")
    assert world.actions() == ["APPLY", "PAUSE", "RESUME"]
    assert world.decider.counters()["order.repeated"] == 1


def test_a_rollback_expires_by_the_clock_its_clients_go_by(world: World) -> None:
    """Clients know a record's timestamp and no log time; were the decider to go by the other,
    they would withhold what it lets serve."""
    expires_at = world.log_time_ms + 10
    named = {"variant": "challenger"}
    wanted: dict[str, Any] = {"generation": 1, "arguments": named, "expires_at": expires_at}
    world.producer_ahead_ms = 11
    world.order("ROLLBACK", **wanted)
    assert world.last().reason == "ROLLBACK refused: it expired 1 ms before it was sent"
    world.tick(60_000)
    world.producer_ahead_ms = expires_at - world.log_time_ms
    world.order("ROLLBACK", **wanted)
    assert world.last().action == "ROLLBACK"


def test_an_expired_order_is_refused(world: World) -> None:
    """By log time; also one that is older than our memory of ids."""
    world.tick(5_000)
    world.order("PAUSE", expires_at=world.log_time_ms - 1)
    assert world.last().action == "REFUSED"
    assert "expired 1 ms before" in world.last().reason
    world.order("PAUSE", issued_at=world.log_time_ms - 86_400_001)
    assert "more than a day" in world.last().reason
    world.order("PAUSE", expires_at=world.log_time_ms)
    assert world.last().action == "PAUSE"


def test_an_order_for_another_generation_is_refused(world: World) -> None:
    """A late wish about what ran before must not touch what runs now."""
    world.order("ROLLBACK", generation=2)
    assert world.last().action == "REFUSED"
    assert "generation 2, and 1 runs" in world.last().reason
    world.order("ROLLBACK", generation=1)
    assert world.last().action == "ROLLBACK"


def refusal(world: World, action: str, spec: Any = None, **changes: Any) -> Decision:
    """The answer to an order before the experiment exists."""
    control_id = world.order(action, spec, **changes)
    decision = world.last()
    assert (decision.action, decision.version, decision.control_id) == ("REFUSED", 0, control_id)
    return decision


def test_orders_to_unknown_experiments_are_refused_without_state() -> None:
    """The answer stands outside any chain; nothing is remembered but the id."""
    world = World()
    assert "apply its manifest first" in refusal(world, "PAUSE").reason
    assert "none was ever applied" in refusal(world, "APPLY", spec_of(FULL), parent="x").reason
    assert "generation 3" in refusal(world, "APPLY", spec_of(FULL), generation=3).reason
    assert "APPLY refused" in refusal(world, "APPLY", spec="{}").reason
    assert world.decider.experiments == {}
    world.apply(*STEPS)
    assert world.last().version == 1


def test_an_apply_against_another_manifest_is_refused(world: World) -> None:
    """Compare and set: the second of two writers looks again."""
    running = world.state.spec.digest()
    first = spec_of(*STEPS, guardrails=[])
    second = spec_of(*STEPS, objective=None)
    world.order("APPLY", first, parent=running)
    world.order("APPLY", second, parent=running)
    assert world.actions() == ["APPLY", "APPLY", "REFUSED"]
    assert "look at the difference again" in world.last().reason
    world.order("APPLY", second)
    assert world.last().action == "REFUSED"
    world.order("APPLY", parent=first.digest())
    assert "holds no spec" in world.last().reason
    world.order("APPLY", parent=first.digest(), spec='{"unit": 1}')
    assert world.last().action == "REFUSED"


def amended(world: World, *release: Any, **changes: Any) -> Decision:
    """The answer to a changed manifest."""
    world.order("APPLY", spec_of(*release, **changes), parent=world.state.spec.digest())
    return world.last()


def test_a_change_that_keeps_the_statistics_keeps_the_generation(world: World) -> None:
    """Guardrails, objective and settings of later steps; the decision says what changed."""
    world.observe(Group("champion", 50), Group("challenger", 50))
    decision = amended(world, {"canary": CANARY}, {"full": {"keep_previous": "5s"}}, guardrails=[])
    assert decision.generation == 1
    assert decision.reason.startswith("applied (changed: guardrails and release)")
    assert world.state.ledger.tallies["champion"].exposures == 50
    assert world.state.increment == 0


def test_other_settings_of_the_running_step_begin_it_anew(world: World) -> None:
    """Its shares follow the manifest; its time is counted from here."""
    world.tick(5_000)
    decision = amended(world, {"canary": {**CANARY, "weights": ["20%"]}}, FULL)
    assert (decision.generation, decision.weights["challenger"]) == (1, 2000)
    assert world.state.since_ms == world.log_time_ms


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"unit": {"key": "session"}}, "unit"),
        ({"salt": "again"}, "salt"),
        ({"candidates": ("challenger", "third")}, "variants"),
        (
            {
                "metrics": {
                    "conversion": {
                        "type": "binary",
                        "aggregate": "last",
                        "window": "30s",
                        "default": 0.0,
                        "goal": "increase",
                    },
                    "errors": {"field": "status", "type": "rate", "goal": "decrease"},
                }
            },
            "metrics",
        ),
    ],
)
def test_a_change_that_would_mix_statistics_opens_a_generation(
    world: World, changes: dict[str, Any], said: str
) -> None:
    """Statistics start clean, and the answer names why."""
    world.observe(Group("champion", 50), Group("challenger", 50))
    decision = amended(world, {"canary": CANARY}, **changes)
    assert decision.generation == 2
    assert f"statistics of other {said} would be mixed" in decision.reason
    assert world.state.ledger.tallies["champion"].exposures == 0


def test_a_release_whose_running_step_is_another_begins_anew(world: World) -> None:
    """A step index into another list would mean nothing."""
    decision = amended(world, {"bandit": BANDIT}, FULL)
    assert "the running step is another one" in decision.reason
    world.order("PROMOTE")
    decision = amended(world, {"bandit": BANDIT})
    assert decision.generation == 3


def test_a_flag_and_a_release_are_two_things(world: World) -> None:
    """Going from one to the other opens a generation."""
    assert amended(world).phase == "FLAG"
    assert world.state.generation == 2
    assert amended(world, *STEPS).phase == "RUNNING"


def test_a_flag_is_amended_in_place(flag: World) -> None:
    """Shares that people set stay when the manifest changes elsewhere."""
    flag.order("SET", arguments={"blue": "2500"})
    decision = amended(flag, candidates=THREE, guardrails=[])
    assert (decision.generation, decision.weights["blue"]) == (1, 2500)


def test_a_flag_moves_to_shares_that_are_written_otherwise(flag: World) -> None:
    """What a manifest says of the shares is done, but for whom it was taken from."""
    flag.order("ROLLBACK", arguments={"variant": "green"})
    shares = {"champion": "50%", "blue": "30%", "green": "20%"}
    decision = amended(flag, candidates=THREE, flag={"weights": shares})
    assert decision.generation == 1
    assert decision.weights == {"champion": 7_000, "blue": 3_000, "green": 0}
    assert "now blue 30 %, champion 70 % and green 0 %" in decision.reason
    assert flag.tables()[-1].version == flag.state.first_table[1]
    flag.order("SET", arguments={"blue": "0"})
    again = amended(flag, candidates=THREE, flag={"weights": shares}, guardrails=[])
    assert again.weights["blue"] == 0


def test_a_promoted_release_is_amended_in_place(world: World) -> None:
    """Nothing begins anew when the winner serves already."""
    world.order("PROMOTE")
    since_ms = world.state.since_ms
    world.tick(1_000)
    decision = amended(world, {"canary": CANARY}, {"full": {"keep_previous": "5s"}})
    assert (decision.phase, world.state.since_ms) == ("PROMOTED", since_ms)


def test_a_changed_manifest_after_the_end_starts_a_release(world: World) -> None:
    """An ended release is not amended."""
    world.order("ABORT")
    decision = amended(world, *STEPS, guardrails=[{**ERRORS, "min_samples": 5}])
    assert (decision.generation, decision.phase) == (2, "RUNNING")
    assert "the release before it is ABORTED" in decision.reason


def test_every_order_is_answered_exactly_once(world: World) -> None:
    """Whatever is asked in whatever phase, one decision names the control id."""
    ids = [
        world.order(action, arguments=arguments)
        for action in (
            "PAUSE",
            "PROMOTE",
            "RESUME",
            "SET",
            "ROLLBACK",
            "ABORT",
            "APPLY",
            "NONSENSE",
        )
        for arguments in ({}, {"variant": "challenger"}, {"to": "next"})
        for _ in range(2)
    ]
    answered = [item.control_id for item in world.decisions() if item.experiment == NAME]
    assert sorted(filter(None, answered[1:])) == sorted(ids)


def test_long_words_of_people_are_clipped(world: World) -> None:
    """A decision is one sentence, however much was said."""
    world.order("PAUSE", reason="x" * 8_000)
    assert len(world.last().reason) == 1_000
