"""What every strategy owes, held over the registry; then each strategy's own rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.streams.deciding.world import World
from tidegate.schemas.manifest.deployments import BlueGreen, Recreate, Rolling
from tidegate.schemas.manifest.reading import read_manifest
from tidegate.schemas.manifest.spec import VariantSpec
from tidegate.schemas.manifest.steps import (
    Ab,
    Approve,
    Bandit,
    Canary,
    Flag,
    Full,
    Pause,
    Rings,
    Shadow,
)
from tidegate.streams.estimation import Arm, Pair, ShadowTally
from tidegate.streams.strategies import (
    STRATEGIES,
    approve,
    bandit,
    canary,
    flag,
    full,
    pause,
)
from tidegate.streams.strategies.base import ALL_BP, Kind, Shares, Standing, Verdict, split

SETTINGS: Mapping[str, Any] = {
    "shadow": Shadow.model_validate(
        {
            "until": {"requests": 100},
            "require": {"disagreement": "<= 10%"},
            "on_inconclusive": "hold",
        }
    ),
    "canary": Canary.model_validate({"weights": ["10%", "30%"], "hold": "60s", "min_samples": 50}),
    "bandit": Bandit.model_validate(
        {"every": "1s", "until": {"p_best": "95%"}, "max_duration": "1h", "floor": "5%"}
    ),
    "rings": Rings.model_validate(
        {
            "rings": [{"name": "staff", "when": {"staff": "yes"}}, {"name": "others"}],
            "weight": "30%",
            "hold": "60s",
            "min_samples": 50,
        }
    ),
    "ab": Ab.model_validate(
        {"mde": "2pp", "max_duration": "1h", "on_inconclusive": "stop", "min_samples": 50}
    ),
    "pause": Pause.model_validate({"duration": "60s"}),
    "approve": Approve.model_validate({"by": "owner"}),
    "blue_green": BlueGreen.model_validate({"smoke": [{"request": {"x": 1}, "expect": 1}]}),
    "rolling": Rolling.model_validate({}),
    "recreate": Recreate.model_validate({}),
    "full": Full.model_validate({"keep_previous": "60s"}),
    "flag": Flag.model_validate({}),
}
ROLLING_CANARY = Canary.model_validate({"weight": "10%", "hold": "60s", "rolling": {}})
TITLES = {"ab": "A/B", "blue_green": "Blue/green"}
CANDIDATES = [("challenger",), ("blue", "green"), tuple("bcdefgh")]
DOCS = Path(__file__).parents[3] / "docs" / "strategies"


@dataclass
class Told:
    """Evidence a test makes up."""

    counts: Mapping[str, int] = field(default_factory=dict)
    compared: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    sides: Mapping[str, Sequence[Pair]] = field(default_factory=dict)
    silent: Mapping[str, int] = field(default_factory=dict)
    tallied: Mapping[str, Any] = field(default_factory=dict)
    objective: Mapping[str, Arm] = field(default_factory=dict)
    goal: Literal["increase", "decrease"] = "increase"

    def requests(self, variant: str) -> int:
        """Requests of the increment."""
        return self.counts.get(variant, 0)

    def requests_in(self, ring: str, variant: str) -> int:
        """Requests of the increment in a ring."""
        return self.counts.get(f"{ring}/{variant}", 0)

    def disagreement(self, variant: str) -> tuple[int, int]:
        """Disagreeing and compared."""
        return self.compared.get(variant, (0, 0))

    def incomparable(self, variant: str) -> int:
        """Not comparable."""
        return self.silent.get(variant, 0)

    def pairs(self, candidate: str) -> Sequence[Pair]:
        """The objective in control and a candidate."""
        return self.sides.get(candidate, ())

    def shadow(self, variant: str) -> ShadowTally:
        """The same as a tally, with what else is given."""
        disagree, total = self.disagreement(variant)
        tally = ShadowTally(total, total - disagree, disagree)
        for word, value in self.tallied.items():
            setattr(tally, word, value)
        return tally

    def arms(self, variants: Sequence[str]) -> Sequence[Arm]:
        """The objective."""
        return [self.objective.get(name, Arm(name, 0, 0.0, 0.0, True)) for name in variants]


def standing(name: str, **changes: Any) -> Standing:
    """A step of a strategy that has just begun."""
    settings = changes.pop("settings", SETTINGS[name])
    candidates = changes.get("candidates", ("challenger",))
    shares = started(name, settings, candidates)
    plain = Standing(
        settings=settings,
        control="champion",
        candidates=candidates,
        weights=shares.weights,
        increment=0,
        since_ms=1_000,
        checked_ms=0,
        watermark_ms=1_000,
        evidence=Told(),
        variants={
            item: VariantSpec(model="ranker", version=f"v{number}")
            for number, item in enumerate(("champion", *candidates), start=1)
        },
    )
    return replace(plain, **changes)


def started(name: str, settings: Any, candidates: Sequence[str]) -> Shares:
    """What a step starts with when control had everything before."""
    shares = STRATEGIES[name].start(settings, "champion", candidates, candidates[0], 0)
    assert (shares is None) == STRATEGIES[name].keeps
    return shares or Shares({"champion": ALL_BP})


def binary(name: str, n: int, rate: float) -> Arm:
    """An arm of a proportion."""
    return Arm(name, n, rate, rate * (1 - rate) / n, True)


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_a_strategy_is_registered_under_its_own_name(name: str) -> None:
    """The registry, the file and the manifest say the same word."""
    strategy = STRATEGIES[name]
    assert strategy.name == name
    assert isinstance(SETTINGS[name], strategy.settings)


@pytest.mark.parametrize("candidates", CANDIDATES)
@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_shares_begin_whole(name: str, candidates: tuple[str, ...]) -> None:
    """Whole basis points, none negative, sum 10,000, only known variants."""
    shares = started(name, SETTINGS[name], candidates)
    assert sum(shares.weights.values()) == ALL_BP
    assert min(shares.weights.values()) >= 0
    assert set(shares.weights) | set(shares.shadow) <= {"champion", *candidates}
    assert all(type(share) is int for share in shares.weights.values())


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_nothing_moves_at_its_beginning(name: str) -> None:
    """Without time and without data there is no conclusion; who waits for a person, or for
    instances, says so."""
    move = STRATEGIES[name].decide(standing(name))
    if STRATEGIES[name].back is None:
        assert move is None or move.kind is Kind.WAIT
    else:
        assert move is not None
        assert (move.kind, move.verdict, move.commands) == (Kind.HOLD, Verdict.NO_DATA, ())


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_time_alone_never_passes_a_step_that_asks_for_data(name: str) -> None:
    """No data is no success, however long it lasts; `full` and `pause` ask for time alone."""
    move = STRATEGIES[name].decide(standing(name, watermark_ms=10**12))
    if name in ("full", "pause"):
        assert move is not None
        assert move.kind is (Kind.FINISH if name == "full" else Kind.PASS)
    else:
        assert move is None or move.kind not in (Kind.PASS, Kind.INCREMENT, Kind.WEIGH)


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_the_same_standing_gives_the_same_move(name: str) -> None:
    """A strategy has no state of its own."""
    one = standing(name, watermark_ms=500_000, evidence=Told({"challenger": 99}))
    assert STRATEGIES[name].decide(one) == STRATEGIES[name].decide(one)
    assert STRATEGIES[name].outlook(one) == STRATEGIES[name].outlook(one)


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_people_are_told_where_it_stands(name: str) -> None:
    """Progress and what comes next are sentences."""
    outlook = STRATEGIES[name].outlook(standing(name))
    assert outlook.progress
    assert outlook.following


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_people_are_told_where_it_stands_when_no_candidate_is_left(name: str) -> None:
    """A release that was rolled back is looked at too; who cannot tell of it stops the decider."""
    found = replace(standing(name), candidates=())
    for strategy in (STRATEGIES[name], *STRATEGIES[name].forms.values()):
        settings = SETTINGS[name] if strategy is STRATEGIES[name] else ROLLING_CANARY
        assert strategy.outlook(replace(found, settings=settings)).progress


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_every_strategy_has_a_page_whose_manifest_runs(name: str) -> None:
    """What is not described is not there, and what is described works as it stands."""
    page = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    assert page.startswith(f"# {TITLES.get(name, name.capitalize())}\n")
    spec = read_manifest(page.partition("```yaml\n")[2].partition("```")[0], f"{name}.md").spec
    used = {step.strategy for step in spec.release} if spec.flag is None else {"flag"}
    assert name in used
    world = World()
    world.order("APPLY", spec)
    assert (world.last().action, world.last().version) == ("APPLY", 1)


@given(
    st.integers(0, ALL_BP),
    st.lists(st.text("abc", min_size=1, max_size=3), unique=True, max_size=9),
)
def test_split_is_whole_and_fair(share_bp: int, candidates: list[str]) -> None:
    """Sum 10,000, parts differ by one at most, nothing lost without candidates."""
    shares = split(share_bp, "champion", candidates)
    assert sum(shares.values()) == ALL_BP
    parts = [shares[name] for name in candidates]
    assert not parts or max(parts) - min(parts) <= 1


@pytest.mark.parametrize(
    ("answer", "increment", "kind"),
    [
        ("hold", 0, Kind.HOLD),
        ("fail", 0, Kind.STOP),
        ("pass", 0, Kind.INCREMENT),
        ("pass", 1, Kind.PASS),
    ],
)
def test_a_canary_out_of_time_ends_as_the_manifest_says(
    answer: str, increment: int, kind: Kind
) -> None:
    """Only when max_duration is over, and only what still waits."""
    settings = Canary.model_validate({
        "weights": ["10%", "30%"], "hold": "60s", "min_samples": 50, "max_duration": "90s",
        "on_inconclusive": answer,
    })  # fmt: skip
    for held_ms, samples, expected in (
        (89_999, 49, Kind.HOLD),
        (90_000, 49, kind),
        (90_000, 50, Kind.PASS if increment else Kind.INCREMENT),
    ):
        where = standing(
            "canary", settings=settings, watermark_ms=1_000 + held_ms, increment=increment,
            evidence=Told({"challenger": samples}),
        )  # fmt: skip
        move = canary.decide(where)
        assert move is not None
        ended = canary.out_of_time(where, move)
        assert ended.kind is expected
        assert ended.verdict is move.verdict


@pytest.mark.parametrize(
    ("held_ms", "increment", "requests", "kind", "verdict"),
    [
        (59_999, 0, 10_000, None, None),
        (60_000, 0, 50, Kind.INCREMENT, Verdict.PASS),
        (60_000, 1, 50, Kind.PASS, Verdict.PASS),
        (60_000, 0, 49, Kind.HOLD, Verdict.INCONCLUSIVE),
        (60_000, 0, 0, Kind.HOLD, Verdict.NO_DATA),
    ],
)
def test_canary_needs_time_and_requests(
    held_ms: int, increment: int, requests: int, kind: Kind | None, verdict: Verdict | None
) -> None:
    """Both, each alone is waiting; none at all is no data."""
    move = canary.decide(
        standing(
            "canary",
            watermark_ms=1_000 + held_ms,
            increment=increment,
            evidence=Told({"challenger": requests}),
        )
    )
    assert (move.kind if move else None, move.verdict if move else None) == (kind, verdict)


def test_canary_waits_for_the_candidate_with_fewest_requests() -> None:
    """One arm's plenty does not make up for another's lack."""
    move = canary.decide(
        standing(
            "canary",
            watermark_ms=10**6,
            candidates=("a", "b"),
            evidence=Told({"a": 900, "b": 3}),
        )
    )
    assert move is not None
    assert "but b has 3 of 50 requests: waiting" in move.reason


@pytest.mark.parametrize(("cap", "most_bp"), [("35%", 3_500), ("50%", 5_000), ("90%", 5_000)])
def test_canary_never_takes_more_than_its_cap_or_half(cap: str, most_bp: int) -> None:
    """Whatever a manifest of another version says, or one that nobody checked."""
    settings = Canary.model_validate({"weight": "80%", "cap": cap, "hold": "1s"})
    weights = canary.start(settings, "champion", ("a", "b"), "", 0).weights
    assert weights == {"champion": ALL_BP - most_bp, "a": most_bp // 2, "b": most_bp // 2}


def test_bandit_looks_on_its_own_beat() -> None:
    """Not before `every` of watermarked time since the last look."""
    arms = {
        "champion": binary("champion", 1000, 0.1),
        "challenger": binary("challenger", 1000, 0.11),
    }
    told = Told(objective=arms)
    early = standing("bandit", watermark_ms=5_500, checked_ms=5_000, evidence=told)
    assert bandit.decide(early) is None
    assert bandit.decide(replace(early, watermark_ms=6_000)) is not None


def test_bandit_moves_weights_towards_the_better_and_keeps_the_floor() -> None:
    """Shares follow the probability of being best, never below 5 %."""
    told = Told(
        objective={
            "champion": binary("champion", 2000, 0.10),
            "challenger": binary("challenger", 2000, 0.108),
        }
    )
    move = bandit.decide(standing("bandit", watermark_ms=60_000, evidence=told))
    assert move is not None
    assert move.kind is Kind.WEIGH
    assert move.weights is not None
    assert move.weights["challenger"] > 7_000
    assert min(move.weights.values()) >= 500
    assert sum(move.weights.values()) == ALL_BP


def test_bandit_moves_less_than_it_must() -> None:
    """Nearly equal evidence moves nothing."""
    told = Told(
        objective={
            "champion": binary("champion", 2000, 0.10),
            "challenger": binary("challenger", 2000, 0.10),
        }
    )
    move = bandit.decide(standing("bandit", watermark_ms=60_000, evidence=told))
    assert move is not None
    assert move.kind is Kind.CHECKED


def test_bandit_ends_with_a_winner() -> None:
    """At 95 % the candidate goes on alone."""
    told = Told(
        objective={
            "champion": binary("champion", 9000, 0.10),
            "challenger": binary("challenger", 9000, 0.12),
        }
    )
    move = bandit.decide(standing("bandit", watermark_ms=60_000, evidence=told))
    assert move is not None
    assert (move.kind, move.verdict, move.winner) == (Kind.PASS, Verdict.PASS, "challenger")
    assert move.reason.startswith("challenger is best with 100.0 % (at least 95 %)")


def test_bandit_ends_with_control_when_it_is_best() -> None:
    """The candidates did not make it; that is an answer too."""
    told = Told(
        objective={
            "champion": binary("champion", 9000, 0.12),
            "challenger": binary("challenger", 9000, 0.10),
        }
    )
    move = bandit.decide(standing("bandit", watermark_ms=60_000, evidence=told))
    assert move is not None
    assert (move.kind, move.verdict, move.winner) == (Kind.FINISH, Verdict.FAIL, "champion")


def test_bandit_of_costs_prefers_the_smaller() -> None:
    """The goal of the objective decides what better means."""
    told = Told(
        goal="decrease",
        objective={
            "champion": binary("champion", 9000, 0.12),
            "challenger": binary("challenger", 9000, 0.10),
        },
    )
    move = bandit.decide(standing("bandit", watermark_ms=60_000, evidence=told))
    assert move is not None
    assert move.winner == "challenger"


@pytest.mark.parametrize(("n", "verdict"), [(2000, Verdict.INCONCLUSIVE), (99, Verdict.NO_DATA)])
def test_bandit_without_winner_in_time_asks_a_person(n: int, verdict: Verdict) -> None:
    """Neither success nor failure."""
    told = Told(
        objective={
            "champion": binary("champion", n, 0.10),
            "challenger": binary("challenger", n, 0.10),
        }
    )
    late = standing("bandit", watermark_ms=1_000 + 3_600_000, evidence=told)
    move = bandit.decide(late)
    assert move is not None
    assert (move.kind, move.verdict) == (Kind.STOP, verdict)
    assert "ran 1:00 h of 1:00 h" in bandit.outlook(late).progress


def test_full_gives_everything_to_the_winner_or_to_control() -> None:
    """A winner that was taken away is nobody's."""
    assert full.start(SETTINGS["full"], "champion", ("a", "b"), "b", 0).weights == {"b": ALL_BP}
    assert full.start(SETTINGS["full"], "champion", ("a",), "b", 0).weights == {"champion": ALL_BP}


