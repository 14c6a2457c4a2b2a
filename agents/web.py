"""Health and metrics over HTTP, on loopback only, from a thread of their own.

The thread has its own event loop: when the worker's is blocked, health must still be able to say
so.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import threading
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web

from tidegate.agents.metrics import Metrics
from tidegate.agents.watchdog import Verdict
from tidegate.schemas.errors import DefinitionError

_log = logging.getLogger(__name__)

_START_SECONDS = 5.0
_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Web:
    """`/healthz` and `/metrics` of one process."""

    def __init__(
        self, host: str, port: int, verdict: Callable[[], Verdict], metrics: Metrics
    ) -> None:
        require_loopback(host)
        self._host = host
        self._port = port
        self._verdict = verdict
        self._metrics = metrics
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="tidegate-web", daemon=True)
        self._ready = threading.Event()
        self._error: OSError | None = None
        self.port = 0

    def start(self) -> None:
        """Listen; `port` is known afterwards.

        Raises:
            DefinitionError: the port is taken.
        """
        self._thread.start()
        self._ready.wait(_START_SECONDS)
        if self._error is not None:
            raise DefinitionError(
                f"health and metrics cannot listen on {self._host}:{self._port}: {self._error}; "
                "choose another `web_port`, or 0 for any free one"
            )
        _log.info("health and metrics on http://%s:%d", self._host, self.port)

    def stop(self) -> None:
        """Listen no longer."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_START_SECONDS)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        runner = web.AppRunner(self._application(), access_log=None)
        try:
            self._loop.run_until_complete(self._listen(runner))
        except OSError as error:
            self._error = error
            self._ready.set()
        else:
            self._ready.set()
            self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    async def _listen(self, runner: web.AppRunner) -> None:
        await runner.setup()
        await web.TCPSite(runner, self._host, self._port).start()
        self.port = runner.addresses[0][1]

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[_local_names_only])
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/metrics", self._text)
        return application

    async def _healthz(self, request: web.Request) -> web.StreamResponse:
        faults = list(self._verdict().faults)
        body = {"status": "unhealthy" if faults else "ok", "faults": faults}
        return web.json_response(body, status=503 if faults else 200)

    async def _text(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=self._metrics.text(), headers={"Content-Type": _CONTENT_TYPE})


def require_loopback(host: str) -> None:
    """Refuse to tell anybody but this host.

    Raises:
        DefinitionError: `host` is not a loopback address.
    """
    if not _is_loopback(host):
        raise DefinitionError(
            f"web_host is {host}: health and metrics are given on loopback only, because nothing "
            "here asks who is calling. Set `web_host: 127.0.0.1` and put a proxy with TLS and "
            "authentication in front of it"
        )


@web.middleware
async def _local_names_only(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Refuse requests that name another host: a page in a browser may have been rebound to us."""
    if not _is_loopback(urlsplit(f"//{request.host}").hostname or ""):
        raise web.HTTPForbidden(text="This address answers to loopback names only.\n")
    return await handler(request)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
