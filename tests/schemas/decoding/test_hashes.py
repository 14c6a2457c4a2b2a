"""Ids and labels as numbers that every language can compute."""

from __future__ import annotations

import pytest

from tidegate.schemas.decoding import hashes
from tidegate.schemas.decoding.hashes import LabelCodes, digests, label_code


def test_published_values() -> None:
    """murmur3 x64 128 and x86 32 with seed 0, as other implementations give them."""
    assert digests([b"", b"hello"]) == [
        bytes(16), bytes.fromhex("029bbd41b3a7d8cb191dae486a901e5b"),
    ]  # fmt: skip
    assert label_code(b"hello") == 0x248BFA47


def test_codes_do_not_depend_on_what_was_asked_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table of labels is bounded, and full or not it gives the same codes."""
    monkeypatch.setattr(hashes, "_LABELS_MAX", 2)
    codes = LabelCodes()
    for labels in ([b"a", None, b"b"], [b"c", b"a"], [None], [b"a", b"b", b"c"]):
        assert codes.codes(labels) == [label_code(label) if label else 0 for label in labels]
