"""Settings: caps that would leave room for nothing are refused."""

from __future__ import annotations

import pytest

from tidegate.agents.settings import Settings, load_settings
from tidegate.schemas.errors import DefinitionError
from tidegate.streams.joining.settings import JoinerSettings

CAPS = ("open_max", "closed_max", "waiting_max")


@pytest.mark.parametrize("name", CAPS)
def test_a_cap_is_at_least_one(name: str) -> None:
    """Whoever sets a cap to 0 meant something else."""
    variable = f"TIDEGATE_{name.upper()}"
    assert getattr(load_settings(environment={variable: "1"}), name) == 1
    with pytest.raises(DefinitionError) as refused:
        load_settings(environment={variable: "0"})
    assert refused.value.faults == (f"environment: {name}: must be at least 1",)


@pytest.mark.parametrize("name", CAPS)
def test_caps_are_those_of_the_joiner(name: str) -> None:
    """What nobody sets is what the fold would take."""
    assert getattr(Settings(), name) == getattr(JoinerSettings(), name)
