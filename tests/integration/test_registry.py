"""Events framed for a Schema Registry, from a registry over HTTP to an audit without one."""

from __future__ import annotations

import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.agents.waiting import wait_for
from tests.integration.world import World, with_short_horizons
from tests.schemas.samples import event
from tidegate.agents.bindings import recorded_bindings
from tidegate.agents.kafka import new_producer, read_topic
from tidegate.agents.replay import Replay
from tidegate.agents.settings import Settings
from tidegate.schemas.catalogue import latest
from tidegate.schemas.codec import decode_as, encode
from tidegate.schemas.events import DeadLetter, Outcome
from tidegate.schemas.observation_reading import decode_observation
from tidegate.schemas.partitioner import partition_of

PATIENCE_SECONDS = 90.0
PREDICTION_ID, OUTCOME_ID, LATE_ID, FOREIGN_ID = 1, 2, 3, 4
FOREIGN = '{"type": "record", "name": "Foreign", "fields": []}'
REQUESTS = [f"request-{number}" for number in range(40)]


@contextmanager
def http_registry(texts: dict[int, str]) -> Iterator[str]:
    """A registry that tells the schemas in `texts` by id; its URL."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            schema_id = self.path.split("?")[0].rpartition("/")[2]
            text = texts.get(int(schema_id))
            found = {"schema": text} if text else {"error_code": 40403, "message": "not found"}
            body = json.dumps(found).encode()
            self.send_response(200 if text else 404)
            self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def free_port() -> int:
    """A port of this host that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def faults(settings: Settings) -> str:
    """What makes the worker's health red; empty when nothing does, or nobody answers."""
    url = f"http://127.0.0.1:{settings.web_port}/healthz"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return " ".join(json.load(answer)["faults"])
    except urllib.error.HTTPError as red:
        with red:
            return " ".join(json.load(red)["faults"])
    except OSError:
        return ""


def joined(settings: Settings) -> dict[int, int]:
    """Outcomes joined so far, by the partition of their request; copies count once."""
    found: dict[int, dict[tuple[int, int], int]] = {}
    for record in read_topic(settings, "observations"):
        if record.value is not None:
            batch = decode_observation(record.value)
            place = (record.partition, batch.sequence)
            found.setdefault(batch.source_partition, {})[place] = batch.count("matched")
    return {partition: sum(counts.values()) for partition, counts in found.items()}


def send(settings: Settings, late: int) -> None:
    """A prediction and an outcome of each request, framed; in partition `late` by the late id."""
    now_ms = int(wait_for_tick(settings))
    producer = new_producer(settings)
    for request_id in REQUESTS:
        key = request_id.encode()
        place = partition_of(key, settings.partitions)
        prediction = event(
            "prediction", request_id=request_id, served_at=now_ms, reward_wait_ms=60_000
        )
        outcome = Outcome(
            request_id=request_id, outcome_id="o", value=1.0, occurred_at=now_ms,
            metric="conversion",
        )  # fmt: skip
        schema_id = LATE_ID if place == late else OUTCOME_ID
        producer.produce(settings.topic("predictions"), encode(prediction, PREDICTION_ID), key=key)
        producer.produce(settings.topic("outcomes"), encode(outcome, schema_id), key=key)
    foreign = b"\0" + FOREIGN_ID.to_bytes(4, "big") + b"whatever"
    producer.produce(settings.topic("outcomes"), foreign, key=REQUESTS[0].encode())
    assert producer.flush(30) == 0


def wait_for_tick(settings: Settings) -> int:
    """Kafka timestamp of a tick, ms: the clock that requests are served by."""
    found: list[int] = []

    def ticked() -> bool:
        found.extend(record.timestamp_ms for record in read_topic(settings, "outcomes", [0]))
        return bool(found)

    wait_for(ticked, PATIENCE_SECONDS)
    return found[-1]


@pytest.mark.slow
def test_framed_events_are_joined_and_audited(
    embedded_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An id the registry learns later holds its partition, visibly, and no other; then nothing is
    lost. A schema that is not released is a dead letter. The audit needs no registry."""
    settings = replace(with_short_horizons(embedded_settings), web_port=free_port())
    late = partition_of(REQUESTS[0].encode(), settings.partitions)
    wanted = {
        partition: sum(partition_of(it.encode(), settings.partitions) == partition
                       for it in REQUESTS)
        for partition in range(settings.partitions)
    }  # fmt: skip
    texts = {
        PREDICTION_ID: latest("prediction").text,
        OUTCOME_ID: latest("outcome").text,
        FOREIGN_ID: FOREIGN,
    }
    with (
        http_registry(texts) as url,
        World(settings, tmp_path / "joiner") as world,
        World(replace(settings, web_port=0), tmp_path / "ticker") as other_world,
    ):
        monkeypatch.setenv("TIDEGATE_SCHEMA_REGISTRY_URL", url)
        joiner, ticker = world.start("joiner"), other_world.start("ticker")
        send(settings, late)
        others = {place: count for place, count in wanted.items() if place != late}
        wait_for(lambda: others.items() <= joined(settings).items(), PATIENCE_SECONDS)
        answered = f"schema id {LATE_ID}: the registry does not know it"
        wait_for(lambda: answered in faults(settings), PATIENCE_SECONDS)
        assert f"{settings.topic('outcomes')}-{late} waits" in faults(settings)
        assert joined(settings).get(late, 0) == 0
        assert joiner.poll() is None
        texts[LATE_ID] = latest("outcome").text
        wait_for(lambda: joined(settings) == wanted, PATIENCE_SECONDS)
        wait_for(lambda: "schema id" not in faults(settings), PATIENCE_SECONDS)
        for process in (joiner, ticker):
            process.terminate()
            assert process.wait(60) == 0
    assert recorded_bindings(settings) == {
        PREDICTION_ID: latest("prediction").fingerprint,
        OUTCOME_ID: latest("outcome").fingerprint,
        LATE_ID: latest("outcome").fingerprint,
        FOREIGN_ID: b"",
    }
    letters = [decode_as(DeadLetter, it.value) for it in read_topic(settings, "dead-letters")]
    assert {letter.reason for letter in letters} == {"schema"}
    assert {letter.offset for letter in letters} == {letters[0].offset}
    report = Replay(settings).run()
    tally = report.tallies["observations"]
    assert tally.equal == tally.recorded > 0
    assert report.equal, (report.differences[:3], report.incomparable)
