"""Whatever the bytes, a run decoded together equals its records decoded one by one."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.schemas.decoding.oracle import KINDS, decoded, one_by_one
from tests.schemas.samples import example
from tidegate.schemas import catalogue, codec
from tidegate.schemas.errors import UnknownSchemaId

NAMES = sorted(KINDS)
BINDINGS: Mapping[int, bytes] = {
    7: catalogue.latest("prediction").fingerprint,
    8: catalogue.latest("shadow-prediction").fingerprint,
    9: catalogue.latest("outcome").fingerprint,
}
IDS = {"prediction": 7, "shadow-prediction": 8, "outcome": 9}

texts = st.sampled_from(["", "a", "x" * 64, "user-42", "é", "x" * 255, "x" * 256, "\0"]) | st.text()
doubles = st.sampled_from(
    [0.0, -0.0, 1.0, -1.0, 1e-31, 1e15, -1e15, 1.1e15, 86_400_000.5, float("nan"), float("inf")]
) | st.floats()  # fmt: skip
times = st.sampled_from([0, -1, 1_763_737_000_000, 253_402_300_800_000, 2**62]) | st.integers(
    -(2**63), 2**63 - 1
)
maps = st.dictionaries(texts, doubles, max_size=3) | st.just({f"f{i}": 0.5 for i in range(70)})
CHANGES: Mapping[str, st.SearchStrategy[Any]] = {
    "request_id": texts, "unit_id": texts, "outcome_id": texts, "metric": texts,
    "experiment": texts, "variant": texts, "reason": texts,
    "served_at": times, "occurred_at": times, "propensity": doubles, "value": doubles,
    "score": st.none() | doubles, "latency_ms": st.none() | doubles,
    "sample_weight": st.none() | doubles, "label": st.none() | texts,
    "features": st.none() | maps, "measures": st.none() | maps,
    "attributes": st.none() | st.dictionaries(texts, texts, max_size=3),
    "slate": st.none(), "generation": st.integers(-1, 3), "routing_version": times,
    "reward_wait_ms": st.integers(-1, 2**31 - 1), "status": st.sampled_from(["OK", "", "ERROR"]),
    "kind": st.none() | st.sampled_from(["VALUE", "ACTIVATION", ""]),
    "position": st.none() | st.integers(-1, 9), "source": st.none() | texts,
}  # fmt: skip


@st.composite
def written(draw: st.DrawFn, name: str) -> bytes:
    """A record with up to two fields changed to something odd, in either framing."""
    values = example(name)
    known = [field for field in values if field in CHANGES]
    for field in draw(st.lists(st.sampled_from(known), max_size=2, unique=True)):
        values[field] = draw(CHANGES[field])
    return codec.encode_record(name, values, draw(st.sampled_from([None, None, IDS[name]])))


@st.composite
def damaged(draw: st.DrawFn, value: bytes) -> bytes:
    """The bytes as a broken emitter or disk might leave them."""
    place = draw(st.integers(0, len(value)))
    return draw(st.sampled_from([
        value, value, value[:place], value + b"\0", value[:place] + b"\x80" + value[place:],
        value[:place] + bytes([draw(st.integers(0, 255))]) + value[place + 1:],
        value[:place] + value[place + 1:], value[:10] + b"\x01" + value[11:], b"", b"\0\0\0\0\7",
    ]))  # fmt: skip


@st.composite
def runs(draw: st.DrawFn) -> tuple[str, list[bytes | None]]:
    """A schema, and values somebody put into its topic."""
    name = draw(st.sampled_from(NAMES))
    other = draw(st.sampled_from(NAMES))
    value = st.one_of(
        st.none(), written(other), written(name).flatmap(damaged), *[written(name)] * 3
    )
    return name, draw(st.lists(value, max_size=12))


@given(runs())
@settings(max_examples=300, deadline=None)
def test_a_run_equals_its_records(run: tuple[str, list[bytes | None]]) -> None:
    """Sound or hostile, in any mixture: same columns, same faults, also the second time."""
    name, values = run
    bindings = BINDINGS if all(map(bound, values)) else None
    decoder = KINDS[name][0](bindings)
    expected = one_by_one(name, values, bindings)
    assert decoded(decoder, values) == expected
    again = decoded(decoder, values, ahead=False)
    assert again == expected, "what was interned must not change a result"


def bound(value: bytes | None) -> bool:
    """Whether the value can be read with BINDINGS."""
    confluent = value is not None and len(value) >= 5 and value[0] == 0
    return not confluent or int.from_bytes((value or b"")[1:5], "big") in BINDINGS


def many(name: str, count: int, seed: int) -> list[bytes | None]:
    """A log of plain records of several emitters, with some that are damaged or strange."""
    draw = random.Random(seed)
    values: list[bytes | None] = []
    for number in range(count):
        record = example(name)
        record["request_id"] = f"{draw.getrandbits(128):032x}"
        if name == "prediction":
            record["unit_id"] = f"user-{draw.randrange(10**6)}"
            names = [f"feature_{place}" for place in range(draw.choice([0, 2, 16, 16, 64, 65]))]
            draw.shuffle(names[: number % 3])
            record["features"] = {item: draw.gauss(0, 1) for item in names} or None
            record["attributes"] = {"region": draw.choice(["us", "eu", "日本"])}
            record["slate"] = draw.choice([None, None, [{"item": "i", "variant": "v"}]])
        if name != "outcome":
            record["label"] = draw.choice([None, "yes", "no", "x" * 100])
            record["measures"] = draw.choice([None, {"cost": draw.random()}, {}])
        value = codec.encode_record(name, record, draw.choice([None, None, None, IDS[name]]))
        if draw.random() < 0.2:
            place = draw.randrange(len(value))
            flipped = bytes([value[place] ^ 1 << draw.randrange(8)])
            value = draw.choice([value[:place], value[:place] + flipped + value[place + 1:]])
        values.append(value if draw.random() < 0.99 else None)
    return values


@pytest.mark.parametrize("name", NAMES)
def test_batch_sizes_do_not_show(name: str) -> None:
    """Runs of 1, 7 and 1,000 records give one result, equal to that of single records."""
    values = list(filter(bound, many(name, 1_200, seed=len(name))))
    expected = one_by_one(name, values, BINDINGS)
    assert len(expected[0]) > 800
    assert len({reason for _, reason, _ in expected[1]}) >= 4
    for size in (1, 7, 1_000):
        for ahead in (False, True):
            assert decoded(KINDS[name][0](BINDINGS), values, size, ahead) == expected


@pytest.mark.parametrize("name", NAMES)
def test_most_records_are_read_together(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once tails are known, plain records never reach the codec: that is what decoding is for."""
    values = [codec.encode_record(name, example(name), schema_id) for schema_id in (None,) * 50]
    bound = [codec.encode_record(name, example(name), IDS[name]) for _ in range(50)]
    decoder = KINDS[name][0](BINDINGS)
    expected = decoded(decoder, values), decoded(decoder, bound)

    def refuse(*_: Any) -> None:
        raise AssertionError("a plain record went one by one")

    monkeypatch.setattr(codec, "decode_record", refuse)
    assert (decoded(decoder, values), decoded(decoder, bound)) == expected


