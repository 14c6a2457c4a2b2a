"""Errors of the group coordinator, injected into librdkafka's mock cluster."""

from __future__ import annotations

from tests.faults.rows import Row
from tests.faults.scene import Scene
from tests.faults.stage import Stage
from tidegate.infra.brokers import EmbeddedBroker

_JOIN_GROUP, _HEARTBEAT, _SYNC_GROUP, _OFFSET_COMMIT = 11, 12, 14, 8
_REBALANCE = 27
# Coordinator loading, not available, another one; generation and member unknown; unknown.
_CODES = (14, 15, 16, 22, 25, -1)
_HEARTBEAT_SECONDS = 2.0
"""Longer than a worker's heartbeat interval."""


def group_errors(stage: Stage, row: Row, times: int) -> None:
    """A heartbeat tells the worker to join again, and what it then asks for fails.

    Recovery is from the moment at which that heartbeat must have been answered.
    """
    with EmbeddedBroker() as broker, stage.scene(row, broker) as scene:
        worker = scene.begin()
        fail_requests(scene, broker, times)
        if worker.process.poll() is not None:
            row.notes.append("the worker was started again")
        told = len(scene.lines("the group coordinator reported"))
        row.notes.append(f"{told} errors that aiokafka would have kept")


def fail_requests(scene: Scene, broker: EmbeddedBroker, times: int) -> None:
    """See `group_errors`."""
    requests = (_SYNC_GROUP, _JOIN_GROUP, _HEARTBEAT, _OFFSET_COMMIT)
    for number in range(times):
        api_key = requests[number % len(requests)]
        code = _CODES[number // len(requests) % len(_CODES)]
        broker.fail(api_key, [code])
        if api_key in (_SYNC_GROUP, _JOIN_GROUP):
            broker.fail(_HEARTBEAT, [_REBALANCE])
        scene.rest(_HEARTBEAT_SECONDS)
        scene.recover(scene.now())
        scene.row.times += 1
