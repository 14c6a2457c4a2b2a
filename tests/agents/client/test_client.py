"""The client without Kafka: it always answers, falls back, and counts what it could not send."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.streams.tables import routing
from tidegate.agents.client import Client, ClientOptions
from tidegate.agents.client.cache import Cache
from tidegate.agents.client.tables import Tables
from tidegate.agents.settings import Settings
from tidegate.schemas.errors import DefinitionError
from tidegate.schemas.events import Event, Outcome, Prediction, Routing, ShadowPrediction

NOWHERE = "127.0.0.1:1"


class Told(list[Event]):
    """Events that the client emitted, instead of a broker."""

    def of(self, kind: type[Any]) -> list[Any]:
        """Events of one kind."""
        return [event for event in self if isinstance(event, kind)]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings that lead to no broker."""
    return Settings(kafka={"bootstrap.servers": NOWHERE, "log_level": "0"}, state_dir=tmp_path)


def known(settings: Settings, *tables: Routing, age_seconds: float = 0.0) -> None:
    """Puts tables into the client's cache."""
    found = Tables()
    for table in tables:
        found.take_routing(table, 0)
    Cache(settings.state_dir, settings.prefix, settings.bootstrap).save(
        found, int(1_000 * (time.time() - age_seconds))
    )


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """What clients emit from here on."""
    events = Told()

    def emit(self: Any, topic: str, key: str, event: Event, *_: Any) -> bool:
        events.append(event)
        return True

    monkeypatch.setattr("tidegate.agents.client.emitter.Emitter.emit", emit)
    return events


@pytest.fixture
def halves(settings: Settings) -> Iterator[Client]:
    """A client that knows a table: half of the units get control `a`, half `b`, `c` in shadow."""
    known(settings, routing({"a": 5_000, "b": 5_000, "c": 0}, shadow={"c": 10_000}))
    client = Client(settings=settings)
    yield client
    client.close(0.1)


def unit_of(client: Client, variant: str) -> str:
    """A unit that gets the variant."""
    return next(u for u in map(str, range(99)) if client.assign("ranker", u).variant == variant)


def works(features: Any) -> float:
    """A sound model."""
    return 1.0


def fails(features: Any) -> float:
    """A broken model."""
    raise RuntimeError("broken")


def test_a_cold_client_gives_the_default_at_once(settings: Settings) -> None:
    """No broker, no cache: the caller's default, certain, stale, version 0; nothing raised."""
    with Client(settings=settings) as client:
        answer = client.assign("ranker", "u", default="champion")
        assert (answer.variant, answer.reason, answer.propensity) == ("champion", "DEFAULT", 1.0)
        assert answer.stale
        assert answer.routing_version == 0
        view = client.routing("ranker")
        assert (view.routing, view.stale, view.expired) == (None, True, True)
        assert not client.wait_ready(0.01)


def test_without_a_table_the_first_model_answers(settings: Settings, told: Told) -> None:
    """`predict` serves control, which stands first, and tells of it."""
    with Client(settings=settings) as client:
        answer = client.predict("ranker", "u", {"x": 1}, {"champion": works, "other": fails})
    assert (answer.value, answer.variant, answer.fallback) == (1.0, "champion", False)
    (event,) = told.of(Prediction)
    assert (event.variant, event.reason, event.model_version) == ("champion", "DEFAULT", "unknown")
    assert event.features == {"x": 1.0}


def test_a_young_cache_serves_and_an_old_one_serves_control(settings: Settings) -> None:
    """Younger than max_staleness: by the table, marked stale. Older: control only."""
    known(settings, routing({"a": 0, "b": 10_000}), age_seconds=200)
    with Client(settings=settings) as client:
        answer = client.assign("ranker", "u")
        assert (answer.variant, answer.reason, answer.stale) == ("b", "SPLIT", True)
        assert 199 < client.routing("ranker").age_seconds < 260
    known(settings, routing({"a": 0, "b": 10_000}), age_seconds=400)
    with Client(settings=settings) as client:
        answer = client.assign("ranker", "u")
        assert (answer.variant, answer.reason, answer.routing_version) == ("a", "STALE", 7)
        assert client.routing("ranker").expired


def test_a_rolled_back_variant_stays_out_without_kafka(settings: Settings) -> None:
    """What was rolled back before the outage is rolled back throughout it."""
    known(settings, routing({"a": 0, "b": 10_000}, rolled_back=("b",)))
    with Client(settings=settings) as client:
        assert client.assign("ranker", "u").reason == "ROLLED_BACK"
        assert client.assign("ranker", "u").variant == "a"


