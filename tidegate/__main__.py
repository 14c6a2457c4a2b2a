"""The `tidegate` command: finds the commands, or says what to install."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; exit code as in docs/cli.md."""
    try:
        import typer  # noqa: F401
    except ModuleNotFoundError:
        sys.stderr.write(
            "The tidegate command needs more than the client does.\n"
            'Install it with: pip install "tidegate[worker]"\n'
        )
        sys.exit(2)
    from tidegate.agents.commands import run

    run()


if __name__ == "__main__":
    main()
