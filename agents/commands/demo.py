"""`tidegate demo`: the whole loop in one to two minutes."""

from __future__ import annotations

from tidegate.agents.settings import Settings


def run_demo(settings: Settings, choice: str) -> int:
    """Run the demo; 0 when everything was seen, 1 when not.

    Args:
        choice: `embedded`, `local`, `container` or HOST:PORT.

    Raises:
        DefinitionError: there is no such broker, or it cannot be started here.
        Unreachable: the broker does not answer.
    """
    from tidegate.agents.demo import run

    return run.run_demo(settings, choice)
