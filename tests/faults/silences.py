"""Ways for a worker to live and not to work, and exceptions in its fold; all from SIGUSR1 on."""

from __future__ import annotations

import asyncio
import builtins
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import faust
from aiokafka.consumer.group_coordinator import GroupCoordinator

from tidegate.agents import watchdog
from tidegate.agents.hosting import ends
from tidegate.agents.hosting.host import Host
from tidegate.agents.transport.librdkafka_fetch import HybridConsumer
from tidegate.streams.folding import PartitionFold
from tidegate.streams.merge import Fetched

_LONG_SECONDS = 100_000.0
_LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Silence:
    """What falls silent, and how to make it."""

    what: str
    plant: Callable[[], None]


def hasten_watchdog(factor: float) -> None:
    """Divide every patience of the watchdog, for tests that cannot wait half a minute."""
    watchdog.HEALTH_SECONDS /= factor
    watchdog.EXIT_SECONDS /= factor
    watchdog.GROUP_HEALTH_SECONDS /= factor
    watchdog.GROUP_EXIT_SECONDS /= factor
    ends._INTERVAL_SECONDS /= factor


def raise_in_fold(name: str) -> None:
    """The next batch that is folded fails behind its first half, with a built-in exception."""
    armed = _armed()
    whole = PartitionFold.drain
    kinds: Mapping[str, Any] = {**vars(builtins), "CancelledError": asyncio.CancelledError}

    def drain(self: PartitionFold) -> int:
        released = whole(self)
        if armed.is_set() and released:
            raise kinds[name]("planted")
        return released

    PartitionFold.drain = drain  # type: ignore[method-assign]  # what this module is for


def _armed() -> threading.Event:
    event = threading.Event()
    signal.signal(signal.SIGUSR1, lambda *_: event.set())
    return event


def _block_loop() -> None:
    """The event loop does one thing for ever; threads go on."""
    armed, whole = _armed(), Host.keep_house

    def keep_house(self: Host) -> None:
        if armed.is_set():
            time.sleep(_LONG_SECONDS)
        whole(self)

    Host.keep_house = keep_house  # type: ignore[method-assign]  # what this module is for


def _kill_agent() -> None:
    """The Faust agent's task is cancelled without a word; group and fetching go on."""
    armed, whole = _armed(), Host.feed

    def feed(self: Host, topic: str, partition: int, fetched: Fetched) -> None:
        task = asyncio.current_task()
        if armed.is_set() and task is not None:
            task.cancel()
        whole(self, topic, partition, fetched)

    Host.feed = feed  # type: ignore[method-assign]  # what this module is for


def _hang_agent() -> None:
    """The agent waits for ever for its acknowledgement; its task lives."""
    armed, whole = _armed(), faust.Stream.ack

    async def ack(self: Any, event: Any) -> Any:
        if armed.is_set():
            await asyncio.sleep(_LONG_SECONDS)
        return await whole(self, event)

    faust.Stream.ack = ack


def _stick_fetch() -> None:
    """librdkafka gives nothing any more, and no error."""
    armed, whole = _armed(), HybridConsumer._consume

    def consume(self: HybridConsumer) -> Any:
        return {} if armed.is_set() else whole(self)

    HybridConsumer._consume = consume  # type: ignore[method-assign]  # what this module is for


def _lose_coordinator() -> None:
    """aiokafka's dealings with the group end by an error of its own; fetching would go on."""
    armed, whole = _armed(), GroupCoordinator._coordination_routine

    async def routine(self: Any) -> None:
        work = asyncio.ensure_future(whole(self))
        while not work.done():
            await asyncio.wait({work}, timeout=_LOOK_SECONDS)
            if armed.is_set():
                work.cancel()
                raise RuntimeError("planted")
        work.result()

    GroupCoordinator._coordination_routine = routine


def _hang_group() -> None:
    """The coordinator answers no heartbeat any more; fetching goes on."""
    armed, whole = _armed(), GroupCoordinator._do_heartbeat

    async def heartbeat(self: Any) -> bool:
        if armed.is_set():
            await asyncio.sleep(_LONG_SECONDS)
        return bool(await whole(self))

    GroupCoordinator._do_heartbeat = heartbeat


SILENCES: dict[str, Silence] = {
    "loop": Silence("the event loop is blocked", _block_loop),
    "agent": Silence("the agent is cancelled", _kill_agent),
    "hang": Silence("the agent hangs", _hang_agent),
    "fetch": Silence("fetches are stuck", _stick_fetch),
    "group": Silence("the group is silent", _hang_group),
    "coordinator": Silence("dealings with the group end", _lose_coordinator),
}
