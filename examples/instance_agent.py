"""One instance of a serving layer: answers users, and obeys Tidegate's deploy commands.

Run as `python instance_agent.py --experiment click-ranker --instance i1 --versions versions.json
--run ranker/v1 --state DIR --port-file FILE`. It starts and ends model servers (`model_server.py`,
one process a version) when commanded, answers `POST /predict {"unit": ..., "features": {...}}` by
`client.predict`, and tells a load balancer at `GET /ready` whether it can. Kafka's address comes
from the environment (`TIDEGATE_BOOTSTRAP`) or `--config`.

`versions.json` says what there is to run (`local_host.py`). What commands have left running is kept
in DIR, so an instance that starts anew runs that; `--run` says what runs before any command.
"""

from __future__ import annotations

import argparse
import json
import signal
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from local_host import LocalHost

from tidegate.agents.client import Client, ClientOptions
from tidegate.agents.client.deployments import Instance


class Front(BaseHTTPRequestHandler):
    """What users and load balancers see."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    client: ClassVar[Client]
    host: ClassVar[LocalHost]
    experiment: ClassVar[str]

    def do_GET(self) -> None:
        """Whether requests find an answer here."""
        drawn = self.client.assign(self.experiment, "ready")
        ready = drawn.reason not in ("UNLOADED", "DEFAULT")
        self._answer(200 if ready else 503, {"reason": drawn.reason, "variant": drawn.variant})

    def do_POST(self) -> None:
        """Answers one request, 503 when no model could."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        table = self.client.routing(self.experiment).routing
        models = {
            item.name: self._model(item.model, item.model_version)
            for item in (() if table is None else table.variants)
        }
        try:
            answer = self.client.predict(
                self.experiment, unit=asked["unit"], features=asked["features"], models=models
            )
        except Exception as error:
            self._answer(503, {"error": str(error)})
            return
        self._answer(200, {
            "value": answer.value, "variant": answer.variant, "request_id": answer.request_id,
            "reason": answer.assignment.reason,
        })

    def log_message(self, format: str, *arguments: Any) -> None:
        """A line for every request would say nothing."""

    def _model(self, model: str, version: str) -> Callable[[Any], Any]:
        return lambda features: self.host.ask(model, version, features)["score"]

    def _answer(self, status: int, body: Mapping[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiment", required=True)
    parser.add_argument("--instance", required=True)
    parser.add_argument("--versions", required=True, type=Path)
    parser.add_argument("--run", action="append", default=[])
    parser.add_argument("--state", required=True, type=Path)
    parser.add_argument("--port-file", required=True, type=Path)
    parser.add_argument("--config", type=Path)
    given = parser.parse_args()
    host = LocalHost(given.versions, given.state)
    host.resume(given.run)
    threading.Thread(target=host.watch, daemon=True).start()
    options = ClientOptions(instance=given.instance, heartbeat_seconds=1.0)
    client = (
        Client(options=options)
        if given.config is None
        else Client.from_file(given.config, options)
    )
    client.wait_ready(30)
    instance = Instance(client, given.experiment, host)
    Front.client, Front.host, Front.experiment = client, host, given.experiment
    server = ThreadingHTTPServer(("127.0.0.1", 0), Front)
    signal.signal(
        signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start()
    )
    given.port_file.write_text(str(server.server_port), encoding="ascii")
    server.serve_forever(poll_interval=0.05)
    instance.close()
    client.close()
    host.end_all()


if __name__ == "__main__":
    main()
