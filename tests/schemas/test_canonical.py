"""One spelling for every value."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.schemas.canonical import canonical_json, round_significant, sha256_hex

finite = st.floats(allow_nan=False, allow_infinity=False)
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(documents)
def test_json_comes_back_and_is_spelt_once(document: object) -> None:
    """What is written is read back equal, and writing it again gives the same text."""
    text = canonical_json(document)
    assert json.loads(text) == document
    assert canonical_json(json.loads(text)) == text


def test_order_of_insertion_does_not_show() -> None:
    """Keys are sorted, at every depth."""
    assert canonical_json({"b": {"d": 1, "c": 2}, "a": 3}) == '{"a":3,"b":{"c":2,"d":1}}'


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_non_finite_floats_are_refused(value: float) -> None:
    """JSON has no NaN; a reader that takes it would carry it into a statistic."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"deep": [value]})


@given(finite)
def test_rounding_is_settled_after_once(value: float) -> None:
    """Rounding a rounded float changes nothing, so comparing and publishing agree."""
    once = round_significant(value)
    assert round_significant(once) == once
    assert math.copysign(1.0, once) == 1.0 or once < 0.0


@given(finite.filter(lambda value: 1e-290 < abs(value) < 1e290))
def test_rounding_moves_by_half_a_unit_of_the_ninth_digit_at_most(value: float) -> None:
    """Nine significant digits are kept."""
    assert abs(round_significant(value) - value) <= abs(value) * 5.000001e-9


def test_digest_of_text_is_that_of_its_utf8() -> None:
    """Text and its UTF-8 bytes have one digest (vector: FIPS 180-4, "abc")."""
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_hex("abc") == sha256_hex(b"abc") == expected