def test_requests_without_unit_are_their_own(halves: Client) -> None:
    """Each request draws anew, and keeps its draw under the same request id."""
    drawn = [halves.assign("ranker", None) for _ in range(100)]
    assert {answer.variant for answer in drawn} == {"a", "b"}
    again = halves.assign("ranker", None, request_id=drawn[0].request_id)
    assert again == drawn[0]
    number = halves.assign("ranker", 42, request_id="r")  # type: ignore[arg-type]  # users do it
    assert number == halves.assign("ranker", "42", request_id="r")


def test_assign_never_raises(halves: Client) -> None:
    """Whatever is passed as a unit, somebody answers; the failure is counted."""

    class Nameless:
        def __str__(self) -> str:
            raise ValueError("no name")

    answer = halves.assign("ranker", Nameless(), default="a")  # type: ignore[arg-type]  # on purpose
    assert (answer.variant, answer.reason) == ("a", "DEFAULT")
    assert halves.counters()["assign_failures"] == 1


def test_the_assigned_model_answers_and_shadows_run_unseen(halves: Client, told: Told) -> None:
    """The answer is the variant's; the shadow's is only told, under the same request id."""
    done = threading.Event()

    def shadow(features: Any) -> float:
        done.set()
        return 3.0

    unit = unit_of(halves, "b")
    answer = halves.predict(
        "ranker", unit, {"x": 1.0}, {"a": works, "b": lambda _: 2.0, "c": shadow},
        attributes={"region": "us"}, measures={"cost": 0.5},
    )
    assert (answer.value, answer.variant, answer.fallback) == (2.0, "b", False)
    assert done.wait(30)
    while not told.of(ShadowPrediction):
        time.sleep(0.001)
    (event,), (seen,) = told.of(Prediction), told.of(ShadowPrediction)
    assert (event.variant, event.served_variant, event.status, event.score) == ("b", "b", "OK", 2.0)
    assert (event.propensity, event.model_version, event.routing_version) == (0.5, "v-b", 7)
    assert (event.attributes, event.measures) == ({"region": "us"}, {"cost": 0.5})
    assert event.unit_id == unit
    assert (seen.variant, seen.score, seen.request_id) == ("c", 3.0, answer.request_id)


@pytest.mark.parametrize(
    ("candidate", "status"),
    [(fails, "FALLBACK"), (lambda _: time.sleep(0.5), "TIMEOUT"), (None, "FALLBACK")],
)
def test_a_candidate_that_fails_falls_back_and_keeps_the_blame(
    halves: Client, told: Told, candidate: Any, status: str
) -> None:
    """Error, time-out, no model: control answers, and the event says whose failure it was."""
    models = {"a": works} if candidate is None else {"a": works, "b": candidate}
    answer = halves.predict("ranker", unit_of(halves, "b"), None, models, timeout_seconds=0.05)
    assert (answer.value, answer.variant, answer.fallback) == (1.0, "a", True)
    assert answer.assignment.variant == "b"
    (event,) = told.of(Prediction)
    assert (event.variant, event.served_variant, event.status) == ("b", "a", status)
    counters = halves.counters()
    assert (counters["fallbacks"], counters["shadows_without_model"]) == (1, 1)


def test_controls_own_failure_is_told_and_raised(halves: Client, told: Told) -> None:
    """There is nothing left to fall back on: the application must know."""
    with pytest.raises(RuntimeError, match="broken"):
        halves.predict("ranker", unit_of(halves, "a"), None, {"a": fails, "b": works})
    assert told.of(Prediction)[0].status == "ERROR"
    with pytest.raises(RuntimeError):
        halves.predict("ranker", unit_of(halves, "b"), None, {"a": fails, "b": fails})


def test_control_must_have_a_model(halves: Client) -> None:
    """That is the caller's mistake, and is said before anything runs."""
    for models in ({}, {"b": works}):
        with pytest.raises(DefinitionError):
            halves.predict("ranker", "u", None, models)


def test_a_candidate_that_keeps_raising_is_cut_here_and_now(halves: Client, told: Told) -> None:
    """After five failures nobody is given to it any more; the reason says why."""
    unit = unit_of(halves, "b")
    for _ in range(5):
        halves.predict("ranker", unit, None, {"a": works, "b": fails, "c": works})
    answer = halves.assign("ranker", unit)
    assert (answer.variant, answer.reason) == ("a", "BREAKER")
    assert halves.routing("ranker").cut == ("b",)
    assert halves.counters()["breaker_cuts"] == 1
    assert any(getattr(event, "breaker", None) == ("b",) for event in told)


