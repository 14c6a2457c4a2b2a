"""Events to bytes and back, and everything that is not an event refused with its reason."""

from __future__ import annotations

import json
import struct
import tracemalloc
from io import BytesIO
from typing import Any

import pytest
from fastavro import schemaless_writer
from hypothesis import given
from hypothesis import strategies as st

from tests.schemas.samples import event, events, example
from tests.schemas.test_catalogue import changed
from tidegate.schemas import codec
from tidegate.schemas.catalogue import latest, load_schema, released
from tidegate.schemas.codec import confluent_head, decode, decode_record, encode, encode_record
from tidegate.schemas.errors import EventError, UnknownSchemaId
from tidegate.schemas.events import EVENTS, Event, Outcome

FIRST_24_BYTES = {
    "applied.v1": "c3016591c826509bbbae1a72616e6b65722d376339662d31",
    "applied.v2": "c301bfc7f819d372f2b41a72616e6b65722d376339662d31",
    "command.v1": "c301475694cff4a43b2130636f6d6d616e64732f322f3137",
    "control.v1": "c301caf45ce0ac2713a64039663262366134653763316434",
    "dead-letter.v1": "c301628d5f167d251c171470726f70656e7369747940312e",
    "decision.v1": "c3011b13acdf98afc59022636c69636b2d72616e6b65722f",
    "observation.v1": "c301979e7352261c70e30002fe7e20366231663063396432",
    "outcome.v1": "c3014d1fc857859a9539147265712d303030303031126f72",
    "prediction.v1": "c301d540c2db858d76bd147265712d3030303030310e7573",
    "routing.v1": "c301d60b1f1b9905851d18636c69636b2d72616e6b657202",
    "shadow-prediction.v1": "c301d5d471a02ed7e713147265712d30303030303192f895",
}
"""First 24 bytes of the published example's single-object frame, frozen for ever."""


SERVER = {"model": "ranker", "version": "v1", "health": "OK"}


def refused(name: str, value: bytes | None) -> str:
    """Reason with which a reader of `name` refuses the bytes."""
    with pytest.raises(EventError) as caught:
        decode(name, value)
    return caught.value.reason


