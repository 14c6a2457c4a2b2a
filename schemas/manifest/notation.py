"""How quantities are written in a manifest: `30m`, `5%`, `1pp`, `120ms`, `<= 10%`.

Each function turns one notation into a number in one unit, or raises a ValueError whose text says
what to write instead. A plain number is refused wherever its unit would have to be guessed.
"""

from __future__ import annotations

import contextlib
import re
from decimal import Decimal
from typing import Any

DURATION = r"^(\d+(?:\.\d+)?)(ms|s|m|h|d)$"
PERCENT = r"^(\d+(?:\.\d+)?)\s*%$"
POINTS = r"^(\d+(?:\.\d+)?)\s*pp$"
CONDITION = r"^(<=|<|>=|>)\s*(\S+)$"

_MILLISECONDS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def parse_duration_ms(text: Any) -> int:
    """A duration in whole milliseconds.

    >>> parse_duration_ms("30m"), parse_duration_ms("1.5s")
    (1800000, 1500)
    """
    match = re.match(DURATION, text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{_shown(text)} is not a duration; write 500ms, 30s, 10m, 2h or 14d")
    milliseconds = Decimal(match[1]) * _MILLISECONDS[match[2]]
    if milliseconds != int(milliseconds):
        raise ValueError(f"{text} is not a whole number of milliseconds; write a longer unit")
    return int(milliseconds)


def parse_share_bp(text: Any) -> int:
    """A share from 0 % to 100 %, in basis points.

    >>> parse_share_bp("5%"), parse_share_bp("12.25 %")
    (500, 1225)
    """
    match = re.match(PERCENT, text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{_shown(text)} is not a share; write it in percent, such as 5%")
    points = Decimal(match[1]) * 100
    if points != int(points):
        raise ValueError(f"{text} is finer than 0.01 %, the smallest share that can be routed")
    if points > 10_000:
        raise ValueError(f"{text} is above 100 %; write 100% or less")
    return int(points)


def parse_probability(text: Any) -> float:
    """A probability strictly between 0 and 1, written in percent or as a number.

    >>> parse_probability("95%"), parse_probability(0.05)
    (0.95, 0.05)
    """
    match = re.match(PERCENT, text) if isinstance(text, str) else None
    if match is not None:
        value = float(Decimal(match[1]) / 100)
    elif isinstance(text, (int, float)) and not isinstance(text, bool):
        value = float(text)
    else:
        raise ValueError(f"{_shown(text)} is not a probability; write 95% or 0.95")
    if not 0.0 < value < 1.0:
        raise ValueError(f"{_shown(text)} is not between 0 and 1; write 95% or 0.95")
    return value


def parse_margin(text: Any) -> dict[str, Any]:
    """How much worse is too much: points (`1pp`), a time (`20ms`) or a relative share (`10%`).

    >>> parse_margin("1pp"), parse_margin("10%")
    ({'kind': 'absolute', 'value': 0.01, 'unit': 'pp'}, {'kind': 'relative', 'value': 0.1})
    >>> parse_margin("20ms")
    {'kind': 'absolute', 'value': 20.0, 'unit': 'ms'}
    """
    if isinstance(text, str):
        if match := re.match(POINTS, text):
            return {"kind": "absolute", "value": float(Decimal(match[1]) / 100), "unit": "pp"}
        if match := re.match(PERCENT, text):
            return {"kind": "relative", "value": float(Decimal(match[1]) / 100)}
        if match := re.match(DURATION, text):
            span_ms = float(Decimal(match[1]) * _MILLISECONDS[match[2]])
            return {"kind": "absolute", "value": span_ms, "unit": "ms"}
    elif isinstance(text, (int, float)) and not isinstance(text, bool) and text >= 0:
        return {"kind": "absolute", "value": float(text)}
    raise ValueError(
        f"{_shown(text)} is not a margin; write 1pp (percentage points), 10% (of control's value),"
        " 20ms or a plain number in the metric's own unit"
    )


def parse_quantity(text: Any) -> dict[str, Any]:
    """A value of a metric: a plain number, a percentage (a share) or a duration (milliseconds).

    >>> parse_quantity("120ms"), parse_quantity("1%"), parse_quantity(3)
    ({'value': 120.0, 'unit': 'ms'}, {'value': 0.01, 'unit': 'share'}, {'value': 3.0, 'unit': ''})
    """
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        return {"value": float(text), "unit": ""}
    if isinstance(text, str):
        if match := re.match(PERCENT, text):
            return {"value": float(Decimal(match[1]) / 100), "unit": "share"}
        if match := re.match(DURATION, text):
            return {"value": float(Decimal(match[1]) * _MILLISECONDS[match[2]]), "unit": "ms"}
    raise ValueError(f"{_shown(text)} is not a quantity; write a number, 1% or 120ms")


def parse_condition(text: Any) -> dict[str, Any]:
    """A bound: an operator and a quantity.

    >>> parse_condition("<= 10%")
    {'operator': '<=', 'value': 0.1, 'unit': 'share'}
    """
    match = re.match(CONDITION, text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f'{_shown(text)} is not a condition; write it as "<= 10%"')
    operand: Any = match[2]
    with contextlib.suppress(ValueError):
        operand = float(operand)
    return {"operator": match[1], **parse_quantity(operand)}


def parse_batch(text: Any) -> dict[str, Any]:
    """How many instances at a time: a whole number, or a share of all.

    >>> parse_batch(2), parse_batch("25%")
    ({'kind': 'count', 'value': 2}, {'kind': 'share', 'value': 2500})
    """
    if isinstance(text, int) and not isinstance(text, bool) and text > 0:
        return {"kind": "count", "value": text}
    if isinstance(text, str) and re.match(PERCENT, text):
        share_bp = parse_share_bp(text)
        if share_bp > 0:
            return {"kind": "share", "value": share_bp}
    raise ValueError(f"{_shown(text)} is no number of instances; write 1 or 25%")


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, (dict, list)):
        return "a map" if isinstance(value, dict) else "a list"
    return str(value)
