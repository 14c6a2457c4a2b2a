"""Pictures in the documents: `python -m tests.pictures` draws them again.

Drawn from a seeded simulation by what draws the terminal, so that they show what people will see.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.simulation.loop import Simulation, Variant
from tests.simulation.test_loop import BANDIT, FULL, SHADOW, started
from tidegate.agents.commands.logs import view_in
from tidegate.agents.commands.screen import screen
from tidegate.agents.kafka import Record

CANARY_PICTURE = Path(__file__).parent.parent / "docs" / "canary.svg"
_COLUMNS = 142
_CANARY = {"canary": {"weights": ["5%", "20%", "35%"], "hold": "15s", "min_samples": 300}}
_ELSEWHERE = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def canary_picture() -> str:
    """`tidegate watch` in the middle of a canary, as SVG."""
    simulation = started(Variant(conversion=0.26), SHADOW, _CANARY, BANDIT, FULL, rate=60)
    simulation.run(39_000)
    console = Console(
        record=True, width=_COLUMNS, file=io.StringIO(), force_terminal=True, legacy_windows=False
    )
    for line in screen(view_of(simulation), simulation.now_ms + 400):
        console.print(line, no_wrap=True)
    drawn = console.export_svg(title="tidegate watch click-ranker", unique_id="canary")
    # The font of the template lies on somebody else's server; any monospaced one will do.
    return _ELSEWHERE.sub("", drawn)


def view_of(simulation: Simulation) -> dict[str, Any]:
    """What the decider told last of its experiment."""
    views = [
        view
        for output in simulation.outputs
        if output.topic == "commands"
        and (view := view_in(Record("", 0, 0, 0, output.key, output.value, ()))) is not None
    ]
    return {**views[-1], "experiment": "click-ranker"}


if __name__ == "__main__":
    CANARY_PICTURE.write_text(canary_picture(), encoding="utf-8")
