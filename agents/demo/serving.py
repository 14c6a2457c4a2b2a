"""A serving process: answers images over HTTP with whichever variant the routing table says.

Run as `python -m tidegate.agents.demo.serving SETTINGS MODELS PORT_FILE`. Apart from
`client.predict` it knows nothing of experiments.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from tidegate.agents.client import Client, ClientOptions
from tidegate.agents.demo.models import EXPERIMENT, Model, load


class Handler(BaseHTTPRequestHandler):
    """POST {"unit", "features"} -> {"request_id", "value", "variant"}."""

    protocol_version = "HTTP/1.1"
    # Two small packets a response would wait for each other's acknowledgement otherwise.
    disable_nagle_algorithm = True
    wbufsize = -1
    client: ClassVar[Client]
    models: ClassVar[dict[str, Model]]

    def do_POST(self) -> None:
        """Answer one image."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = self.client.predict(
            EXPERIMENT, unit=asked["unit"], features=asked["features"], models=self.models
        )
        body = json.dumps(
            {
                "request_id": answer.request_id,
                "value": answer.value,
                "variant": answer.variant,
                "fallback": answer.fallback,
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """A line for every request would say nothing."""


def serve(settings: Path, artifact: Path, port_file: Path) -> None:
    """Serve until SIGTERM; the port is in `port_file` once requests are taken."""
    Handler.models = load(artifact)
    # Nothing here is decided by features, and the embedded broker remembers only so much.
    options = ClientOptions(log_features=False)
    with Client.from_file(settings, options) as client:
        Handler.client = client
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        # `shutdown` waits for the loop that the signal interrupted.
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
        waiting = port_file.with_suffix(".new")
        waiting.write_text(str(server.server_port), encoding="ascii")
        waiting.rename(port_file)
        server.serve_forever(poll_interval=0.1)
        server.server_close()


if __name__ == "__main__":
    serve(*(Path(argument) for argument in sys.argv[1:4]))
