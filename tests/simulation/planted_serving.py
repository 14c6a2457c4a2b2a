"""Bugs of serving clients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from tests.simulation.planting import DECIDING, Bug, after
from tidegate.agents.client import client as client_module
from tidegate.agents.client import link, tables
from tidegate.schemas.events import Control, Routing
from tidegate.streams import assignment


def _latest_wins(self: Any, routing: Routing, partition: int) -> None:
    known = self._known.setdefault(routing.experiment, tables.Known(partition))
    known.routing = routing
    self._changed.add(routing.experiment)
    self._roll_back(routing.experiment, known, routing.generation, routing.rolled_back)


def _obey_any_generation(self: Any, control: Control, partition: int, timestamp_ms: int) -> None:
    known = self._known.get(control.experiment)
    running = known.routing.generation if known is not None and known.routing else 0
    _take_control(self, replace(control, generation=running), partition, timestamp_ms)


def _obey_late(self: Any, control: Control, partition: int, timestamp_ms: int) -> None:
    _take_control(self, control, partition, 0)


_take_control = tables.Tables.take_control


def _replace_rolled_back(
    self: Any, name: str, known: Any, generation: int, names: Any
) -> None:
    known.rolled_back[generation] = set(names)
    self._changed.add(name)


def _prepare_blind(
    routing: Routing, rolled_back: Any = (), cut: Any = (), loaded: Any = None
) -> Any:
    return _prepare(replace(routing, rolled_back=()), (), cut, loaded)


def _prepare_wrong_shares(found: Any, *_: Any) -> Any:
    return replace(found, answers=tuple((name, min(1.0, share + 0.01), reason)
                                        for name, share, reason in found.answers))  # fmt: skip


_prepare = assignment.prepare


def _never_stale(table: Any, request_id: str, reason: str = "STALE") -> Any:
    return assignment.assign(table, request_id, request_id, True)


BUGS: Final[Mapping[str, Bug]] = {
    "last table wins": Bug(
        "a service obeys whichever table came last, an old writer's too", DECIDING,
        tables.Tables, "take_routing", _latest_wins),
    "rollbacks of any generation obeyed": Bug(
        "a service obeys a rollback meant for another generation", DECIDING, tables.Tables,
        "take_control", _obey_any_generation),
    "expired rollbacks obeyed": Bug(
        "a service obeys an expired rollback", DECIDING, tables.Tables, "take_control",
        _obey_late),
    "rollbacks replaced": Bug(
        "a later rollback brings the earlier variant back", DECIDING, tables.Tables,
        "_roll_back", _replace_rolled_back),
    "withheld variants serve": Bug(
        "a service knows of the rollback and serves all the same", DECIDING, tables, "prepare",
        _prepare_blind),
    "propensities a little off": Bug(
        "the propensity told is not the one drawn with", DECIDING, tables, "prepare",
        after(tables, "prepare", _prepare_wrong_shares)),
    "obeyed before everything is read": Bug(
        "a starting service obeys a table before it has read the rollbacks", DECIDING,
        link.Link, "heard_routing",
        after(link.Link, "heard_routing", lambda _, self, *__: self._tables.publish())),
    "deaf and confident": Bug(
        "a service that hears nothing for long serves by its old table", DECIDING,
        client_module, "control_only", _never_stale),
}  # fmt: skip
