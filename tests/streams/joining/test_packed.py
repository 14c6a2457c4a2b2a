"""Packed requests against a dict: whatever happened before, what is kept is what was put in."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest

from tidegate.streams.joining.column import Column
from tidegate.streams.joining.index import Index, as_keys
from tidegate.streams.joining.layout import CLOSED_BYTES, HEAD_BYTES, closed_values, is_open
from tidegate.streams.joining.packed import PACKED_HEAD, Packed

MakeKey = Callable[[random.Random], bytes]


def spread(source: random.Random) -> bytes:
    """A key as digests are."""
    return source.randbytes(16)


def forged(source: random.Random) -> bytes:
    """A key that meets all others of its kind in one bucket, and often has their tag."""
    return bytes(8) + bytes([source.randrange(3)]) + source.randbytes(7)


def value(source: random.Random) -> bytes:
    """The value of an open or a closed request, with features and entries or without."""
    entries = 24 * source.choice((0, 0, 1, 5))
    if source.random() < 0.5:
        return source.randbytes(CLOSED_BYTES + entries)
    features = source.choice((0, 0, 3))
    head = source.randbytes(HEAD_BYTES - 1) + bytes([features])
    return head + source.randbytes(8 * features + entries)


def rows_of(rows: list[int]) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    """Row numbers as `Packed` takes them."""
    return np.array(rows, dtype="<u4")


class Model:
    """What `Packed` should hold, and where it said that it is."""

    def __init__(self, seed: int, make_key: MakeKey) -> None:
        self.source = random.Random(seed)
        self.make_key = make_key
        self.packed = Packed()
        self.values: dict[bytes, bytes] = {}
        self.rows: dict[bytes, int] = {}

    def add(self, count: int) -> None:
        """Pack new requests."""
        fresh = {self.make_key(self.source): value(self.source) for _ in range(count)}
        fresh = {key: fresh[key] for key in fresh if key not in self.values}
        rows = self.packed.pack(list(fresh), list(fresh.values()))
        self.values |= fresh
        self.rows |= dict(zip(fresh, rows.tolist(), strict=True))

    def some(self, count: int) -> list[bytes]:
        """Some of the keys, different from each other."""
        return self.source.sample(list(self.values), min(count, len(self.values)))

    def change(self, count: int) -> None:
        """Give some other values of the same identity."""
        keys = self.some(count)
        values = [self.values[key][:CLOSED_BYTES] + value(self.source) for key in keys]
        self.packed.change(rows_of([self.rows[key] for key in keys]), values)
        self.values |= dict(zip(keys, values, strict=True))

    def remove(self, count: int) -> None:
        """Forget some."""
        keys = self.some(count)
        self.packed.remove(rows_of([self.rows.pop(key) for key in keys]))
        for key in keys:
            del self.values[key]

    def faults(self) -> list[str]:
        """What is otherwise than it should be."""
        known, unknown = self.some(500), [self.make_key(self.source) for _ in range(50)]
        asked = known + [key for key in unknown if key not in self.values]
        self.source.shuffle(asked)
        found = dict(self.packed.find(asked))
        faults = []
        if found != {key: self.rows[key] for key in known}:
            faults.append("other keys were found")
        places, rows = self.packed.locate(as_keys(asked))
        located = {asked[at]: row for at, row in zip(places.tolist(), rows.tolist(), strict=True)}
        if located != found or len(places) != len(found):
            faults.append("other keys were found")
        rows = rows_of([self.rows[key] for key in known])
        if self.packed.keys(rows) != known:
            faults.append("other keys stand in the rows")
        if self.packed.values(rows) != [self.values[key] for key in known]:
            faults.append("other values")
        if len(self.packed) != len(self.values):
            faults.append(f"{len(self.packed)} keys, not {len(self.values)}")
        return faults

    def reload(self) -> None:
        """Go on with another store, of the same keys and values."""
        keys = sorted(self.values)
        before = self.packed.dump(rows_of([self.rows[key] for key in keys]))
        self.packed = Packed()
        self.packed.load(np.frombuffer(before.heads, PACKED_HEAD))
        for row, key in enumerate(keys):
            extra = np.frombuffer(self.values[key][CLOSED_BYTES:], np.uint8)
            self.packed.fill(rows_of([row]), extra[None])
        self.rows = {key: row for row, key in enumerate(keys)}
        assert self.packed.dump(rows_of(list(range(len(keys))))) == before


@pytest.mark.parametrize("make_key", [spread, forged])
@pytest.mark.parametrize("seed", range(3))
def test_packed_requests_are_a_dict(seed: int, make_key: MakeKey) -> None:
    """Found is what was packed and not removed, with its latest value, through growth, reuse of
    rows, dumps and loads, and when somebody forges keys that all meet in one bucket."""
    model = Model(seed, make_key)
    source = random.Random(seed)
    for step in range(60):
        model.add(source.choice((0, 1, 7, 300)))
        model.change(source.choice((0, 1, 40)))
        model.remove(source.choice((0, 1, 30, 400)))
        if step % 20 == 10:
            model.reload()
        assert model.faults() == []
    model.remove(len(model.values))
    assert model.faults() == []
    model.add(200)
    assert model.faults() == []


def test_equal_requests_dump_to_equal_bytes() -> None:
    """A dump is a function of keys and values in the order asked for; rows do not show."""
    source = random.Random(1)
    keys = [spread(source) for _ in range(300)]
    values = [value(source) for _ in keys]
    plain, moved = Packed(), Packed()
    first = plain.pack(keys, values)
    moved.remove(moved.pack(keys[100:], values[100:])[::-1])
    second = moved.pack(keys[::-1], values[::-1])[::-1].copy()
    assert second.tolist() != first.tolist()
    assert moved.dump(second) == plain.dump(first)


def test_what_is_only_stored_is_not_found() -> None:
    """`store` and `release` leave the index alone."""
    source = random.Random(2)
    packed = Packed()
    keys, values = [spread(source)], [value(source)]
    rows = packed.store(keys, values)
    assert packed.find(keys) == []
    assert packed.values(rows) == values
    packed.release(rows)
    assert packed.pack(keys, values).tolist() == rows.tolist()


def test_the_index_grows_a_few_buckets_at_a_time() -> None:
    """No insertion splits more than a part of the table, and few keys find their bucket full."""
    source = np.random.default_rng(3)
    keys = source.integers(0, 2**64, size=(60_000, 2), dtype=np.uint64)
    index = Index(lambda rows: keys[rows])
    for start in range(0, len(keys), 1_000):
        index.insert(keys[start : start + 1_000], np.arange(start, start + 1_000, dtype="<u4"))
        assert index.count == start + 1_000
        asked = [row.tobytes() for row in keys[: start + 1_000 : 97]]
        assert dict(index.find(asked)) == {key: 97 * place for place, key in enumerate(asked)}
    assert index.overflown < len(keys) // 20
    index.remove(keys[::2])
    assert [row for _, row in index.find([row.tobytes() for row in keys[:4]])] == [1, 3]
    assert index.count == 30_000


def test_keys_as_an_array() -> None:
    """Two little-endian words each."""
    assert as_keys([bytes([1]) + bytes(7) + bytes([2]) + bytes(7)]).tolist() == [[1, 2]]


def test_a_column_keeps_its_values_when_it_grows() -> None:
    """From small to large, and with the bytes it is loaded with."""
    column = Column("<u4")
    for start in range(0, 90_000, 9_000):
        first = column.grow(9_000)
        assert first == start
        column.values[first : column.size] = np.arange(first, column.size)
    assert column.values[: column.size].tolist() == list(range(90_000))
    again = Column("<u4")
    again.load(column.values[: column.size].tobytes())
    assert again.values[: again.size].tolist() == list(range(90_000))


def test_open_and_closed_values_differ_in_size() -> None:
    """What is kept of a closed request is its identity and its entries, and it shows."""
    source = random.Random(4)
    for features in (0, 1, 64):
        for entries in (b"", source.randbytes(24), source.randbytes(24 * 256)):
            head = source.randbytes(HEAD_BYTES - 1) + bytes([features])
            stored = head + bytes(8 * features) + entries
            assert is_open(stored)
            (closed,) = closed_values([stored])
            assert closed == head[:CLOSED_BYTES] + entries
            assert not is_open(closed)
