"""How decisions say numbers: one spelling for people, deterministic like everything published.

A share is said in percent, a difference of shares in percentage points, thousands with commas.
"""

from __future__ import annotations

from collections.abc import Sequence


def number(value: float, digits: int = 3) -> str:
    """A plain number to `digits` significant digits, never in scientific notation.

    >>> number(1204.6), number(0.012345), number(-3.0)
    ('1,205', '0.0123', '-3')
    """
    if value == 0:
        return "0"
    magnitude = int(f"{abs(value):e}".partition("e")[2])
    decimals = max(0, digits - 1 - magnitude)
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def count(value: int) -> str:
    """A count with commas.

    >>> count(1204)
    '1,204'
    """
    return f"{value:,}"


def percent(share: float, decimals: int = 1) -> str:
    """A share in percent.

    >>> percent(0.041), percent(0.95, 0)
    ('4.1 %', '95 %')
    """
    return f"{_plain(share * 100, decimals)} %"


def points(difference: float) -> str:
    """A difference of two shares in percentage points, with its sign.

    >>> points(0.031), points(-0.0004)
    ('+3.1 pp', '-0.04 pp')
    """
    return f"{signed(difference * 100)} pp"


def signed(value: float) -> str:
    """A number with its sign, one decimal, two below 0.1, three below 0.01.

    >>> signed(2.41), signed(-0.03), signed(0.0)
    ('+2.4', '-0.03', '+0.0')
    """
    small = abs(value)
    decimals = 1 if small >= 0.095 or small == 0 else 2 if small >= 0.0095 else 3
    if small >= 1000:
        decimals = 0
    return f"{value + 0.0:+,.{decimals}f}"


def basis_points(share_bp: int) -> str:
    """A share of traffic.

    >>> basis_points(500), basis_points(1225), basis_points(10_000)
    ('5 %', '12.25 %', '100 %')
    """
    text = f"{share_bp / 100:.2f}"
    return text.rstrip("0").rstrip(".") + " %"


def duration(span_ms: int) -> str:
    """A span of time, as hours and minutes from an hour on, minutes and seconds below.

    >>> duration(2_460_000), duration(7_200_000), duration(93_600_000), duration(4_000)
    ('41:00 min', '2:00 h', '1 d 2:00 h', '4 s')
    """
    seconds = max(0, span_ms) // 1000
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, left = divmod(rest, 60)
    if days:
        return f"{days} d {hours}:{minutes:02d} h" if hours or minutes else f"{days} d"
    if hours:
        return f"{hours}:{minutes:02d} h"
    if minutes:
        return f"{minutes}:{left:02d} min"
    return f"{seconds} s" if span_ms >= 1000 or span_ms <= 0 else f"{span_ms} ms"


def listing(names: Sequence[str]) -> str:
    """Names in a sentence.

    >>> listing(["a", "b", "c"]), listing(["a"])
    ('a, b and c', 'a')
    """
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def alternatives(names: Sequence[str]) -> str:
    """Names of which one is enough.

    >>> alternatives(["a", "b", "c"]), alternatives(["a"])
    ('a, b or c', 'a')
    """
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _plain(value: float, decimals: int) -> str:
    text = f"{value + 0.0:,.{decimals}f}"
    # A small share must not read as none.
    if value != 0 and float(text.replace(",", "")) == 0:
        return number(value, 1)
    return text


def utc(ms: int) -> str:
    """A UTC time to the minute, from milliseconds since 1970 (days from civil, Hinnant 2013).

    >>> utc(1_796_112_000_000), utc(0)
    ('2026-12-01 08:00', '1970-01-01 00:00')
    """
    days, rest_ms = divmod(ms, 86_400_000)
    # Years begin in March, so that a leap day is the last of its year.
    era, of_era = divmod(days + 719_468, 146_097)
    of_year = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_march = of_era - (365 * of_year + of_year // 4 - of_year // 100)
    month = (5 * of_march + 2) // 153
    day = of_march - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    year = of_year + era * 400 + (month <= 2)
    hour, minute = divmod(rest_ms // 60_000, 60)
    return f"{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}"
