"""What a record may hold, in one place: whatever exceeds it is a dead letter, never a crash."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

RECORD_BYTES_MAX: Final = 65_536
DOCUMENT_BYTES_MAX: Final = 8_388_608
"""Control, routing, decision: they carry whole specs and evidence."""
OBSERVATION_BYTES_MAX: Final = 16_777_216
OBSERVATION_ROWS_MAX: Final = 1_000_000
NAME_BYTES_MAX: Final = 255
FEATURES_MAX: Final = 64
ATTRIBUTES_MAX: Final = 16
MEASURES_MAX: Final = 16
LATENCY_MS_MAX: Final = 86_400_000.0
REWARD_WAIT_MS_MAX: Final = 31 * 86_400_000
PROPENSITY_MIN: Final = 1e-30
"""No policy draws that rarely; four bytes still keep it as more than 0."""
VALUE_MAX: Final = 1e15
SUM_MAX: Final = 1e18
"""Of the values of one metric of a request."""
TIME_MS_MAX: Final = 253_402_300_799_999
"""9999-12-31: no sum of times below it leaves 64 bits."""
INT_MAX: Final = 2_147_483_647
LONG_MAX: Final = 9_007_199_254_740_991
"""2^53 - 1: the largest number that JSON readers keep."""

_VALUE: Final = (-VALUE_MAX, VALUE_MAX)
_LATENCY: Final = (0.0, LATENCY_MS_MAX)
COLUMN_RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "propensity": (PROPENSITY_MIN, 1.0), "weight": (PROPENSITY_MIN, VALUE_MAX),
    "score": _VALUE, "shadow_score": _VALUE, "latency": _LATENCY, "shadow_latency": _LATENCY,
    "value": _VALUE, "first": _VALUE, "last": _VALUE, "min": _VALUE, "max": _VALUE,
    "sum": (-SUM_MAX, SUM_MAX),
}  # fmt: skip
"""What columns of doubles in facts hold; NaN is none of it."""
OPTIONAL_COLUMNS: Final = ("score", "shadow_score", "latency", "shadow_latency")
"""Here NaN means that there is none; so it does in the `value` of an irregular fact. A closed
shadow has both scores."""
