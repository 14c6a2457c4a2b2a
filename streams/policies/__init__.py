"""Who gets the next request, one policy a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tidegate.streams.policies import fixed, thompson
from tidegate.streams.policies.policy import Allocation, Policy, PolicySettings

POLICIES: Final[Mapping[str, Policy]] = {
    "fixed": fixed.allocate,
    "thompson": thompson.allocate,
}

__all__ = ["POLICIES", "Allocation", "Policy", "PolicySettings"]
