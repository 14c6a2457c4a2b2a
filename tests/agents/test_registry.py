"""Bindings of schema ids: recorded before they are used, never changed, asked for until known."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, SchemaRegistryError

from tests.agents.hosting.fakes import Stopped, raise_stop
from tests.schemas.samples import event
from tidegate.agents import registry as registry_module
from tidegate.agents.bindings import Binding, Recorded, bind, recorded_bindings
from tidegate.agents.client.emitter import Emitter
from tidegate.agents.kafka import new_producer, read_topic
from tidegate.agents.registry import Registry
from tidegate.agents.settings import Settings
from tidegate.schemas.catalogue import latest
from tidegate.schemas.codec import decode
from tidegate.schemas.errors import DefinitionError, Unreachable

OUTCOME = latest("outcome")
PATIENCE_SECONDS = 60.0


@dataclass
class FakeRegistry:
    """Ids that are registered, and how often each was asked for; `away` raises instead."""

    texts: dict[int, str] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)
    away: bool = False

    def get_schema(self, schema_id: int) -> Any:
        """As the client does."""
        self.asked.append(schema_id)
        if self.away:
            raise ConnectionError("refused")
        if schema_id not in self.texts:
            raise SchemaRegistryError(404, 40403, "Schema not found")
        return Schema(self.texts[schema_id], "AVRO")


def until_settled(registry: Registry, *schema_ids: int) -> None:
    """Poll until every id is known."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not all(registry.knows(schema_id) for schema_id in schema_ids):
        assert time.monotonic() < deadline, [registry.answer(each) for each in schema_ids]
        registry.poll()
        time.sleep(0.01)


def until_answered(registry: Registry, schema_id: int, words: str) -> None:
    """Poll until the answer about an id says so."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while words not in registry.answer(schema_id):
        assert time.monotonic() < deadline, registry.answer(schema_id)
        registry.poll()
        time.sleep(0.01)


def test_a_released_schema_is_bound_and_others_are_refused() -> None:
    """Documentation may differ; what is not released, or no Avro at all, has no fingerprint."""
    assert bind(7, OUTCOME.text) == Binding(7, "outcome", OUTCOME.fingerprint, OUTCOME.text)
    reworded = OUTCOME.text.replace('"doc": "', '"doc": "Said otherwise. ', 1)
    assert reworded != OUTCOME.text
    assert bind(7, reworded).fingerprint == OUTCOME.fingerprint
    foreign = '{"type": "record", "name": "Other", "fields": []}'
    assert bind(7, foreign) == Binding(7, "Other", b"", foreign)
    for text in ("", "no json", "[]", '{"type": "unheard-of"}', '"string"', "{}"):
        assert bind(7, text).fingerprint == b""


def test_an_id_is_recorded_before_it_is_used(embedded_settings: Settings) -> None:
    """What a worker knows, an auditor finds on the topic, without the registry."""
    assert recorded_bindings(embedded_settings) is None
    fake = FakeRegistry({7: OUTCOME.text, 8: '{"type": "int"}'})
    registry = Registry(embedded_settings, fake, raise_stop)
    assert registry.bindings == {}
    assert recorded_bindings(embedded_settings) == {}
    bindings = registry.bindings
    for schema_id in (7, 8, 7):
        registry.ask(schema_id)
    until_settled(registry, 7, 8)
    assert registry.bindings is bindings
    assert bindings == recorded_bindings(embedded_settings) == {7: OUTCOME.fingerprint, 8: b""}
    assert fake.asked == [7, 8]
    registry.close()


def test_without_a_registry_the_topic_tells(embedded_settings: Settings) -> None:
    """A worker without one uses what others recorded, also later, and waits for the rest."""
    assert Registry(embedded_settings, None, raise_stop).bindings is None
    recorded = Recorded(embedded_settings)
    recorded.write(bind(7, OUTCOME.text))
    registry = Registry(embedded_settings, None, raise_stop)
    assert registry.bindings == {7: OUTCOME.fingerprint}
    registry.ask(8)
    until_answered(registry, 8, "no registry is set")
    recorded.write(bind(8, OUTCOME.text))
    until_settled(registry, 8)
    registry.close()


def test_an_unknown_id_is_asked_for_until_it_is_known(
    embedded_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the registry does not know it yet or is away, the answer says which."""
    monkeypatch.setattr(registry_module, "FIRST_RETRY_SECONDS", 0.01)
    fake = FakeRegistry(away=True)
    registry = Registry(embedded_settings, fake, raise_stop)
    registry.ask(7)
    until_answered(registry, 7, "does not answer: refused")
    fake.away = False
    until_answered(registry, 7, "does not know it")
    fake.texts[7] = OUTCOME.text
    until_settled(registry, 7)
    registry.close()


