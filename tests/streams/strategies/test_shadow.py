"""Shadow: compared with the answers that were given, and with what came of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.streams.strategies.test_strategies import SETTINGS, Told, standing
from tidegate.schemas.manifest.steps import Shadow, ShadowUntil
from tidegate.streams.estimation.moments import Sample
from tidegate.streams.strategies import shadow
from tidegate.streams.strategies.base import ALL_BP, Kind, Verdict


def test_shadow_serves_nobody_and_samples_every_candidate() -> None:
    """Control answers everybody."""
    shares = shadow.start(SETTINGS["shadow"], "champion", ("a", "b"), "", 0)
    assert shares.weights == {"champion": ALL_BP}
    assert shares.shadow == {"a": 10_000, "b": 10_000}


@pytest.mark.parametrize(
    ("pairs", "kind", "verdict"),
    [
        ({"a": (0, 99), "b": (0, 500)}, None, None),
        ({"a": (40, 1000), "b": (0, 100)}, Kind.PASS, Verdict.PASS),
        ({"a": (11, 100), "b": (0, 100)}, Kind.HOLD, Verdict.INCONCLUSIVE),
        ({"a": (11, 100), "b": (40, 100)}, Kind.STOP, Verdict.FAIL),
    ],
)
def test_shadow_judges_when_everybody_was_compared_enough(
    pairs: Mapping[str, tuple[int, int]], kind: Kind | None, verdict: Verdict | None
) -> None:
    """Every candidate needs its requests; one that breaks the requirement stops the release."""
    move = shadow.decide(standing("shadow", candidates=("a", "b"), evidence=Told(compared=pairs)))
    assert (move.kind if move else None, move.verdict if move else None) == (kind, verdict)


@pytest.mark.parametrize(
    ("answer", "kind"), [("hold", Kind.HOLD), ("fail", Kind.STOP), ("pass", Kind.PASS)]
)
def test_shadow_that_tells_nothing_ends_as_the_manifest_says(answer: str, kind: Kind) -> None:
    """Neither surely kept nor surely broken: on_inconclusive, and the verdict stays what it is."""
    settings = SETTINGS["shadow"].model_copy(update={"on_inconclusive": answer})
    told = Told(compared={"challenger": (11, 100)})
    move = shadow.decide(standing("shadow", settings=settings, evidence=told))
    assert move is not None
    assert (move.kind, move.verdict) == (kind, Verdict.INCONCLUSIVE)
    assert move.reason.endswith(f"(required <= 10.0 %, 100 compared); on_inconclusive: {answer}")


def shifted(mean: float, n: int = 400, spread: float = 1.0) -> Sample:
    """Shadow minus answer on `n` requests."""
    sample = Sample()
    sample.merge(n, n, mean, n * spread * spread)
    return sample


def missed(mean: float, n: int, spread: float = 1.0) -> dict[str, Any]:
    """Squared error of the shadow minus the answer's on `n` requests of known outcome."""
    return {"squared_error": shifted(mean, n, spread), "scored": n}


@pytest.mark.parametrize(
    ("word", "bound", "tallied", "verdict"),
    [
        ("errors", "<= 5%", {"pairs": 1000, "failures": 10}, Verdict.PASS),
        ("errors", "<= 5%", {"pairs": 1000, "failures": 100}, Verdict.FAIL),
        ("errors", "<= 5%", {"pairs": 1000, "failures": 50}, Verdict.INCONCLUSIVE),
        ("latency", "<= 20ms", {"latency": shifted(5.0)}, Verdict.PASS),
        ("latency", "<= 20ms", {"latency": shifted(25.0)}, Verdict.FAIL),
        ("latency", "<= 20ms", {"latency": shifted(20.1)}, Verdict.INCONCLUSIVE),
        ("latency", "<= 20ms", {"latency": shifted(5.0, 400, 0.0)}, Verdict.INCONCLUSIVE),
        ("latency", "<= 20ms", {}, Verdict.NO_DATA),
        ("score_shift", "<= 0.5", {"score": shifted(0.1)}, Verdict.PASS),
        ("score_shift", "<= 0.5", {"score": shifted(0.9)}, Verdict.FAIL),
        ("score_shift", "<= 0.5", {"score": shifted(-0.9)}, Verdict.FAIL),
        ("score_shift", "<= 0.5", {"score": shifted(-0.48)}, Verdict.INCONCLUSIVE),
        ("squared_error", "<= 0", missed(-0.3, 400), Verdict.PASS),
        ("squared_error", "<= 0", missed(0.3, 400), Verdict.FAIL),
        ("squared_error", "<= 0.1", missed(0.05, 400), Verdict.INCONCLUSIVE),
        ("squared_error", "<= 0", missed(0.0, 400, 0.0), Verdict.INCONCLUSIVE),
        ("squared_error", "<= 0", missed(-0.3, 99), Verdict.NO_DATA),
        ("squared_error", "<= 0", missed(0.3, 99), Verdict.NO_DATA),
        ("squared_error", "<= 0", {}, Verdict.NO_DATA),
    ],
)
def test_shadow_judges_what_is_required(
    word: str, bound: str, tallied: Mapping[str, Any], verdict: Verdict
) -> None:
    """Failures, latency and scores beside control's on the same requests, each by its bounds; what
    came of them when as many have closed as are wanted, and not before."""
    settings = Shadow.model_validate(
        {"until": {"requests": 100}, "require": {word: bound}, "on_inconclusive": "hold"}
    )
    told = Told(compared={"challenger": (0, 100)}, tallied=tallied)
    move = shadow.decide(standing("shadow", settings=settings, evidence=told))
    kinds = {Verdict.PASS: Kind.PASS, Verdict.FAIL: Kind.STOP}
    assert move is not None
    assert (move.verdict, move.kind) == (verdict, kinds.get(verdict, Kind.HOLD)), move.reason
    [judged] = move.evidence["require"]
    assert (judged["requirement"], judged["verdict"]) == (word, str(verdict))