def test_outcomes_and_activations_name_their_request(halves: Client, told: Told) -> None:
    """An outcome has an id, a time and a value; an activation no metric."""
    assert halves.outcome("r1", "conversion", 1, outcome_id="o", occurred_at=5, source="web")
    assert halves.outcome("r1", "conversion", 1)
    assert halves.activate("r1")
    first, second, activation = told.of(Outcome)
    assert (first.request_id, first.outcome_id, first.occurred_at) == ("r1", "o", 5)
    assert second.outcome_id not in ("", "o")
    assert (activation.kind, activation.metric) == ("ACTIVATION", "")


def test_services_that_call_models_themselves_tell_of_it(halves: Client, told: Told) -> None:
    """`assign`, then `prediction` and `shadow_prediction`, fill in what the table knows."""
    drawn = halves.assign("ranker", "u")
    assert halves.prediction("ranker", drawn, unit_id="u", label="cat", deferred=True)
    assert halves.shadow_prediction("ranker", drawn, "c", label="dog", status="OK")
    prediction, shadow = told
    assert isinstance(prediction, Prediction)
    assert (prediction.label, prediction.deferred) == ("cat", True)
    assert prediction.reward_wait_ms == 1_000
    assert isinstance(shadow, ShadowPrediction)
    assert (shadow.model, shadow.model_version) == ("ranker", "v-c")


def test_what_cannot_be_sent_is_counted_not_raised(settings: Settings) -> None:
    """A wrong value is refused; with a full queue and no broker events are dropped."""
    client = Client(settings=settings, options=ClientOptions(queue_records=10))
    assert not client.outcome("r", "m", float("nan"))
    assert not client.outcome("r" * 300, "m", 1.0)
    sent = [client.outcome(f"r{i}", "m", 1.0) for i in range(50)]
    assert (any(sent), all(sent)) == (True, False)
    counters = client.counters()
    assert counters["outcomes_refused"] == 2
    assert counters["outcomes_unsent"] == sent.count(False)
    assert client.close(0.1) == sent.count(True)
    assert client.close() == 0


def test_closing_takes_no_longer_than_it_is_given(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads, events and the goodbye share one time: what one used up the next has not."""
    client = Client(settings=settings)
    client.outcome("r", "m", 1.0)
    given: list[float] = []

    def hang(seconds: float) -> int:
        given.append(seconds)
        time.sleep(0.02)
        return 1

    link = client._link
    for part, name in ((link.subscriber, "stop"), (link.events, "flush"),
                       (link.reporter.emitter, "flush")):  # fmt: skip
        monkeypatch.setattr(part, name, hang)
    assert client.close(60.0) == 1
    threads, events, goodbye = given
    assert threads <= 60.0 / 4
    assert goodbye <= events - 0.01 <= 60.0 - 0.02


def test_settings_come_from_a_file(tmp_path: Path) -> None:
    """`Client.from_file` reads tidegate.yaml; an address given by hand wins."""
    path = tmp_path / "tidegate.yaml"
    path.write_text(
        f"kafka: {{bootstrap.servers: '{NOWHERE}'}}\nstate_dir: {tmp_path}\n", encoding="utf-8"
    )
    with Client.from_file(path) as client:
        assert client.assign("e", "u").reason == "DEFAULT"
    with Client(NOWHERE, Settings(state_dir=tmp_path)) as client:
        assert client.assign("e", "u").reason == "DEFAULT"


def test_of_several_ids_the_tables_unit_counts(settings: Settings, told: Told) -> None:
    """The key's id, else the fallback's under its kind's name; the prediction says which."""
    rules = '{"unit": {"key": "user", "fallback": "session"}}'
    known(settings, routing({"a": 5_000, "b": 5_000, "c": 0}, rules=rules))
    with Client(settings=settings) as client:
        by_user = client.assign("ranker", {"user": "ann", "session": "s"})
        assert by_user.variant == client.assign("ranker", "ann").variant
        nobody = client.assign("ranker", {"account": "x"})
        assert (nobody.variant, nobody.reason) == ("a", "EXCLUDED")
        for unit in ({"user": "ann", "session": "s"}, {"user": "", "session": "s"}, {"x": "y"}):
            client.predict("ranker", unit, {}, {"a": works, "b": works}, request_id="r")
        client.prediction("ranker", by_user)
    assert [event.unit_id for event in told.of(Prediction)] == ["ann", "session:s", "r", "ann"]


def test_attributes_decide_who_takes_part(settings: Settings) -> None:
    """What targeting asks about is what the service passes."""
    rules = '{"targeting": [[{"attribute": "region", "test": "equals", "value": "eu"}]]}'
    known(settings, routing({"a": 0, "b": 10_000}, rules=rules))
    with Client(settings=settings) as client:
        assert client.assign("ranker", "u", {"region": "eu"}).variant == "b"
        assert client.assign("ranker", "u", {"region": "us"}).reason == "EXCLUDED"
        assert client.assign("ranker", "u").variant == "a"