def test_a_binding_never_changes(embedded_settings: Settings) -> None:
    """Two meanings of one id end the process; nobody reads on."""
    recorded = Recorded(embedded_settings)
    registry = Registry(embedded_settings, FakeRegistry(), raise_stop)
    recorded.write(bind(7, OUTCOME.text))
    recorded.write(bind(7, OUTCOME.text))
    assert recorded.refresh()[7].name == "outcome"
    recorded.write(bind(7, latest("prediction").text))
    with pytest.raises(DefinitionError, match="schema id 7 was bound to outcome"):
        Recorded(embedded_settings).refresh()
    registry.ask(8)
    with pytest.raises(Stopped):
        until_settled(registry, 8)
    registry.close()


@pytest.mark.parametrize(
    "value", [b"{}", b"no json", b'{"id": 7}', b'{"id": 1e999}', b"[" * 100_000]
)
def test_foreign_records_are_no_bindings(embedded_settings: Settings, value: bytes) -> None:
    """What events mean must not be guessed from what somebody else wrote there."""
    producer = new_producer(embedded_settings)
    producer.produce(embedded_settings.topic("schemas"), value, key=b"7", partition=0)
    assert producer.flush(30) == 0
    with pytest.raises(DefinitionError, match="no binding"):
        recorded_bindings(embedded_settings)


def test_a_binding_that_is_not_taken_is_not_used(
    embedded_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker's refusal is a reason to wait, as the registry's silence is."""
    registry = Registry(embedded_settings, FakeRegistry({7: OUTCOME.text}), raise_stop)

    def refuse(self: Recorded, binding: Binding) -> None:
        raise Unreachable("the broker took no binding")

    monkeypatch.setattr(Recorded, "write", refuse)
    registry.ask(7)
    until_answered(registry, 7, "took no binding")
    assert registry.bindings == {}
    registry.close()


def test_the_real_client_is_understood(embedded_settings: Settings) -> None:
    """Its own in-memory registry: unknown at first, then registered, then bound."""
    client = SchemaRegistryClient.new_client({"url": "mock://"})
    registry = Registry(embedded_settings, client, raise_stop)
    registry.ask(1)
    until_answered(registry, 1, "does not know it")
    assert client.register_schema("outcomes-value", Schema(OUTCOME.text, "AVRO")) == 1
    until_settled(registry, 1)
    assert registry.bindings == {1: OUTCOME.fingerprint}
    registry.close()


def test_a_client_frames_with_the_ids_it_was_given(embedded_settings: Settings) -> None:
    """Topics with an id are framed for the registry, others as single objects."""
    emitter = Emitter(embedded_settings, {}, {"outcomes": 7})
    assert emitter.emit("outcomes", "r", event("outcome"))
    assert emitter.emit("predictions", "r", event("prediction"))
    assert emitter.flush(30) == 0
    (outcome,) = read_topic(embedded_settings, "outcomes")
    assert outcome.value is not None
    assert outcome.value[:5] == b"\0\0\0\0\7"
    assert decode("outcome", outcome.value, {7: OUTCOME.fingerprint}) == event("outcome")
    (prediction,) = read_topic(embedded_settings, "predictions")
    assert decode("prediction", prediction.value) == event("prediction")
