"""Health and metrics over HTTP: for this host only."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from tidegate.agents.metrics import Metrics, Sample
from tidegate.agents.watchdog import Verdict
from tidegate.agents.web import Web, require_loopback
from tidegate.schemas.errors import DefinitionError


class Served:
    """A running server whose verdict can be changed."""

    def __init__(self) -> None:
        self.verdict = Verdict()
        metrics = Metrics(lambda: [Sample("tidegate_healthy", 1)])
        self.web = Web("127.0.0.1", 0, lambda: self.verdict, metrics)

    def get(self, path: str, host: str | None = None) -> tuple[int, str]:
        """Status and body."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.web.port}{path}")
        if host is not None:
            request.add_header("Host", host)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


@pytest.fixture
def served() -> Iterator[Served]:
    """A server on a free port."""
    server = Served()
    server.web.start()
    yield server
    server.web.stop()


def test_health_is_green_and_red(served: Served) -> None:
    """200 without faults, 503 with them, and the faults in words."""
    assert served.get("/healthz") == (200, '{"status": "ok", "faults": []}')
    served.verdict = Verdict(("no ticks",))
    status, body = served.get("/healthz")
    assert (status, json.loads(body)["faults"]) == (503, ["no ticks"])


def test_metrics_are_text(served: Served) -> None:
    """What Prometheus reads."""
    status, body = served.get("/metrics")
    assert status == 200
    assert "tidegate_healthy 1.0" in body


def test_nothing_else_is_there(served: Served) -> None:
    """Two paths, and reading only."""
    assert served.get("/")[0] == 404


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:1", 200), ("[::1]:5", 200), ("evil.example", 403), ("evil.example:80", 403)],
)
def test_foreign_names_are_refused(served: Served, host: str, status: int) -> None:
    """A browser whose page was rebound to this address gets nothing."""
    assert served.get("/healthz", host)[0] == status


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])
def test_open_addresses_are_refused(host: str) -> None:
    """Nothing here asks who is calling."""
    with pytest.raises(DefinitionError, match="loopback only"):
        require_loopback(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_addresses_are_not(host: str) -> None:
    """All of loopback is this host."""
    require_loopback(host)


def test_a_taken_port_is_said() -> None:
    """The message names the setting."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        web = Web("127.0.0.1", taken.getsockname()[1], Verdict, Metrics(list))
        with pytest.raises(DefinitionError, match="web_port"):
            web.start()
