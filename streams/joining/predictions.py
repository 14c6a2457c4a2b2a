"""A prediction opens a request: an exposure at once, and whatever has been waiting for it."""

from __future__ import annotations

from math import nan
from typing import Final, NamedTuple

from tidegate.schemas.decoding.columns import Doubles, PredictionColumns, PredictionTail
from tidegate.schemas.decoding.predictions import PredictionDecoder
from tidegate.schemas.facts import NONE
from tidegate.streams.joining import attribution
from tidegate.streams.joining.batches import ROW_BYTES
from tidegate.streams.joining.layout import HEAD, IDENTITY
from tidegate.streams.joining.outcomes import Outcomes
from tidegate.streams.joining.refusal import refuse
from tidegate.streams.joining.shadows import Shadows
from tidegate.streams.joining.state import (
    CONFLICT,
    DUPLICATE,
    EXPIRED,
    OUTCOME,
    PREDICTION,
    JoinState,
)
from tidegate.streams.merge import Run

_NO_DOUBLES: Final[Doubles] = ((), b"")


class _Traits(NamedTuple):
    """What is known of a run: interned numbers, and whether some are missing, some have features
    or measures, or more might be open than may."""

    tails: list[int]
    attributes: list[int]
    full: bool
    rich: bool
    crowded: bool


