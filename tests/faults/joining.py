"""Workers whose first join of the group never ends: requests to the coordinator get lost."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from tests.faults.failures import PATIENCE_SECONDS, SLACK_SECONDS, want_fail_stop
from tests.faults.proxy import Proxy
from tests.faults.rows import Row
from tests.faults.scene import Member, Scene
from tests.faults.stage import Fault, Stage
from tests.faults.wires import cut_off_scene
from tidegate.agents.watchdog import GROUP_EXIT_SECONDS

JOIN_GROUP, SYNC_GROUP = 11, 14
"""Kinds of request in Kafka's protocol."""
_JOINING_SECONDS_MAX = 120.0
_ALARM = "the consumer group has not spoken to this worker"


def never_joined(name: str, api_key: int, times: int) -> Fault:
    """A row of its own for each request that may get lost, with the watchdog's real patience."""

    def play(stage: Stage, row: Row, times: int) -> None:
        with cut_off_scene(stage, row, by_request=True) as (scene, _, proxy):
            found = shut_out(scene, proxy, [api_key] * times)
            row.notes.append(f"found after at most {max(found):.1f} s")

    what = {JOIN_GROUP: "JoinGroup", SYNC_GROUP: "SyncGroup"}[api_key]
    return Fault(name, f"no first {what} is answered", times, play)


def shut_out(
    scene: Scene, proxy: Proxy, api_keys: Sequence[int], hasten: float = 1.0
) -> list[float]:
    """A worker dies, its successor is never let in, is found and ended, and the next one is let in.

    Returns how long each took to be found, from its first request that got lost. Recovery is from
    the moment at which requests are answered again.
    """
    found = []
    worker = scene.begin()
    for api_key in api_keys:
        scene.rest(1.0)
        joining, lost_at = _succeeded(scene, proxy, worker, api_key, hasten)
        found.append(await_end(scene, joining, hasten) - lost_at)
        proxy.swallow(())
        answered_at = scene.now()
        scene.rest_of_supervisor()
        worker = scene.start()
        scene.recover(answered_at)
        scene.row.times += 1
    return found


def await_end(scene: Scene, joining: Member, hasten: float = 1.0) -> float:
    """The watchdog ends a worker that was never let in, and has said why; when."""
    code, ended_at = scene.ended(joining, PATIENCE_SECONDS / hasten + SLACK_SECONDS)
    want_fail_stop(scene.row, code)
    if not scene.lines(_ALARM):
        scene.row.failures.append("nobody said what was wrong before the end")
    return ended_at


def _succeeded(
    scene: Scene, proxy: Proxy, worker: Member, api_key: int, hasten: float
) -> tuple[Member, float]:
    """The worker dies; its successor, and when it asked in vain."""
    before = proxy.swallowed
    proxy.swallow({api_key})
    scene.send(worker, signal.SIGKILL)
    scene.rest_of_supervisor()
    joining = scene.start(orders={"hasten": hasten} if hasten > 1 else {})
    scene.wait(lambda: proxy.swallowed > before, "a request to get lost", _JOINING_SECONDS_MAX)
    return joining, scene.now()


def alone(stage: Stage, row: Row, times: int) -> None:
    """While a worker waits to join, no broker answers it any more: it must wait, not end.

    Longer than the watchdog's patience with a silent group. Recovery is from the return.
    """
    with cut_off_scene(stage, row, by_request=True) as (scene, _, proxy):
        outwait(scene, proxy, times)


def outwait(scene: Scene, proxy: Proxy, times: int, hasten: float = 1.0) -> None:
    """See `alone`."""
    worker = scene.begin()
    for _ in range(times):
        scene.rest(1.0)
        worker, _ = _succeeded(scene, proxy, worker, JOIN_GROUP, hasten)
        proxy.cut()
        scene.rest(1.5 * GROUP_EXIT_SECONDS / hasten)
        if worker.process.poll() is not None or scene.row.ended:
            scene.row.failures.append("a worker ended while no broker answered")
        proxy.swallow(())
        proxy.mend()
        scene.recover(scene.now())
        scene.row.times += 1
    if not scene.lines("no broker answers"):
        scene.row.failures.append("nobody said that no broker answers")
