"""`tidegate worker` and `tidegate ticker`: agents in production."""

from __future__ import annotations

from tidegate.agents.settings import Settings


def run_worker(settings: Settings, role: str | None) -> int:
    """Run one role in this process, or all of them in processes of their own; the exit code.

    Raises:
        DefinitionError: there is no such role.
    """
    from tidegate.agents.log import configure_logs
    from tidegate.agents.roles import ROLES
    from tidegate.schemas.errors import DefinitionError

    if role is None:
        from tidegate.agents.supervisor import supervise

        configure_logs("worker")
        return supervise(settings)
    if role not in ROLES:
        raise DefinitionError(f"there is no role {role!r}; roles are {', '.join(ROLES)}")
    from tidegate.agents.worker import run_to_exit

    configure_logs(role)
    run_to_exit(settings, role)


def run_ticker(settings: Settings) -> int:
    """Run the ticker in this process; the exit code."""
    return run_worker(settings, "ticker")
