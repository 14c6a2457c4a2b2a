"""The setting `alerts`: whom to tell, of what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tidegate.agents.alerting import KINDS, SEVERITIES


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """`addresses` are Apprise's; `kinds` are actions of decisions and ALERT, all when empty."""

    addresses: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    min_severity: str = "warning"

    def shown(self) -> str:
        """For people: addresses hold secrets, so only their schemes are told."""
        schemes = ", ".join(f"{address.partition(':')[0]}:…" for address in self.addresses)
        return f"{schemes or 'nobody'}; {' '.join(self.kinds) or 'every kind'}; {self.min_severity}"


def read_alerts(raw: Any) -> AlertSettings:
    """The setting as it is written, or as text with addresses parted by spaces.

    >>> read_alerts({"addresses": ["json://localhost"], "kinds": ["ROLLBACK"]}).min_severity
    'warning'

    Raises:
        ValueError: what is wrong, and what to write.
    """
    if isinstance(raw, AlertSettings):
        return raw
    if isinstance(raw, str):
        raw = {"addresses": raw.split()}
    if not isinstance(raw, Mapping):
        raise ValueError("must be a map with addresses, kinds and min_severity")
    unknown = sorted(str(key) for key in raw if key not in ("addresses", "kinds", "min_severity"))
    if unknown:
        raise ValueError(f"knows addresses, kinds and min_severity, not {', '.join(unknown)}")
    kinds = _texts("kinds", raw.get("kinds", ()))
    for kind in kinds:
        if kind not in KINDS:
            raise ValueError(f"kinds: {kind} is none; known are {', '.join(KINDS)}")
    severity = str(raw.get("min_severity", "warning"))
    if severity not in SEVERITIES:
        raise ValueError(f"min_severity: {severity} is none; known are {', '.join(SEVERITIES)}")
    return AlertSettings(_texts("addresses", raw.get("addresses", ())), kinds, severity)


def _texts(name: str, raw: Any) -> tuple[str, ...]:
    if isinstance(raw, str) or not isinstance(raw, (list, tuple)):
        raise ValueError(f"{name} must be a list")
    return tuple(map(str, raw))
