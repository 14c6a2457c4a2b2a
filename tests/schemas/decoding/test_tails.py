"""Tails answer what was learnt, for whole tails and for their parts."""

from __future__ import annotations

import pytest

from tests.schemas.samples import example
from tidegate.schemas import catalogue, codec
from tidegate.schemas.decoding import tails
from tidegate.schemas.decoding.tails import Tails

SCHEMA = catalogue.latest("prediction")
PREFIX = ("attributes", "slate")


def tail_of(region: str, version: int) -> bytes:
    """The tail of a prediction without features: it begins at the attributes."""
    record = example("prediction") | {
        "features": None, "measures": None, "slate": None,
        "attributes": {"region": region}, "routing_version": version,
    }  # fmt: skip
    value = codec.encode_record("prediction", record)
    return value[value.index(b"region") - 3 :]


def test_parts_are_put_together() -> None:
    """Two tails teach four."""
    known = Tails(SCHEMA, PREFIX)
    known.learn(tail_of("us", 1), ("US", "one"))
    known.learn(tail_of("europe", 2), ("EUROPE", "two"))
    assert known.find(tail_of("europe", 1)) == ("EUROPE", "one")
    assert known.find(tail_of("us", 2)) == ("US", "two")
    assert known.find(tail_of("asia", 2)) is None


def test_without_parts_only_whole_tails_are_known() -> None:
    """A record whose tail does not fall into parts gets no guesses."""
    known = Tails(SCHEMA)
    known.learn(tail_of("us", 1), ("US one",))
    known.learn(tail_of("eu", 2), ("EU two",))
    assert known.find(tail_of("us", 1)) == ("US one",)
    assert known.find(tail_of("us", 2)) is None


def test_equal_columns_are_one_object() -> None:
    """Also under different bytes, so that look-ups by identity mostly hit."""
    known = Tails(SCHEMA)
    first = known.learn(b"a", (("x", 1.5),))
    assert known.learn(b"b", (("x", 1.5),))[0] is first[0]


def test_what_is_too_long_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory stays bounded by number and size, whatever is sent."""
    monkeypatch.setattr(tails, "_TAIL_BYTES_MAX", 3)
    known = Tails(SCHEMA)
    assert known.learn(b"long", ("column",)) == ("column",)
    assert known.find(b"long") is None
    assert known.rows([b"long", b""], ()) == [(), ()]
