"""Whole numbers in texts that others wrote: arguments of orders and marks."""

from __future__ import annotations


def whole_number(text: str, largest: int) -> int | None:
    """The number that a text says in plain decimal digits; None when it is none up to `largest`.

    Length is looked at first: Python refuses to read thousands of digits, and a fold that meets an
    error there meets it at every start.

    >>> whole_number("2500", 10_000), whole_number("10001", 10_000), whole_number("-1", 10_000)
    (2500, None, None)
    >>> whole_number("1" * 5_000, 10_000) is None
    True
    """
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(largest))):
        return None
    number = int(text)
    return number if number <= largest else None
