"""Roles: what can run alone, and what each folds."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tidegate.agents.hosting.host import HandlerFactory
from tidegate.agents.settings import Settings

FoldingRole = Callable[[Settings, str], HandlerFactory]
"""(settings, engine) -> factory of the pure part of an agent."""


def _joiner(settings: Settings, engine: str) -> HandlerFactory:
    from tidegate.agents.joiner import joiner_factory

    return joiner_factory(settings, engine)


def _decider(settings: Settings, engine: str) -> HandlerFactory:
    # River and scipy are loaded here: a joiner can do without them.
    from tidegate.agents.decider import decider_factory

    return decider_factory(settings, engine)


FOLDING_ROLES: Mapping[str, FoldingRole] = {"joiner": _joiner, "decider": _decider}
"""Their merged topics are in `schemas.topics.merged_topics(role)`."""

TICKER = "ticker"
ROLES = (TICKER, *FOLDING_ROLES)
"""In the order they are started: first ticks precede everything."""
