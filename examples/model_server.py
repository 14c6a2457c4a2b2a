"""A model server: one process, one version of a model, answers over HTTP on loopback.

Run as `python model_server.py --model ranker --version v2 --port-file FILE [--parameters JSON]`.
`GET /healthz` is 200 once the model is loaded; `POST /predict` takes a map of numbers and answers
`{"score": ..., "model": ..., "version": ...}`: the mean of the numbers times `slope`. Parameters:
`slope`, `fail` (share of requests that fail, from 0 to 1), `load_seconds`, `exit` (a code to end
with instead of serving) and `sick` (healthz says 503): what real models do wrong. It ends when its
standard input does, so that it never outlives whoever started it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    name: ClassVar[str]
    version: ClassVar[str]
    parameters: ClassVar[dict[str, Any]]
    asked: ClassVar[int] = 0

    def do_GET(self) -> None:
        """Health."""
        sick = bool(self.parameters.get("sick"))
        self._answer(503 if sick else 200, {"model": self.name, "version": self.version})

    def do_POST(self) -> None:
        """A score, or 500 for the share that fails."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Handler.asked += 1
        fail = float(self.parameters.get("fail", 0.0))
        # Every request moves the sum on by `fail`: it passes a whole number that often.
        if int(Handler.asked * fail) > int((Handler.asked - 1) * fail):
            self._answer(500, {"error": "the model failed"})
            return
        numbers = [float(value) for value in asked.values() if not isinstance(value, (list, str))]
        score = float(self.parameters.get("slope", 1.0)) * sum(numbers) / max(len(numbers), 1)
        self._answer(200, {"score": score, "model": self.name, "version": self.version})

    def log_message(self, format: str, *arguments: Any) -> None:
        """A line for every request would say nothing."""

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Server(ThreadingHTTPServer):
    """Ends only when what it had begun is answered."""

    daemon_threads = False
    block_on_close = False


def main() -> None:
    """Load, then serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--port-file", required=True, type=Path)
    parser.add_argument("--parameters", default="{}")
    given = parser.parse_args()
    Handler.name, Handler.version = given.model, given.version
    Handler.parameters = json.loads(given.parameters)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    time.sleep(float(Handler.parameters.get("load_seconds", 0.0)))
    if "exit" in Handler.parameters:
        sys.exit(int(Handler.parameters["exit"]))
    server = Server(("127.0.0.1", 0), Handler)

    def stop(*_: object) -> None:
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    ready = given.port_file.with_suffix(".new")
    ready.write_text(str(server.server_port), encoding="ascii")
    ready.replace(given.port_file)
    server.serve_forever(poll_interval=0.05)
    server.server_close()


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
