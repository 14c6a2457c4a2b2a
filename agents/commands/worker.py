"""`tidegate worker` and `tidegate ticker`: agents in production."""

from __future__ import annotations

from tidegate.agents.settings import Settings


def run_worker(settings: Settings, role: str | None) -> int:
    """Run one role in this process, or all of them in processes of their own; the exit code.

    `role` is one of `agents.roles.ROLES`; None for all.
    """
    if role is None:
        from tidegate.agents.supervisor import supervise

        return supervise(settings)
    from tidegate.agents.log import configure_logs
    from tidegate.agents.worker import run_to_exit

    configure_logs(role)
    run_to_exit(settings, role)


def run_ticker(settings: Settings) -> int:
    """Run the ticker in this process; the exit code."""
    return run_worker(settings, "ticker")