@pytest.mark.parametrize("answer", ["hold", "fail", "pass"])
def test_shadow_waits_for_outcomes_whatever_ends_what_is_inconclusive(answer: str) -> None:
    """Too few closed requests are no data: neither passed nor failed by on_inconclusive, but what
    is surely broken meanwhile stops the release."""
    settings = Shadow.model_validate({
        "until": {"requests": 100}, "on_inconclusive": answer,
        "require": {"squared_error": "<= -0.01", "disagreement": "<= 10%"},
    })  # fmt: skip
    tallied = missed(-0.3, 1_234)
    settings = settings.model_copy(update={"until": ShadowUntil(requests=2_000)})
    told = Told(compared={"challenger": (0, 5_000)}, tallied=tallied)
    where = standing("shadow", settings=settings, evidence=told)
    move = shadow.decide(where)
    assert move is not None
    assert (move.kind, move.verdict) == (Kind.HOLD, Verdict.NO_DATA)
    assert move.reason == (
        "challenger has scores beside what came of 1,234 of 2,000 requests "
        "(squared error required <= -0.01): waiting, no data is no success"
    )
    assert shadow.outlook(where).progress == "5,000 of 2,000 compared, 1,234 with what came of them"
    wanted = "disagreement <= 10.0 % and squared_error <= -0.01"
    assert shadow.outlook(where).following.endswith(wanted)
    broken = Told(compared={"challenger": (2_500, 5_000)}, tallied=tallied)
    move = shadow.decide(standing("shadow", settings=settings, evidence=broken))
    assert move is not None
    assert (move.kind, move.verdict) == (Kind.STOP, Verdict.FAIL)


def test_shadow_says_how_far_scores_lay_from_what_came() -> None:
    """Mean, bounds, limit and requests in one sentence."""
    settings = Shadow.model_validate({
        "until": {"requests": 100}, "require": {"squared_error": "<= 0"}, "on_inconclusive": "hold",
    })  # fmt: skip
    told = Told(compared={"challenger": (0, 100)}, tallied=missed(-0.3, 400))
    move = shadow.decide(standing("shadow", settings=settings, evidence=told))
    assert move is not None
    assert move.reason == (
        "challenger missed what came by a squared error larger by -0.3, between -0.44 and -0.16 "
        "(required <= 0, 400 compared)"
    )


def test_shadow_tells_of_pairs_it_cannot_compare() -> None:
    """A step that waits for ever says why."""
    told = Told(silent={"challenger": 1_234})
    assert (
        "1,234 pairs have neither labels nor scores"
        in shadow.outlook(standing("shadow", evidence=told)).following
    )
    assert "neither" not in shadow.outlook(standing("shadow", evidence=Told())).following


def test_shadow_without_requirement_passes() -> None:
    """Comparing may be all that was wanted."""
    settings = Shadow.model_validate({"until": {"requests": 10}})
    told = Told(compared={"challenger": (10, 10)})
    move = shadow.decide(standing("shadow", settings=settings, evidence=told))
    assert move is not None
    assert (move.kind, move.reason) == (
        Kind.PASS,
        "challenger disagreed on 100.0 % of 10 compared requests",
    )
    outlook = shadow.outlook(standing("shadow", settings=settings))
    assert outlook.following == "10 requests are compared (0)"
