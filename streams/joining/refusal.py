"""Records that cannot be counted: unreadable ones, and those from the future."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from tidegate.schemas.decoding.columns import OutcomeColumns, PredictionColumns, ShadowColumns
from tidegate.schemas.facts import STREAMS
from tidegate.streams.joining import attribution
from tidegate.streams.joining.state import JoinState
from tidegate.streams.merge import Run

Columns = PredictionColumns | ShadowColumns | OutcomeColumns


def refuse(state: JoinState, run: Run, columns: Columns, times_ms: Sequence[int]) -> None:
    """Count the records of a run, send what is unfit to the dead letters, leave the rest.

    `times_ms` is the column with the time an event claims for itself.
    """
    stream = STREAMS[run.rank]
    state.counts[f"{stream}.input"] += run.stop - run.start
    faults = list(columns.faults)
    tolerance_ms = state.settings.future_tolerance_ms
    if times_ms and max(times_ms) > run.log_time_ms + tolerance_ms:
        faults += _from_the_future(run, columns, times_ms, tolerance_ms)
    if faults:
        state.counts[f"{stream}.dead_lettered"] += len(faults)
        state.dead_letters.put(run, faults)


def _from_the_future(
    run: Run, columns: Columns, times_ms: Sequence[int], tolerance_ms: int
) -> list[tuple[int, str, str]]:
    """Faults of the events that claim a time too far ahead; they leave the columns."""
    places = [
        place
        for place, (index, event_ms) in enumerate(zip(columns.index, times_ms, strict=True))
        if attribution.is_from_the_future(
            event_ms, run.log_time_ms, run.timestamps(index), tolerance_ms
        )
    ]
    faults = [
        (
            columns.index[place],
            "clock",
            f"{times_ms[place]} ms is far ahead of log time {run.log_time_ms} ms",
        )
        for place in places
    ]
    lists = [getattr(columns, item.name) for item in fields(columns) if item.name != "faults"]
    for place in reversed(places):
        for column in lists:
            del column[place]
    return faults
