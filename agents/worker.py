"""One role in one process: started, watched, drained when asked to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NoReturn

from tidegate.agents.alerter import Alerter
from tidegate.agents.app import build_app
from tidegate.agents.engine import fingerprint
from tidegate.agents.failstop import EXIT_DONE, fail_stop
from tidegate.agents.hosting.checkpoints import Checkpoints
from tidegate.agents.hosting.gauges import Gauges
from tidegate.agents.hosting.host import HandlerFactory, Host
from tidegate.agents.hosting.pins import PinWatch
from tidegate.agents.hosting.publisher import Publisher
from tidegate.agents.instance import instance_id
from tidegate.agents.metrics import Metrics, Sample
from tidegate.agents.receivers import receivers_of
from tidegate.agents.registry import Registry, open_registry
from tidegate.agents.roles import ALERTER, FOLDING_ROLES, TICKER, FoldingRole
from tidegate.agents.settings import Settings
from tidegate.agents.startup import check_startup
from tidegate.agents.ticker import Ticker
from tidegate.agents.watchdog import Observed, Watchdog
from tidegate.agents.web import Web
from tidegate.schemas.errors import DefinitionError, TidegateError

_log = logging.getLogger(__name__)

DRAIN_SECONDS = 5.0
_SETTLE_SECONDS = 3.5
_HOUSE_SECONDS = 0.02
_COLLECTOR_THRESHOLDS = (50_000, 20, 50)
"""State is bytes and batches make no cycles: by default the collector looks in vain, often."""


class Worker:
    """A folding role (joiner, decider) with everything around it."""

    def __init__(
        self,
        settings: Settings,
        role: str,
        engine: str,
        make_handler: HandlerFactory,
        registry: Registry,
    ) -> None:
        self._settings = settings
        self._role = role
        self._engine = engine
        publisher = Publisher(settings, role)
        checkpoints = Checkpoints(settings, role, engine, publisher)
        self._host = Host(
            settings,
            role,
            engine,
            make_handler=make_handler,
            publisher=publisher,
            checkpoints=checkpoints,
            registry=registry,
        )
        self._gauges = Gauges(
            settings,
            role,
            engine,
            host=self._host,
            publisher=publisher,
            checkpoints=checkpoints,
        )
        self._pins = PinWatch(settings, role)
        self._watchdog = Watchdog(self._gauges.observe)
        self._web = Web(
            settings.web_host,
            settings.web_port,
            lambda: self._watchdog.verdict,
            Metrics(lambda: self._gauges.samples(not self._watchdog.verdict.faults)),
        )

    async def run(self) -> int:
        """Work until SIGTERM or SIGINT; the exit code."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in _stop_signals():
            loop.add_signal_handler(number, stop.set)
        topics = self._host.topics
        app = build_app(self._settings, self._role, topics, self._host, self._pins.fail)
        self._gauges.transport = app.consumer.counters
        self._web.start()
        self._gauges.ends.start()
        self._pins.start()
        _log.info("starting", extra={"engine": self._engine, "broker": self._settings.bootstrap})
        house = loop.create_task(self._keep_house(app))
        starting = loop.create_task(app.start())
        stopping = loop.create_task(stop.wait())
        self._watchdog.start()
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
        await stopping
        await self._drain(app)
        house.cancel()
        return EXIT_DONE

    async def _keep_house(self, app: Any) -> None:
        while True:
            self._gauges.loop_at = time.monotonic()
            self._host.keep_house()
            if app.crashed:
                fail_stop("the Faust app crashed", app.crash_reason)
            await asyncio.sleep(_HOUSE_SECONDS)

    async def _drain(self, app: Any) -> None:
        """Let outputs and checkpoints arrive, commit, leave."""
        began = time.monotonic()
        if not await self._host.settle(_SETTLE_SECONDS):
            _log.warning("not everything was checkpointed: the next owner repeats some outputs")
        try:
            async with asyncio.timeout(DRAIN_SECONDS - (time.monotonic() - began)):
                await app.consumer.commit()
                await app.stop()
        except TimeoutError:
            _log.warning("Faust did not stop in time; nothing depends on it")
        _log.info("stopped", extra={"seconds": round(time.monotonic() - began, 3)})


