"""The command line: `main.py` lists the commands; exit codes and JSON keys are in docs/cli.md."""

from __future__ import annotations


def run() -> None:
    """Runs the command that was typed; never returns."""
    from tidegate.agents.commands.main import app

    app()
