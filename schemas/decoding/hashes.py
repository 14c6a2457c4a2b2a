"""Ids and labels as numbers of fixed width: murmur3, as `docs/design.md` "Facts" says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import mmh3

_LABELS_MAX: Final = 16_384


def digests(texts: Sequence[bytes]) -> list[bytes]:
    """murmur3 x64 128 of each text, 16 bytes, seed 0."""
    return list(map(mmh3.mmh3_x64_128_digest, texts))


def label_code(label: bytes) -> int:
    """murmur3 x86 32 of a label, or-ed with 1: 0 is left for "no label"."""
    return mmh3.hash(label, signed=False) | 1


class LabelCodes:
    """Label codes of many records; labels repeat, so codes are kept, up to a bound."""

    def __init__(self) -> None:
        self._codes: dict[bytes | None, int] = {None: 0}

    def codes(self, labels: Sequence[bytes | None]) -> list[int]:
        """Code of each label, 0 where there is none."""
        known = self._codes
        if len(known) > _LABELS_MAX:
            known.clear()
            known[None] = 0
        for label in set(labels).difference(known):
            if label is not None:
                known[label] = label_code(label)
        return [known[label] for label in labels]