def test_flag_begins_with_the_manifests_shares() -> None:
    """What is not given away stays with control."""
    settings = Flag.model_validate({"weights": {"a": "10%", "champion": "90%"}})
    assert flag.start(settings, "champion", ("a", "b"), "", 0).weights == {
        "champion": 9_000,
        "a": 1_000,
        "b": 0,
    }


def test_a_pause_without_a_time_waits_for_a_person() -> None:
    """However long it lasts; with a time it passes when that is over, and not before."""
    endless = Pause.model_validate({})
    for watermark_ms in (1_000, 10**12):
        move = pause.decide(standing("pause", settings=endless, watermark_ms=watermark_ms))
        assert move is not None
        assert move.kind is Kind.WAIT
    assert pause.outlook(standing("pause", settings=endless)).progress == "waiting for a person"
    assert pause.decide(standing("pause", watermark_ms=60_999)) is None
    assert "of 1:00 min" in pause.outlook(standing("pause", watermark_ms=31_000)).progress
    move = pause.decide(standing("pause", watermark_ms=61_000))
    assert move is not None
    assert move.kind is Kind.PASS


def test_approve_says_whom_it_waits_for() -> None:
    """In the decision and on the screen."""
    move = approve.decide(standing("approve"))
    assert move is not None
    assert move.reason == "the release waits for approval by owner"
    assert "approval by owner" in approve.outlook(standing("approve")).progress
