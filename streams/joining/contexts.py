"""Interning: what many requests share is kept once, under a small number.

Numbers are given out smallest first and in canonical order, and taken back by log time alone, so
they are the same in every worker.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from heapq import heapify, heappop, heappush
from typing import Any, Generic, TypeVar, cast

from tidegate.schemas.context import Attributes, Context
from tidegate.schemas.decoding.columns import PredictionTail, ShadowTail
from tidegate.schemas.facts import NONE
from tidegate.schemas.limits import TIME_MS_MAX
from tidegate.streams.joining.settings import SWEEP_MS

Item = TypeVar("Item", bound=Hashable)

_CACHE_MAX = 16_384


class Interner(Generic[Item]):
    """Numbers for values, at most `limit` at a time.

    `last_used_ms[number]` is the latest deadline of what refers to it; keeping it right is the
    caller's part. `costs[number]` is about how many bytes the value's texts take in a record.
    """

    __slots__ = (
        "_by_identity",
        "_free",
        "_kept",
        "_limit",
        "_numbers",
        "costs",
        "items",
        "last_used_ms",
    )

    def __init__(self, limit: int) -> None:
        self.items: list[Item | None] = []
        self.last_used_ms: list[int] = []
        self.costs: list[int] = []
        self._limit = limit
        self._numbers: dict[Item, int] = {}
        self._free: list[int] = []
        self._by_identity: dict[int, int] = {}
        self._kept: list[Item] = []

    def number(self, item: Item) -> int:
        """The number of a value, a new one if need be; `NONE` when all are taken."""
        number = self._numbers.get(item)
        if number is not None:
            return number
        if self._free:
            number = heappop(self._free)
            self.items[number] = item
            self.last_used_ms[number] = -1
            self.costs[number] = text_bytes(item)
        elif len(self.items) < self._limit:
            number = len(self.items)
            self.items.append(item)
            self.last_used_ms.append(-1)
            self.costs.append(text_bytes(item))
        else:
            return NONE
        self._numbers[item] = number
        return number

    def numbers(self, items: Sequence[Item]) -> list[int]:
        """The numbers of many values, most of them the same few objects.

        Looking an object up by identity spares hashing its contents; the object is held as long
        as it is looked up, so its identity cannot pass to another one.
        """
        found = list(map(self._by_identity.get, map(id, items)))
        if None in found:
            return [
                self._remember(item) if number is None else number
                for item, number in zip(items, found, strict=True)
            ]
        return cast("list[int]", found)

    def get(self, number: int) -> Item:
        """The value behind a number that is in use.

        Raises:
            KeyError: nothing has this number; the state is broken.
        """
        item = self.items[number]
        if item is None:
            raise KeyError(number)
        return item

    def touch(self, number: int, deadline_ms: int) -> None:
        """Something that refers to `number` lives until `deadline_ms`."""
        self.last_used_ms[number] = max(self.last_used_ms[number], deadline_ms)

    def forget(self, before_ms: int) -> None:
        """Take back the numbers that were last used before `before_ms`."""
        old = [
            number
            for number, used_ms in enumerate(self.last_used_ms)
            if used_ms < before_ms and self.items[number] is not None
        ]
        for number in old:
            item = self.items[number]
            if item is not None:
                del self._numbers[item]
            self.items[number] = None
            heappush(self._free, number)
        if old:
            self._forget_objects()

    def dump(self, write: Callable[[Item], Any]) -> list[Any]:
        """JSON form: one `[value, last_used_ms]` or None per number."""
        return [
            None if item is None else [write(item), used_ms]
            for item, used_ms in zip(self.items, self.last_used_ms, strict=True)
        ]

    def load(self, found: Sequence[Any], read: Callable[[Any], Item]) -> None:
        """Become what `dump` told."""
        # In place: inner loops hold on to these lists.
        self.items[:] = [None if pair is None else read(pair[0]) for pair in found]
        self.last_used_ms[:] = [-1 if pair is None else pair[1] for pair in found]
        self.costs[:] = [text_bytes(item) for item in self.items]
        self._numbers = {item: n for n, item in enumerate(self.items) if item is not None}
        self._free = [number for number, item in enumerate(self.items) if item is None]
        heapify(self._free)
        self._forget_objects()

    def _remember(self, item: Item) -> int:
        if len(self._kept) >= _CACHE_MAX:
            self._forget_objects()
        number = self.number(item)
        if number != NONE:
            self._by_identity[id(item)] = number
            self._kept.append(item)
        return number

    def _forget_objects(self) -> None:
        self._by_identity.clear()
        self._kept.clear()


class Interned:
    """Everything interned in one partition.

    `layouts` are the names of features or measures, ascending. Attribute set 0 and layout 0 are
    the empty ones, always.
    """

    __slots__ = ("_swept_ms", "attributes", "layouts", "names", "shadow_tails", "tails")

    def __init__(self, limit: int) -> None:
        self.tails: Interner[PredictionTail] = Interner(limit)
        self.shadow_tails: Interner[ShadowTail] = Interner(limit)
        self.attributes: Interner[Attributes] = Interner(limit)
        self.names: Interner[str] = Interner(limit)
        self.layouts: Interner[tuple[str, ...]] = Interner(limit)
        self._swept_ms = 0
        for interner in (self.attributes, self.layouts):
            interner.touch(interner.number(()), TIME_MS_MAX)

    def sweep(self, log_time_ms: int, memory_ms: int) -> bool:
        """Now and then, forget what nothing has referred to for `memory_ms`; True when done."""
        if log_time_ms - self._swept_ms < SWEEP_MS:
            return False
        self._swept_ms = log_time_ms
        for interner in self._all():
            interner.forget(log_time_ms - memory_ms)
        return True

    def dump(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "swept_ms": self._swept_ms,
            "tails": self.tails.dump(_write_tail),
            "shadow_tails": self.shadow_tails.dump(_write_shadow_tail),
            "attributes": self.attributes.dump(list),
            "names": self.names.dump(str),
            "layouts": self.layouts.dump(list),
        }

    def load(self, found: Mapping[str, Any]) -> None:
        """Become what `dump` told."""
        self._swept_ms = found["swept_ms"]
        self.tails.load(found["tails"], _read_tail)
        self.shadow_tails.load(found["shadow_tails"], _read_shadow_tail)
        self.attributes.load(found["attributes"], lambda pairs: tuple(map(tuple, pairs)))
        self.names.load(found["names"], str)
        self.layouts.load(found["layouts"], tuple)

    def _all(self) -> tuple[Interner[Any], ...]:
        return (self.tails, self.shadow_tails, self.attributes, self.names, self.layouts)


def text_bytes(item: object) -> int:
    """About how many bytes a value takes in a record: its texts, and 8 for every number.

    >>> text_bytes((("region", "eu"), ("größe", 1)))
    23
    """
    if isinstance(item, str):
        return len(item.encode())
    if isinstance(item, tuple):
        return sum(map(text_bytes, item))
    if isinstance(item, PredictionTail | ShadowTail):
        return text_bytes(item.context)
    return 8


def _write_tail(tail: PredictionTail) -> list[Any]:
    return [list(tail.context), tail.reward_wait_ms, tail.status, tail.weight, tail.deferred]


def _read_tail(found: list[Any]) -> PredictionTail:
    return PredictionTail(Context(*found[0]), *found[1:])


def _write_shadow_tail(tail: ShadowTail) -> list[Any]:
    return [list(tail.context), tail.status]


def _read_shadow_tail(found: list[Any]) -> ShadowTail:
    return ShadowTail(Context(*found[0]), found[1])
