"""What decoding yields: parallel lists over the sound records of a run, and the faults.

Lists, not arrays: joining walks them side by side, record by record. Absent doubles are NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

from tidegate.schemas.context import Attributes, Context

Doubles = tuple[tuple[str, ...], bytes]
"""A map of doubles: names ascending, and as many little-endian doubles in that order."""
Fault = tuple[int, str, str]
"""(position in `values`, reason of the dead letter, detail)."""


@dataclass(frozen=True, slots=True)
class PredictionTail:
    """What predictions share. `status` indexes `facts.STATUSES`."""

    context: Context
    reward_wait_ms: int
    status: int
    weight: float
    deferred: bool


@dataclass(frozen=True, slots=True)
class ShadowTail:
    """What shadow predictions share; `context.variant` ran in the shadow."""

    context: Context
    status: int


@dataclass(frozen=True, slots=True)
class OutcomeTail:
    """What outcomes share. `source` is empty and `position` -1 when there is none."""

    metric: str
    source: str
    activation: bool
    position: int


@dataclass(slots=True)
class PredictionColumns:
    """Sound predictions, ascending by `index`, their position in `values`.

    `keys`: 16-byte murmur3 x64 128 digests of the request ids. `units`: first 8 bytes, little
    endian, of the digest of the unit id. `label`: murmur3 x86 32 of the label, or-ed with 1;
    0 when absent. Equal tails and attribute sets are mostly one object, for fast look-ups, but
    only equality is promised.
    """

    index: list[int]
    keys: list[bytes]
    units: list[int]
    served_at: list[int]
    propensity: list[float]
    score: list[float]
    label: list[int]
    latency: list[float]
    features: list[Doubles | None]
    measures: list[Doubles | None]
    attributes: list[Attributes]
    tails: list[PredictionTail]
    faults: list[Fault]


@dataclass(slots=True)
class ShadowColumns:
    """Sound shadow predictions; columns as in `PredictionColumns`."""

    index: list[int]
    keys: list[bytes]
    served_at: list[int]
    score: list[float]
    label: list[int]
    latency: list[float]
    tails: list[ShadowTail]
    faults: list[Fault]


@dataclass(slots=True)
class OutcomeColumns:
    """Sound outcomes. `outcome_ids`: first 8 bytes, little endian, of the id's digest."""

    index: list[int]
    keys: list[bytes]
    outcome_ids: list[int]
    values: list[float]
    occurred_at: list[int]
    tails: list[OutcomeTail]
    faults: list[Fault]
