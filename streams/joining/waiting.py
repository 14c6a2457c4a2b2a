"""Outcomes and shadow predictions that came before their prediction."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from tidegate.streams.joining.layout import KEY_BYTES, WAITING_BYTES, WAITING_OUTCOME


class Waiting:
    """Items in the order they came. All wait equally long: the first to come is given up first.

    An item is packed as `layout.WAITING_OUTCOME` or `WAITING_SHADOW`.
    """

    __slots__ = ("_items", "_order", "_serial", "serials")

    def __init__(self) -> None:
        self.serials: dict[bytes, list[int]] = {}
        self._items: dict[int, tuple[bytes, bytes]] = {}
        # Serials of items that were taken stay in the queue until their turn comes.
        self._order: deque[int] = deque()
        self._serial = 0

    def __len__(self) -> int:
        return len(self._items)

    def count(self, stream: int) -> int:
        """How many of the waiting items are of a stream."""
        return sum(item[0] == stream for _, item in self._items.values())

    def add(self, key: bytes, item: bytes) -> None:
        """Let an item wait for the prediction of `key`."""
        serial = self._serial
        self._serial = serial + 1
        self._items[serial] = (key, item)
        self._order.append(serial)
        self.serials.setdefault(key, []).append(serial)

    def take(self, key: bytes) -> list[bytes]:
        """Take out what waits for `key`, in the order it came."""
        return [self._items.pop(serial)[1] for serial in self.serials.pop(key)]

    def expire(self, log_time_ms: int) -> Iterator[tuple[bytes, bytes]]:
        """Take out, first come first, the items whose time is up."""
        while (first := self._first()) is not None:
            deadline_ms = WAITING_OUTCOME.unpack_from(first[1])[1]
            if deadline_ms > log_time_ms:
                return
            yield self.give_up()

    def give_up(self) -> tuple[bytes, bytes]:
        """Take out the item that has waited longest; there must be one."""
        self._first()
        serial = self._order.popleft()
        key, item = self._items.pop(serial)
        serials = self.serials[key]
        serials.pop(0)
        if not serials:
            del self.serials[key]
        return key, item

    def dump(self) -> bytes:
        """Keys and items, in the order they came."""
        return b"".join(part for pair in self._items.values() for part in pair)

    def load(self, data: bytes) -> None:
        """Become what `dump` told."""
        for start in range(0, len(data), KEY_BYTES + WAITING_BYTES):
            middle = start + KEY_BYTES
            self.add(data[start:middle], data[middle : middle + WAITING_BYTES])

    def _first(self) -> tuple[bytes, bytes] | None:
        order, items = self._order, self._items
        while order and order[0] not in items:
            order.popleft()
        return items[order[0]] if order else None