def test_caches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many different tails, attribute sets and layouts pass, results stay right."""
    from tidegate.schemas.decoding import cursor, hashes, tails

    monkeypatch.setattr(tails, "_TAILS_MAX", 3)
    monkeypatch.setattr(tails, "_PREFIX_SIZES_MAX", 3)
    monkeypatch.setattr(hashes, "_LABELS_MAX", 3)
    monkeypatch.setattr(cursor, "_LAYOUTS_KEPT_MAX", 3)
    records = [
        {**example("prediction"), "experiment": f"e{number}", "label": f"l{number}",
         "features": {f"f{number}": 1.0}, "attributes": {"region": "x" * number or "y"}}
        for number in range(60)
    ]  # fmt: skip
    values: list[bytes | None] = [codec.encode_record("prediction", item) for item in records]
    decoder = KINDS["prediction"][0]()
    assert decoded(decoder, values, 20) == one_by_one("prediction", values)
    assert max(len(kept) for kept in (decoder._tails._rows, decoder._tails._rests)) <= 3
    assert len(decoder._features) <= 3 + cursor._LAYOUTS_LEARNT_MAX


def test_older_writers_are_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of an older released version give what resolving them to the newest gives."""
    old = catalogue.latest("outcome")
    added = old.text.replace('"fields": [', '"fields": [{"name": "extra", "type": ["null", '
                             '"string"], "default": null},', 1)  # fmt: skip
    new = catalogue.load_schema("outcome", 2, added)
    values: list[bytes | None] = [codec.encode_record("outcome", example("outcome"))] * 9
    expected = one_by_one("outcome", values)
    released = {**catalogue.released(), "outcome": (old, new)}
    monkeypatch.setattr(catalogue, "released", lambda: released)
    catalogue.writers.cache_clear()
    try:
        assert decoded(KINDS["outcome"][0](), values) == expected
    finally:
        monkeypatch.undo()
        catalogue.writers.cache_clear()


@pytest.mark.parametrize("name", NAMES)
def test_an_unbound_schema_id_waits_for_a_registry(name: str) -> None:
    """With a registry it may be sound, so the run is refused; without one it never will be."""
    values = [codec.encode_record(name, example(name), schema_id) for schema_id in (None, 999)]
    with pytest.raises(UnknownSchemaId):
        KINDS[name][0]({}).decode(values, 0, 2)
    assert len(KINDS[name][0]({}).decode(values, 0, 1).keys) == 1, "what comes before it is read"
    assert [reason for _, reason, _ in KINDS[name][0]().decode(values, 0, 2).faults] == ["schema"]


def test_equal_tails_are_one_object() -> None:
    """Consumers may look tails up by identity first: runs share them."""
    values = [codec.encode_record("prediction", example("prediction"))] * 3
    decoder = KINDS["prediction"][0]()
    found = [decoder.decode(values, number, number + 1) for number in range(3)]
    assert found[0].tails[0] is found[1].tails[0] is found[2].tails[0]
    assert found[0].attributes[0] is found[1].attributes[0]


def test_parts_of_tails_are_known_in_any_combination(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attributes and routing vary independently: n + m records teach n times m tails."""
    regions = [{"region": name} for name in ("us", "eu", "asia")] + [None]
    versions = range(5)

    def value(region: Any, version: int) -> bytes:
        changes = {"attributes": region, "routing_version": version}
        return codec.encode_record("prediction", {**example("prediction"), **changes})

    every = [value(region, version) for region in regions for version in versions]
    expected = one_by_one("prediction", every)
    decoder = KINDS["prediction"][0]()
    decoded(decoder, [value(region, 0) for region in regions])
    decoded(decoder, [value(None, version) for version in versions])
    monkeypatch.setattr(codec, "decode_record", None)
    assert decoded(decoder, every) == expected