class Predictions:
    """Joins the records of `predictions`."""

    def __init__(self, state: JoinState, shadows: Shadows, outcomes: Outcomes) -> None:
        self._state = state
        self._shadows = shadows
        self._outcomes = outcomes
        self._decoder = PredictionDecoder(state.bindings)

    def records(self, run: Run) -> None:
        """Take a run of predictions."""
        state = self._state
        columns = self._decoder.decode(run.values, run.start, run.stop)
        refuse(state, run, columns, columns.served_at)
        state.requests.recall(columns.keys, new=True)
        tails = state.interned.tails.numbers(columns.tails)
        attributes = state.interned.attributes.numbers(columns.attributes)
        layouts, counts = self._layouts(columns)
        heads = list(map(
            HEAD.pack, columns.served_at, columns.units, tails, attributes, columns.propensity,
            columns.score, columns.latency, columns.label, layouts, counts,
        ))  # fmt: skip
        # What a whole run lacks, its records need not be asked for one by one.
        full = NONE in tails or NONE in attributes or NONE in layouts
        rich = any(columns.features) or any(columns.measures)
        crowded = state.requests.open_count + len(heads) > state.settings.open_max
        self._open(run, columns, heads, _Traits(tails, attributes, full, rich, crowded))
        state.changelog.end_run()

    def _layouts(self, columns: PredictionColumns) -> tuple[list[int], list[int]]:
        """Numbers of the features' layouts, and how many features there are.

        Layouts of measures are of the same numbers and get theirs here as well, record by record:
        numbered later, a run cut in two would number them otherwise.
        """
        interner = self._state.interned.layouts
        if not any(columns.features) and not any(columns.measures):
            return [0] * len(columns.keys), [0] * len(columns.keys)
        pairs = [doubles or _NO_DOUBLES for doubles in columns.features]
        counts = [len(names) for names, _ in pairs]
        if not any(columns.measures):
            return interner.numbers([names for names, _ in pairs]), counts
        layouts = []
        for (names, _), measures in zip(pairs, columns.measures, strict=True):
            layouts.append(interner.number(names))
            if measures is not None:
                interner.number(measures[0])
        return layouts, counts

    def _open(
        self, run: Run, columns: PredictionColumns, heads: list[bytes], traits: _Traits
    ) -> None:
        """The inner loop: what happens to almost every record stands here, the rest is called."""
        state = self._state
        requests, batches, interned = state.requests, state.batches, state.interned
        open_requests, closed, serials = requests.open, requests.closed, state.waiting.serials
        tails_used, sets_used = interned.tails.last_used_ms, interned.attributes.last_used_ms
        tail_costs, set_costs = interned.tails.costs, interned.attributes.costs
        now_ms, grace_ms = state.log_time_ms, state.settings.grace_ms
        least_cost, by_tail = batches.least_cost, batches.by_tail
        covers, base = batches.covers, run.first_offset - run.start + 1
        rows, deadlines_ms = state.changelog.rows, state.changelog.deadlines_ms
        tails, sets, full, rich, crowded = traits
        last_ms, timer = -1, list[bytes]()
        for place, (key, head, tail, held, shared, served_ms) in enumerate(
            zip(
                columns.keys, heads, tails, sets, columns.tails, columns.served_at, strict=True
            )
        ):  # fmt: skip
            if key in open_requests or key in closed:
                covers[0] = base + columns.index[place]
                self._repeated(key, head, shared)
                continue
            if full and NONE in _numbers(head):
                covers[0] = base + columns.index[place]
                state.irregular(EXPIRED, PREDICTION, key, NONE, NONE, nan)
                continue
            deadline_ms = attribution.deadline_ms(
                now_ms, served_ms, shared.reward_wait_ms + grace_ms
            )
            if deadline_ms != last_ms:
                last_ms, timer = deadline_ms, requests.timer(deadline_ms)
            timer.append(key)
            open_requests[key] = head
            deadlines_ms.append(deadline_ms)
            # Comparing first is four times as fast as max().
            if tails_used[tail] < deadline_ms:  # noqa: PLR1730
                tails_used[tail] = deadline_ms
            if sets_used[held] < deadline_ms:  # noqa: PLR1730
                sets_used[held] = deadline_ms
            if rich or shared.deferred:
                covers[0] = base + columns.index[place]
                self._tell(key, columns, place, deadline_ms)
            else:
                batch = by_tail.get(tail) or batches.of(tail)
                row = key + head
                rows.append(row)
                batch.rows.exposures.append(row)
                cost = tail_costs[tail] + set_costs[held] + ROW_BYTES
                batch.room -= cost if cost > least_cost else least_cost
                if batch.room <= 0:
                    covers[0] = base + columns.index[place]
                    batches.cut(batch)
            if crowded or (serials and key in serials):
                covers[0] = base + columns.index[place]
                self._settle(key)
                last_ms = -1  # giving one up may have taken the timer away
        covers[0] = base + run.stop - 1

    def _tell(self, key: bytes, columns: PredictionColumns, place: int, deadline_ms: int) -> None:
        """Expose a request that may have features or measures, or count only once activated."""
        state = self._state
        head = state.requests.open[key]
        features, measures = columns.features[place], columns.measures[place]
        tail, held, layout = _numbers(head)
        if features is not None:
            head += features[1]
            state.requests.open[key] = head
            state.interned.layouts.touch(layout, deadline_ms)
        state.changelog.rows.append(key + head)
        if columns.tails[place].deferred:
            return
        if measures is not None:
            self._measures(tail, measures, deadline_ms)
        state.batches.exposure(key, head, tail, held, layout)

    def _settle(self, key: bytes) -> None:
        """Join what has waited for this request; give up what is open beyond the cap."""
        state = self._state
        if key in state.waiting.serials:
            self._welcome(key)
        # One, unless the state comes from an engine with a higher cap.
        for _ in range(state.requests.open_count - state.settings.open_max):
            self._expire()

    def _measures(self, tail: int, measures: Doubles, deadline_ms: int) -> None:
        layouts = self._state.interned.layouts
        layout = layouts.number(measures[0])
        if layout != NONE:
            layouts.touch(layout, deadline_ms)
            self._state.batches.measures(tail, layout, measures[1])

    def _welcome(self, key: bytes) -> None:
        """Join what came before its prediction, in the order it came."""
        for item in self._state.waiting.take(key):
            if item[0] == OUTCOME:
                self._outcomes.after_waiting(key, item)
            else:
                self._shadows.after_waiting(key, item)
        self._state.changelog.mark()

    def _repeated(self, key: bytes, head: bytes, shared: PredictionTail) -> None:
        """The first prediction stands; a repeat that says the same is only a duplicate."""
        state = self._state
        requests = state.requests
        served_ms, unit, tail = IDENTITY.unpack_from(requests.open.get(key) or requests.closed[key])
        again_ms, again_unit, _ = IDENTITY.unpack_from(head)
        first = state.interned.tails.get(tail)
        same = (served_ms, unit, first.context) == (again_ms, again_unit, shared.context)
        state.irregular(DUPLICATE if same else CONFLICT, PREDICTION, key, tail, NONE, nan)

    def _expire(self) -> None:
        """Too many are open: give up the one with the earliest deadline."""
        deadline_ms, key, stored = self._state.requests.expire()
        self._state.changelog.give_up(key, deadline_ms)
        tail = IDENTITY.unpack_from(stored)[2]
        self._state.irregular(EXPIRED, PREDICTION, key, tail, NONE, nan)


def _numbers(head: bytes) -> tuple[int, int, int]:
    """Numbers of tail, attributes and layout in a head."""
    _, _, tail, held, _, _, _, _, layout, _ = HEAD.unpack_from(head)
    return tail, held, layout
