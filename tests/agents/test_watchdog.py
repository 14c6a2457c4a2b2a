"""The watchdog: red in 10 s, the end in 30 s, a silent group later, never while idle."""

from __future__ import annotations

import pytest

from tests.agents.hosting.fakes import Stopped, raise_stop
from tests.agents.waiting import wait_for
from tidegate.agents.watchdog import Judge, Observed, Progress, Verdict, Watchdog


def seen(at: float, progress: Progress | None = None, **others: float) -> Observed:
    """What is seen at a moment, with a loop that lives unless `loop_at` says otherwise."""
    return Observed(
        at=at,
        loop_at=others.get("loop_at", at),
        progress={"log-0": progress} if progress else {},
        tick_age=others.get("tick_age"),
    )


def judge_until(judge: Judge, seconds: int, progress: Progress) -> Verdict:
    """The verdict after looking once a second."""
    verdict = Verdict()
    for at in range(seconds + 1):
        verdict = judge.judge(seen(float(at), progress))
    return verdict


@pytest.mark.parametrize(
    ("seconds", "red", "ends"), [(9, False, False), (10, True, False), (30, True, True)]
)
def test_lag_without_movement(seconds: int, red: bool, ends: bool) -> None:
    """Records wait and nothing moves: red after 10 s, the end after 30 s."""
    verdict = judge_until(Judge(), seconds, Progress(position=5, end=9, wanted=True))
    assert (bool(verdict.faults), bool(verdict.fatal)) == (red, ends)


def test_idle_is_healthy_for_ever() -> None:
    """No lag, no movement, no fault."""
    verdict = judge_until(Judge(), 3_600, Progress(position=9, end=9, wanted=True))
    assert verdict == Verdict()


def test_held_back_is_not_stuck() -> None:
    """A log that flow control holds back waits for another one."""
    verdict = judge_until(Judge(), 100, Progress(position=5, end=9, wanted=False))
    assert verdict == Verdict()


