"""What people see of the demo: sentences, and one live picture below them.

On a terminal the picture stays at the bottom and moves; piped, it is printed now and then.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from tidegate.agents.commands.printing import decision_line
from tidegate.agents.commands.screen import screen
from tidegate.schemas.events import Decision

_BLOCKS = " ▁▂▃▄▅▆▇█"
_HISTORY_CELLS = 48
_PRINT_SECONDS = 8.0
_REFRESHES_PER_SECOND = 4
_STYLES = {"ROLLBACK": "bold red", "PROMOTE": "bold green", "APPLY": "bold"}
_ALL_BP = 10_000


class Screen:
    """Prints the story as it unfolds; use it as a context manager."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, markup=False)
        self._live = Live(
            console=self._console, refresh_per_second=_REFRESHES_PER_SECOND, transient=True
        )
        self._is_live = self._console.is_terminal
        self._printed_at = 0.0
        self._history: dict[str, list[int]] = {}
        self._generation = 0

    def say(self, sentence: str = "", style: str = "") -> None:
        """One paragraph."""
        self._console.print(Text(sentence, style=style), soft_wrap=True)

    def decision(self, decision: Decision) -> None:
        """A decision in one sentence."""
        style = _STYLES.get(decision.action, "cyan")
        self._console.print(Text(decision_line(decision), style=style), soft_wrap=True)

    def chapter(self, number: int, count: int, title: str, sentence: str) -> None:
        """A chapter that was just seen."""
        line = Text.assemble(
            (f"✓ {number} of {count}  ", "green"), (title, "bold"), f": {sentence}"
        )
        self._console.print(line, soft_wrap=True)

    def picture(self, view: Mapping[str, Any], requests: Mapping[str, int]) -> None:
        """The experiment now: the same view as `tidegate watch`, and what users saw."""
        self._remember(view)
        lines = [*screen(view, time.time_ns() // 1_000_000), *self._shares(), answers(requests)]
        if self._is_live:
            self._live.update(Group("", *lines))
        elif time.monotonic() - self._printed_at > _PRINT_SECONDS:
            self._printed_at = time.monotonic()
            self._console.print(*lines, sep="\n", soft_wrap=True)

    def __enter__(self) -> Self:
        if self._is_live:
            self._live.start()
        return self

    def __exit__(self, *raised: object) -> None:
        if self._is_live:
            self._live.stop()

    def _remember(self, view: Mapping[str, Any]) -> None:
        if view["generation"] != self._generation:
            self._generation, self._history = view["generation"], {}
        for item in view["variants"]:
            self._history.setdefault(item["name"], []).append(item["weight"])

    def _shares(self) -> list[Text]:
        wide = max(map(len, self._history), default=0)
        return [
            Text.assemble(f"{name:{wide}}  ", (sparkline(shares), "cyan"))
            for name, shares in self._history.items()
        ]


def sparkline(shares: list[int], cells: int = _HISTORY_CELLS) -> str:
    """Shares in basis points over time, the first on the left, thinned out to fit.

    >>> sparkline([0, 2000, 5000, 10000])
    ' ▂▄█'
    """
    last = len(_BLOCKS) - 1
    stride = max(1.0, len(shares) / cells)
    chosen = (shares[int(place * stride)] for place in range(min(cells, len(shares))))
    return "".join(_BLOCKS[round(share / _ALL_BP * last)] for share in chosen)


def answers(requests: Mapping[str, int]) -> Text:
    """What users saw: requests, and how many answers were right, by variant.

    >>> answers({"a requests": 10, "a correct": 7, "requests": 10}).plain
    'users  10 requests answered, 0 not; right: a 70 %'
    """
    parts = []
    for key in sorted(requests):
        name, _, what = key.partition(" ")
        if what == "requests" and requests[key]:
            parts.append(f"{name} {100 * requests.get(f'{name} correct', 0) / requests[key]:.0f} %")
    line = f"users  {requests.get('requests', 0):,} requests answered"
    line += f", {requests.get('unanswered', 0)} not"
    return Text(f"{line}; right: {', '.join(parts)}" if parts else line)
