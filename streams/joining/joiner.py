"""The joiner: predictions, shadow predictions and outcomes of one partition index -> facts."""

from __future__ import annotations

import json

from tidegate.schemas.codec import Bindings
from tidegate.schemas.marks import Marker
from tidegate.streams.joining.closing import advance
from tidegate.streams.joining.outcomes import Outcomes
from tidegate.streams.joining.predictions import Predictions
from tidegate.streams.joining.settings import JoinerSettings
from tidegate.streams.joining.shadows import Shadows
from tidegate.streams.joining.state import JoinState
from tidegate.streams.merge import Run
from tidegate.streams.output import Emit


class Joiner:
    """Handler of the canonical merge of `predictions`, `shadow-predictions` and `outcomes`.

    What it puts out, on `observations` and `dead-letters`, is a function of the order of the
    records alone, given what `bindings` say. `engine` names who concluded it.
    """

    def __init__(
        self,
        partition: int,
        settings: JoinerSettings,
        engine: str,
        emit: Emit,
        bindings: Bindings | None = None,
    ) -> None:
        self._arguments = (partition, settings, engine, emit, bindings)
        self._begin()

    def advance(self, log_time_ms: int) -> None:
        """Time moves: close, give up, forget, cut."""
        for told_ms in self.state.batches.told_until(log_time_ms):
            # Behind a loss that was accepted: first what had been told before, then what is news.
            advance(self.state, told_ms)
            self.state.batches.speak()
        advance(self.state, log_time_ms)

    def records(self, run: Run) -> None:
        """Join a run of one topic.

        Raises:
            UnknownSchemaId: before anything of the run counts; it may be given again.
        """
        self._by_rank[run.rank].records(run)

    def marker(self, rank: int, offset: int, marker: Marker) -> None:
        """Markers concern the fold and count as covered; but what a loss undid was told before."""
        self.state.batches.covers[rank] = offset + 1
        if marker.kind == "skip":
            self.state.batches.covers[rank] = int(marker.arguments["end"])
            self.state.batches.told(json.loads(marker.arguments["told"]))

    def dump(self) -> bytes:
        """The whole state; equal states give equal bytes."""
        return self.state.dump()

    def load(self, state: bytes) -> None:
        """Become what `dump` told."""
        self._begin()
        self.state.load(state)

    def counters(self) -> dict[str, int]:
        """Classes per stream, for conservation, and what is remembered; see `JoinState`."""
        return self.state.counters()

    def _begin(self) -> None:
        self.state = JoinState(*self._arguments)
        shadows, outcomes = Shadows(self.state), Outcomes(self.state)
        self._by_rank = (Predictions(self.state, shadows, outcomes), shadows, outcomes)
