"""Running models: clocks, pools and what an answer says."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tidegate.agents.client.models import Ran, Runner, numeric, told


def test_a_model_that_raises_is_an_error_and_not_ours() -> None:
    """The exception is kept for whoever must decide, with the time it took."""
    ran = Runner(1, 1, 1).run(lambda x: 1 / x, 0)
    assert (ran.status, type(ran.error)) == ("ERROR", ZeroDivisionError)
    assert ran.latency_ms >= 0.0


def test_a_model_that_is_late_is_given_up_and_does_not_block_the_next() -> None:
    """When every thread hangs, further calls time out at once instead of queueing."""
    runner, release = Runner(1, 1, 1), threading.Event()
    try:
        assert runner.run(lambda _: release.wait(30), 0, 0.01).status == "TIMEOUT"
        assert runner.run(lambda _: 1, 0, 30.0).status == "TIMEOUT"
        release.set()
        ran = Ran(None, "TIMEOUT", 0.0)
        while ran.status == "TIMEOUT":
            ran = runner.run(lambda x: x + 1, 1, 30.0)
        assert (ran.value, ran.status) == (2, "OK")
    finally:
        release.set()
        runner.close()


class Tensor:
    """A number only for some: of several elements, or on another device."""

    def __float__(self) -> float:
        raise RuntimeError("only one element tensors can be converted")


@pytest.mark.parametrize("value", [Tensor(), 10**400, "\ud800", float("nan"), [1, 2], None])
def test_what_cannot_be_told_is_answered_all_the_same(value: Any) -> None:
    """Libraries raise what they like where a number is asked for; the model did answer."""
    assert told(value) == (None, None)
    if not isinstance(value, str):
        assert numeric({"x": value}) is None


def test_shadows_are_bounded() -> None:
    """With one running and room for one more, the third is refused; all that began are told."""
    runner, release, seen = Runner(1, 1, 2), threading.Event(), []
    done = threading.Semaphore(0)

    def tell(ran: Ran) -> None:
        seen.append(ran.value)
        done.release()

    def wait(x: Any) -> Any:
        release.wait(30)
        return x

    assert runner.shadow(wait, 1, tell)
    assert runner.shadow(wait, 2, tell)
    assert not runner.shadow(wait, 3, tell)
    release.set()
    for _ in range(2):
        assert done.acquire(timeout=30)
    assert seen == [1, 2]
    runner.close()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, (1.0, None)), (True, (1.0, None)), ("cat", (None, "cat")), ("", (None, None)),
        (None, (None, None)), (float("nan"), (None, None)), ({"a": 1}, (None, None)),
        ("x" * 300, (None, None)),
    ],
)  # fmt: skip
def test_numbers_are_scores_and_texts_are_labels(value: Any, expected: tuple[Any, Any]) -> None:
    """Anything else is answered to the user, and not told."""
    assert told(value) == expected


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ({"x": 1, "y": 2.5}, {"x": 1.0, "y": 2.5}), ({}, None), ([1.0], None), (None, None),
        ({"x": "text"}, None), ({"x": float("inf")}, None),
        ({str(i): 1.0 for i in range(65)}, None),
    ],
)  # fmt: skip
def test_only_small_maps_of_numbers_are_logged(features: Any, expected: Any) -> None:
    """What readers would refuse is not sent."""
    assert numeric(features) == expected
