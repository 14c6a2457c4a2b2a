"""Roles: what can run alone, and what each folds."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tidegate.agents.hosting.host import HandlerFactory
from tidegate.agents.settings import Settings
from tidegate.schemas.codec import Bindings

FoldingRole = Callable[[Settings, str, Bindings | None], HandlerFactory]
"""(settings, engine, bindings of schema ids) -> factory of the pure part of an agent."""


def _joiner(settings: Settings, engine: str, bindings: Bindings | None) -> HandlerFactory:
    from tidegate.agents.joiner import joiner_factory

    return joiner_factory(settings, engine, bindings)


def _decider(settings: Settings, engine: str, bindings: Bindings | None) -> HandlerFactory:
    # River and scipy are loaded here: a joiner can do without them.
    from tidegate.agents.decider import decider_factory

    return decider_factory(settings, engine, bindings)


FOLDING_ROLES: Mapping[str, FoldingRole] = {"joiner": _joiner, "decider": _decider}
"""Their merged topics are in `schemas.topics.merged_topics(role)`."""

TICKER = "ticker"
ALERTER = "alerter"
"""Tells people; it is no part of deciding, and started where `alerts` has addresses."""
ROLES = (TICKER, *FOLDING_ROLES)
"""In the order they are started: first ticks precede everything."""


def roles_here(settings: Settings) -> tuple[str, ...]:
    """What `tidegate worker` starts without `--role`; each shows itself on a port of its own."""
    return (*ROLES, ALERTER) if settings.alerts.addresses else ROLES