def run_role(
    settings: Settings,
    role: str,
    folding_roles: Mapping[str, FoldingRole] = FOLDING_ROLES,
    admit: Callable[[], None] = lambda: None,
) -> int:
    """Run one role in this process until it is asked to stop; the exit code.

    `admit` is called once the brokers have answered and the topics are what agents need.

    Raises:
        DefinitionError: it may not start like this; the message says what mends it.
        Unreachable: no broker answers.
    """
    check_startup(settings)
    admit()
    if role == TICKER:
        return _run_ticker(settings)
    if role == ALERTER:
        return _run_alerter(settings)
    named = replace(settings, instance_id=instance_id(settings, role))
    engine = fingerprint(settings)
    registry = open_registry(settings)
    make_handler = folding_roles[role](named, engine, registry.bindings)

    async def serve() -> int:
        return await Worker(named, role, engine, make_handler, registry).run()

    return asyncio.run(serve())


def run_to_exit(
    settings: Settings,
    role: str,
    folding_roles: Mapping[str, FoldingRole] = FOLDING_ROLES,
    admit: Callable[[], None] = lambda: None,
) -> NoReturn:
    """`run_role`, then the end of this process with its exit code.

    `os._exit`, because threads of Faust and its clients may outlive their usefulness.
    """
    gc.set_threshold(*_COLLECTOR_THRESHOLDS)
    try:
        code = run_role(settings, role, folding_roles, admit)
    except TidegateError as error:
        fail_stop(f"the role {role} does not start", error)
    except Exception as error:
        fail_stop(f"the role {role} failed", error)
    logging.shutdown()
    os._exit(code)


def _stop_signals() -> list[signal.Signals]:
    """What asks for the end. An ignored one stays so: Ctrl-C is then for a supervisor to hear."""
    asking = (signal.SIGTERM, signal.SIGINT)
    return [number for number in asking if signal.getsignal(number) is not signal.SIG_IGN]


def _run_ticker(settings: Settings) -> int:
    ticker = Ticker(settings)

    def observe() -> Observed:
        return Observed(time.monotonic(), ticker.beat_at, {}, ticker.tick_age())

    return _run_watched(settings, observe, ticker.samples, ticker.run)


def _run_alerter(settings: Settings) -> int:
    if not settings.alerts.addresses:
        raise DefinitionError(
            "the alerter has nobody to tell", ("add alerts: {addresses: [...]} to tidegate.yaml",)
        )
    stopped = threading.Event()
    alerter = Alerter(settings, receivers_of(settings.alerts.addresses), stopped.wait)

    def observe() -> Observed:
        return Observed(time.monotonic(), alerter.beat_at, {}, 0.0)

    return _run_watched(settings, observe, alerter.samples, alerter.run, stopped)


def _run_watched(
    settings: Settings,
    observe: Callable[[], Observed],
    counted: Callable[[], Iterator[Sample]],
    run: Callable[[threading.Event], None],
    stopped: threading.Event | None = None,
) -> int:
    """Run a role without a fold, with health and metrics, until asked to stop."""
    stop = stopped or threading.Event()
    for number in _stop_signals():
        signal.signal(number, lambda *_: stop.set())
    watchdog = Watchdog(observe)

    def samples() -> Iterator[Sample]:
        yield Sample("tidegate_healthy", not watchdog.verdict.faults)
        yield from counted()

    web = Web(settings.web_host, settings.web_port, lambda: watchdog.verdict, Metrics(samples))
    web.start()
    watchdog.start()
    run(stop)
    return EXIT_DONE