@pytest.mark.parametrize("name", sorted(released()))
def test_first_bytes_of_released_schemas_are_frozen(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was once written is written so for ever: old readers and auditors depend on it."""
    for schema in released()[name]:
        monkeypatch.setattr(codec, "latest", lambda name, found=schema: found)
        written = encode_record(name, example(name, schema.version))
        assert written[:24].hex() == FIRST_24_BYTES[f"{name}.v{schema.version}"]


def test_what_an_older_version_wrote_is_still_read() -> None:
    """A client of the version before is heard: what it could not say is absent."""
    body = BytesIO()
    old = released()["applied"][0]
    schemaless_writer(body, old.parsed, example("applied", 1))
    found = decode("applied", old.head + body.getvalue())
    assert found == event("applied", servers=None, command_id=None, outcome=None, detail=None)


def fields_of(name: str) -> tuple[str, ...]:
    """Names of a schema's fields, in order."""
    return tuple(item["name"] for item in json.loads(latest(name).text)["fields"])


@pytest.mark.parametrize("name", sorted(released()))
def test_published_examples_come_back_equal(name: str) -> None:
    """One real message per schema is encoded and decoded without loss."""
    document = example(name)
    assert decode_record(name, encode_record(name, document)) == document
    assert tuple(document) == fields_of(name)


@given(events)
def test_events_come_back_equal(drawn: Event) -> None:
    """Any sound event survives both framings, and they are told apart by the reader."""
    assert decode(drawn.NAME, encode(drawn)) == drawn
    bindings = {7: latest(drawn.NAME).fingerprint}
    assert decode(drawn.NAME, encode(drawn, schema_id=7), bindings) == drawn


@pytest.mark.parametrize("kind", sorted(EVENTS))
def test_fields_are_those_of_the_schema(kind: str) -> None:
    """Event and schema name the same fields in the same order."""
    assert tuple(event(kind).to_dict()) == fields_of(kind)


@given(st.binary(max_size=200), st.sampled_from(sorted(EVENTS)))
def test_arbitrary_bytes_are_refused(data: bytes, name: str) -> None:
    """Bytes that are no frame are a dead letter, or wait for a binding; nothing else happens."""
    with pytest.raises((EventError, UnknownSchemaId)):
        decode(name, data)


@given(st.binary(max_size=200), st.sampled_from(sorted(EVENTS)))
def test_arbitrary_bytes_behind_a_sound_head_never_crash(data: bytes, name: str) -> None:
    """Whatever follows the head is decoded soundly or refused."""
    try:
        found = decode(name, latest(name).head + data)
    except EventError:
        return
    assert decode(name, encode(found)) == found


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_every_prefix_is_refused(name: str) -> None:
    """No cut-off record is counted."""
    data = encode(event(name))
    for length in range(len(data)):
        assert refused(name, data[:length]) in ("framing", "truncated")


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_flipped_bits_are_refused_or_decode_to_something_sound(name: str) -> None:
    """A flip is a dead letter or a record that passes all guards; a crash is neither."""
    data = encode(event(name))
    for place in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << place % 8
        try:
            found = decode(name, bytes(flipped))
        except (EventError, UnknownSchemaId):
            continue
        assert decode(name, encode(found)) == found


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_bytes_behind_the_record_are_refused(name: str) -> None:
    """A record that was not consumed to its last byte was not understood."""
    assert refused(name, encode(event(name)) + b"\0") == "trailing"


def test_records_of_another_schema_are_refused() -> None:
    """A prediction on the topic of outcomes is not half an outcome, in either framing."""
    assert refused("outcome", encode(event("prediction"))) == "schema"
    body = encode(event("prediction"))[10:]
    with pytest.raises(EventError, match="no version of outcome"):
        decode("outcome", confluent_head(3) + body, {3: latest("prediction").fingerprint})


def test_a_record_without_value_is_refused() -> None:
    """A tombstone on a topic of events is `empty`."""
    assert refused("outcome", None) == "empty"
    assert refused("outcome", b"") == "framing"


def test_a_schema_id_without_binding_blocks() -> None:
    """It is not the record's fault: no dead letter, and the id is named."""
    with pytest.raises(UnknownSchemaId, match="schema id 260") as caught:
        decode("outcome", encode(event("outcome"), schema_id=260))
    assert caught.value.schema_id == 260


def test_records_above_the_cap_are_refused_before_they_are_decoded() -> None:
    """64 KiB for events; more for documents that people write."""
    assert refused("outcome", latest("outcome").head + b"\xff" * 65_536) == "length"
    with pytest.raises(EventError, match="at most 65536"):
        encode(event("prediction", attributes={str(n): "x" * 8_000 for n in range(10)}))
    large = event("control", spec="x" * 1_000_000)
    assert decode("control", encode(large)) == large


def test_refusing_hostile_bytes_takes_no_memory() -> None:
    """Counts and lengths of 2^62 in place of a map or text allocate nothing."""
    data = encode(event("control"))
    huge = b"\xfe" + b"\xff" * 7 + b"\x7f"
    tracemalloc.start()
    for place in range(10, len(data)):
        with pytest.raises(EventError):
            decode("control", data[:place] + huge)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("prediction", {"propensity": 0.0}, "propensity"),
        ("prediction", {"propensity": 1.0000001}, "propensity"),
        ("prediction", {"propensity": float("nan")}, "propensity"),
        ("prediction", {"score": float("nan")}, "value"),
        ("prediction", {"score": float("-inf")}, "value"),
        ("prediction", {"latency_ms": -0.5}, "latency"),
        ("prediction", {"latency_ms": float("nan")}, "latency"),
        ("prediction", {"reward_wait_ms": 0}, "wait"),
        ("prediction", {"request_id": ""}, "length"),
        ("prediction", {"request_id": "é" * 128}, "length"),
        ("prediction", {"features": {str(n): 0.0 for n in range(65)}}, "length"),
        ("prediction", {"features": {"x": float("inf")}}, "value"),
        ("prediction", {"status": "FINE"}, "value"),
        ("shadow-prediction", {"status": "FALLBACK"}, "value"),
        ("outcome", {"value": float("nan")}, "value"),
        ("outcome", {"value": 1.1e15}, "value"),
        ("outcome", {"occurred_at": -1}, "value"),
        ("outcome", {"metric": ""}, "length"),
        ("control", {"control_id": ""}, "length"),
        ("control", {"generation": -1}, "value"),
        ("control", {"reason": "x" * 9_000}, "length"),
        ("control", {"arguments": {"": "x"}}, "length"),
        ("routing", {"inclusion": 10_001}, "value"),
        ("routing", {"control": "nobody"}, "value"),
        ("routing", {"rolled_back": ["nobody"]}, "value"),
        ("routing", {"shadow": {"challenger": 10_001}}, "value"),
        ("routing", {"buckets": [{"variant": "champion", "start": 0, "end": 9_999}]}, "value"),
        ("routing", {"buckets": [{"variant": "nobody", "start": 0, "end": 10_000}]}, "value"),
        ("routing", {"buckets": []}, "value"),
        ("routing", {"variants": [{"name": "a", "model": "m", "model_version": "1"}] * 2}, "value"),
        ("command", {"kind": ""}, "length"),
        ("decision", {"weights": {"a": 9_999}}, "value"),
        ("decision", {"weights": {"a": 10_001, "b": -1}}, "value"),
        ("decision", {"step": -2}, "value"),
        ("applied", {"breaker": [""]}, "length"),
        ("applied", {"instance": ""}, "length"),
        ("applied", {"experiment": ""}, "length"),
        ("applied", {"servers": [SERVER] * 65}, "length"),
        ("applied", {"servers": [{**SERVER, "health": ""}]}, "length"),
        ("applied", {"detail": "x" * 8_193}, "length"),
        ("applied", {"version": -1}, "value"),
        ("dead-letter", {"value": b"x" * 4_097}, "length"),
    ],
)
def test_impossible_events_are_neither_written_nor_read(
    name: str, changes: dict[str, Any], reason: str
) -> None:
    """Writer and reader hold the same guards: what one would refuse the other never sends."""
    with pytest.raises(EventError) as caught:
        encode(event(name, **changes))
    assert caught.value.reason == reason
    assert refused(name, encode_record(name, {**example(name), **changes})) == reason