def test_movement_starts_the_count_anew() -> None:
    """Slow is not stuck."""
    judge = Judge()
    for at in range(100):
        verdict = judge.judge(seen(at, Progress(position=at // 8, end=1_000, wanted=True)))
        assert verdict == Verdict()


def test_idle_time_does_not_count_as_stuck() -> None:
    """The first record after a quiet hour has its full time."""
    judge = Judge()
    for at in range(100):
        judge.judge(seen(at, Progress(position=9, end=9, wanted=True)))
    verdict = judge.judge(seen(101.0, Progress(position=9, end=10, wanted=True)))
    assert verdict == Verdict()


def test_a_partition_that_left_is_forgotten() -> None:
    """What comes back after a rebalance starts anew."""
    judge = Judge()
    judge_until(judge, 20, Progress(position=5, end=9, wanted=True))
    judge.judge(seen(21.0))
    assert judge.judge(seen(40.0, Progress(position=5, end=9, wanted=True))) == Verdict()


@pytest.mark.parametrize(
    ("silent", "red", "ends"), [(9.0, False, False), (10.0, True, False), (30.0, True, True)]
)
def test_a_blocked_event_loop(silent: float, red: bool, ends: bool) -> None:
    """A loop that does not show itself is noticed from outside it."""
    verdict = Judge().judge(seen(100.0, loop_at=100.0 - silent))
    assert (bool(verdict.faults), bool(verdict.fatal)) == (red, ends)


def test_an_unknown_end_is_red_and_never_the_end() -> None:
    """While the broker is away nobody can say that records wait."""
    verdict = judge_until(Judge(), 1_000, Progress(position=5, end=None, wanted=True))
    assert verdict.faults == ("no broker tells where the logs end",)
    assert not verdict.fatal


@pytest.mark.parametrize(
    ("silent", "red", "ends"), [(60.0, False, False), (100.0, True, False), (200.0, True, True)]
)
def test_a_group_that_does_not_speak(silent: float, red: bool, ends: bool) -> None:
    """A worker the group has forgotten works on and takes over nothing: red, in the end replaced;
    a rebalance, a minute at most, is no silence."""
    progress = {"a": Progress(5, 5, wanted=True)}
    judge = Judge()
    for second in range(1_000, 1_000 + int(silent) + 1):
        verdict = judge.judge(Observed(second, second, progress, group_at=1_000.0))
    assert (bool(verdict.faults), bool(verdict.fatal)) == (red, ends)


def test_nobody_hears_the_group_while_no_broker_answers() -> None:
    """An hour without brokers does not end a worker, nor does the first moment after it: the group
    has its time to speak again from there."""
    judge, away = Judge(), {"a": Progress(5, None, wanted=True)}
    for second in range(1_000, 5_000):
        verdict = judge.judge(Observed(second, second, away, group_at=1_000.0))
    assert not verdict.fatal
    back = {"a": Progress(5, 5, wanted=True)}
    assert judge.judge(Observed(5_001, 5_001, back, group_at=1_000.0)) == Verdict()
    assert judge.judge(Observed(5_300, 5_300, back, group_at=1_000.0)).fatal


@pytest.mark.parametrize(
    ("silent", "red", "ends"), [(60.0, False, False), (100.0, True, False), (200.0, True, True)]
)
def test_a_first_join_that_never_ends(silent: float, red: bool, ends: bool) -> None:
    """A worker that was never let in owns nothing, so no log tells it that brokers answer; one that
    hears a broker otherwise is red, and in the end replaced."""
    judge = Judge()
    for second in range(1_000, 1_000 + int(silent) + 1):
        verdict = judge.judge(Observed(second, second, {}, group_at=1_000.0, answered=True))
    assert (bool(verdict.faults), bool(verdict.fatal)) == (red, ends)


def test_a_join_waits_for_brokers_as_long_as_they_are_away() -> None:
    """Red, for an hour if need be, and never the end: a new process would hear no more. Once they
    are back the group has its whole time to speak."""
    judge = Judge()
    for second in range(1_000, 5_000):
        verdict = judge.judge(Observed(second, second, {}, group_at=1_000.0, answered=False))
    assert verdict == Verdict(("no broker answers",))
    assert judge.judge(Observed(5_001, 5_001, {}, group_at=1_000.0)) == Verdict()
    assert not judge.judge(Observed(5_170, 5_170, {}, group_at=1_000.0)).fatal
    assert judge.judge(Observed(5_200, 5_200, {}, group_at=1_000.0)).fatal


@pytest.mark.parametrize(("age", "red"), [(0.9, False), (1.1, True)])
def test_old_ticks_are_an_alarm(age: float, red: bool) -> None:
    """Log time more than a second old is told; starting anew would not help."""
    verdict = Judge().judge(seen(0.0, tick_age=age))
    assert bool(verdict.faults) == red
    assert not verdict.fatal


def test_before_the_first_tick_nobody_counts_from_1970() -> None:
    """Log time begins at 0: what is missing is said, not how old it is."""
    (fault,) = Judge().judge(seen(0.0, tick_age=1.79e9)).faults
    assert fault == "no tick has been read yet: does a ticker run (`tidegate ticker`)?"


def test_the_watchdog_ends_the_process() -> None:
    """What is fatal is acted on, with its reason."""
    dog = Watchdog(lambda: seen(100.0, loop_at=0.0), raise_stop)
    with pytest.raises(Stopped, match="event loop has been blocked for 100 s"):
        dog.look()


def test_health_is_red_until_the_first_look() -> None:
    """A process that has not started is not healthy."""
    dog = Watchdog(lambda: seen(0.0), raise_stop)
    assert dog.verdict.faults == ("starting",)
    dog.look()
    assert dog.verdict == Verdict()


def test_waiting_for_its_turn_is_not_stuck() -> None:
    """While the worker eats the backlog of one log, another may stand still."""
    judge = Judge()
    waiting = Progress(position=5, end=9_000, wanted=True)
    for at in range(100):
        moving = Progress(position=at * 100, end=1_000_000, wanted=True)
        seen_now = Observed(at, at, {"waiting-0": waiting, "moving-0": moving})
        assert judge.judge(seen_now) == Verdict()


def test_one_stuck_log_among_live_ones_is_stuck() -> None:
    """Others that are live and keep up do not hide it."""
    judge = Judge()
    verdict = Verdict()
    for at in range(31):
        stuck = Progress(position=5, end=9_000, wanted=True)
        live = Progress(position=at * 100, end=at * 100 + 20, wanted=True)
        verdict = judge.judge(Observed(at, at, {"stuck-0": stuck, "live-0": live}))
    assert verdict.fatal.startswith("stuck-0 has lag 8995")


def test_misplaced_keys_are_a_fault_while_they_come() -> None:
    """Outcomes of a foreign partitioner are never joined: red for as long as they come, and a
    minute more; starting anew would not help."""
    judge = Judge()

    def look(at: float, count: int) -> Verdict:
        return judge.judge(Observed(at, at, {}, misplaced={"outcomes": count} if count else {}))

    assert look(0.0, 0) == Verdict()
    for at, count in ((1.0, 1), (50.0, 1), (55.0, 2), (110.0, 2)):
        verdict = look(at, count)
        assert "records of outcomes are not in the partitions" in verdict.faults[0]
        assert not verdict.fatal
    assert look(115.0, 2) == Verdict()


def test_a_watchdog_that_cannot_look_says_so() -> None:
    """What it watches may break it; health must not stay green then."""

    def broken() -> Observed:
        raise RuntimeError("dictionary changed size during iteration")

    dog = Watchdog(broken, raise_stop, interval_seconds=0.001)
    dog.start()
    wait_for(lambda: dog.verdict.faults != ("starting",))
    dog.stop()
    assert dog.verdict == Verdict(("the watchdog could not look",))
