"""Maps of doubles by layout: an emitter writes the same names in the same order every time.

Then the bytes of its maps differ in the doubles only, and many maps are read by comparing all
other bytes with a pattern that was learnt from one of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class MapLayout:
    """One way to write a map of doubles in one block.

    `pattern` and `mask` have `size` bytes; the mask is 255 where the pattern must hold and 0
    where a double stands. `names` ascend; `offsets[i]` is where the value of `names[i]` stands.
    """

    size: int
    pattern: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    names: tuple[str, ...]
    offsets: tuple[int, ...]

    def values(self, blocks: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Doubles of maps in this layout: (maps, size) octets -> (maps, names)."""
        octets = np.empty((len(blocks), 8 * len(self.offsets)), dtype=np.uint8)
        for number, offset in enumerate(self.offsets):
            octets[:, 8 * number:8 * number + 8] = blocks[:, offset:offset + 8]
        return octets.view("<f8")


def learn_layout(data: bytes, start: int, end: int, names_max: int) -> MapLayout | None:
    """The layout of the map of doubles at data[start:end], or None when it is not plain.

    Plain is: at most one block, written with a positive count below 64, and names that are
    sound, different from each other and shorter than 64 bytes.
    """
    count = data[start] >> 1
    if data[start] & 0x81 or count > names_max:
        return None
    places: dict[str, int] = {}
    at = start + 1
    for _ in range(count):
        size = data[at] >> 1
        if data[at] & 0x81 or not size or at + 9 + size >= end:
            return None
        try:
            name = data[at + 1:at + 1 + size].decode()
        except UnicodeDecodeError:
            return None
        places[name] = at + 1 + size - start
        at += 9 + size
    if len(places) != count or (count and data[at]):
        return None
    # An empty map is its end mark only.
    size = at + 1 - start if count else 1
    mask = np.full(size, 255, dtype=np.uint8)
    for offset in places.values():
        mask[offset:offset + 8] = 0
    names = tuple(sorted(places))
    pattern = np.frombuffer(data, dtype=np.uint8, count=size, offset=start)
    return MapLayout(size, pattern.copy(), mask, names, tuple(places[name] for name in names))