@pytest.mark.parametrize(
    "changes",
    [{"value": "1"}, {"value": None}, {"request_id": 7}, {"request_id": b"x"},
     {"occurred_at": 2**63}, {"position": 2**31}, {"position": "first"},
     {"request_id": "\ud800"}],
)  # fmt: skip
def test_values_of_the_wrong_type_are_not_written(changes: dict[str, Any]) -> None:
    """A wrong type is an EventError of the emitter, not a crash of its service."""
    with pytest.raises(EventError) as caught:
        encode(event("outcome", **changes))
    assert caught.value.reason == "schema"


def test_text_that_is_no_utf8_is_refused() -> None:
    """Avro strings are UTF-8."""
    data = encode(event("outcome", metric="abc"))
    assert refused("outcome", data.replace(b"abc", b"\xff\xfe\xfd")) == "value"


def test_an_older_version_is_read_as_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer's schema resolves to the reader's: a new field gets its default."""
    old = latest("outcome")
    extra = {"name": "currency", "type": ["null", "string"], "default": None}
    new = load_schema("outcome", 2, changed(old, currency=extra))
    written = encode(event("outcome"))
    monkeypatch.setattr(codec, "latest", lambda name: new)
    monkeypatch.setattr(codec, "writers", lambda name: {s.fingerprint: s for s in (old, new)})
    assert decode_record("outcome", written) == {**example("outcome"), "currency": None}
    newer = encode_record("outcome", {**example("outcome"), "currency": "EUR"})
    assert decode_record("outcome", newer)["currency"] == "EUR"


def test_doubles_keep_their_bits() -> None:
    """Values are doubles on the wire, as sent."""
    data = encode(event("outcome", value=0.1))
    assert struct.pack("<d", 0.1) in data
    found = decode("outcome", data)
    assert isinstance(found, Outcome)
    assert found.value == 0.1
