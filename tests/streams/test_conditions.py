"""Conditions: total, without surprise, and as the oracle has them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.streams import rules_oracle
from tidegate.schemas.errors import DefinitionError
from tidegate.streams.conditions import holds, number_of, read_condition

TEXTS = st.text(max_size=4) | st.sampled_from(["1", "-2.5", "1e3", "inf", "nan", "0.3", "de", "d"])


@st.composite
def attribute_tests(draw: st.DrawFn) -> dict[str, Any]:
    """A test as JSON has it."""
    word = draw(st.sampled_from(["equals", "prefix", "in", "not_in", "<", "<=", ">", ">="]))
    if word in ("in", "not_in"):
        value: Any = draw(st.lists(TEXTS, min_size=1, max_size=3))
    elif word in ("equals", "prefix"):
        value = draw(TEXTS)
    else:
        value = draw(st.integers(-3, 3) | st.floats(-1e3, 1e3))
    return {"attribute": draw(st.sampled_from("ab")), "test": word, "value": value}


@given(
    st.lists(attribute_tests(), max_size=3),
    st.dictionaries(st.sampled_from("abc"), TEXTS, max_size=3),
)
def test_conditions_hold_as_the_oracle_says(
    condition: list[dict[str, Any]], attributes: dict[str, str]
) -> None:
    """Whatever is tested of whatever request."""
    found = holds(read_condition(condition), attributes)
    assert found == rules_oracle.matches(condition, attributes)


@given(TEXTS)
def test_texts_are_numbers_as_the_oracle_says(text: str) -> None:
    """Only plain decimal numbers that are finite."""
    assert number_of(text) == rules_oracle.as_number(text)


@given(attribute_tests(), st.none() | st.integers() | st.binary() | st.lists(TEXTS))
def test_what_is_no_text_never_passes(test: dict[str, Any], value: Any) -> None:
    """A service may pass what it should not; nothing raises and nothing matches."""
    assert not holds(read_condition([test]), {"a": value, "b": value})


@pytest.mark.parametrize(
    "found",
    [
        None,
        {},
        [None],
        [[]],
        [{"attribute": "a", "test": "equals"}],
        [{"attribute": "a", "test": "equals", "value": "x" * 256}],
        [{"attribute": "a", "test": "<", "value": True}],
        [{"attribute": "a", "test": "<", "value": 1e16}],
        [{"attribute": "a", "test": "<", "value": float("nan")}],
        [{"attribute": "a", "test": "in", "value": "text"}],
        [{"attribute": "a", "test": ["in"], "value": ["x"]}],
        [{"attribute": "a", "test": "equals", "value": "x"}] * 17,
    ],
)
def test_what_is_no_condition_is_refused(found: Any) -> None:
    """Half understood would be obeyed by half."""
    with pytest.raises(DefinitionError):
        read_condition(found)
