"""Control ids are remembered for a day of log time and no longer."""

from __future__ import annotations

from tidegate.streams.deciding.memory import HORIZON_MS, SeenIds


def test_an_id_is_known_for_a_day_after_the_later_of_issue_and_arrival() -> None:
    """An order issued ahead of log time, while nobody ticked, is remembered longer."""
    seen = SeenIds()
    seen.add("a", issued_at_ms=5_000, log_time_ms=1_000)
    seen.forget(4_999 + HORIZON_MS)
    assert "a" in seen
    seen.forget(5_000 + HORIZON_MS)
    assert "a" not in seen
    assert len(seen) == 0


def test_memory_is_swept_by_log_time() -> None:
    """What is due goes, what is not stays, in whatever order it came."""
    seen = SeenIds()
    for number in (3, 1, 2):
        seen.add(str(number), number, number)
    seen.forget(1 + HORIZON_MS)
    assert seen.to_state() == {"3": 3 + HORIZON_MS, "2": 2 + HORIZON_MS}
    again = SeenIds(seen.to_state())
    again.forget(3 + HORIZON_MS)
    assert len(again) == 0
