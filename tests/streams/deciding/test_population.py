"""What tables say of who takes part: as the manifest has it, and sound for every client."""

from __future__ import annotations

import json
from typing import Any

from tests.streams.deciding.world import World, spec_of
from tidegate.streams.assignment import assign, prepare
from tidegate.streams.routing import faults

POPULATION: dict[str, Any] = {
    "unit": {"key": "user", "fallback": "session"},
    "targeting": [{"region": ["de", "fr"]}],
    "holdout": {"share": "5%"},
    "overrides": [{"when": {"x-variant": "challenger"}, "variant": "challenger"}],
}


def test_a_table_says_what_its_unit_is_called() -> None:
    """Even where nobody is kept out: services pass ids by kind."""
    world = World()
    world.apply()
    (table,) = world.tables()
    assert table.rules == '{"unit":{"key":"user"}}'
    assert not faults(table)


def test_a_population_is_in_the_table_and_obeyed() -> None:
    """Who is not meant gets control; who is fixed gets the variant; both are told apart."""
    world = World()
    world.order("APPLY", spec_of(**POPULATION))
    table = world.tables()[-1]
    assert not faults(table)
    made = prepare(table)
    assert assign(made, "u", "r", attributes={"region": "us"}).reason == "EXCLUDED"
    assert assign(made, {"session": "s"}, "r", attributes={"region": "de"}).unit == "session:s"
    fixed = assign(made, "u", "r", attributes={"x-variant": "challenger"})
    assert (fixed.variant, fixed.reason) == ("challenger", "OVERRIDE")


def test_another_population_goes_on_with_the_statistics() -> None:
    """Comparisons are within one table, so a changed population mixes nothing."""
    world = World()
    world.order("APPLY", spec_of())
    changed = spec_of(**{**POPULATION, "unit": {"key": "user"}})
    world.order("APPLY", changed, parent=spec_of().digest())
    last = world.last()
    assert last.generation == 1
    assert "changed: targeting, holdout and overrides" in last.reason
    assert set(json.loads(world.tables()[-1].rules or "")) == {
        "unit", "targeting", "holdout", "overrides"
    }  # fmt: skip
