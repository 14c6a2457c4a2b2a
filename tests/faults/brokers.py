"""Brokers that are killed, restarted, and change leaders."""

from __future__ import annotations

from confluent_kafka import ElectionType
from confluent_kafka.admin import AdminClient

from tests.faults.rows import Row
from tests.faults.stage import Stage
from tidegate.infra.brokers import LocalBroker

_AWAY_SECONDS = 3.0
_NODES = 3


def restarted(stage: Stage, row: Row, times: int) -> None:
    """The only node dies by SIGKILL and is back some seconds later; recovery is from its return."""
    draw = stage.draw(row.name)
    with LocalBroker() as broker, stage.scene(row, broker) as scene:
        scene.begin()
        for _ in range(times):
            scene.rest(draw.uniform(2.0, 4.0))
            broker.kill()
            scene.rest(_AWAY_SECONDS)
            broker.restart()
            scene.recover(scene.now())
            row.times += 1


def one_of_three(stage: Stage, row: Row, times: int) -> None:
    """Each node in turn dies by SIGKILL, its leaders move; recovery is from its death.

    It comes back, and gets the leaders back that it should have: they move a second time.
    """
    draw = stage.draw(row.name)
    moves = []
    with LocalBroker(nodes=_NODES) as broker, stage.scene(row, broker, nodes=_NODES) as scene:
        admin = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 0})
        scene.begin()
        for number in range(times):
            scene.rest(draw.uniform(2.0, 4.0))
            node = number % _NODES + 1
            killed_at = scene.now()
            broker.kill(node)
            scene.recover(killed_at)
            broker.restart(node)
            scene.rest(_AWAY_SECONDS)
            elected_at = scene.now()
            admin.elect_leaders(ElectionType.PREFERRED).result(30)
            moves.append(scene.recover(elected_at, noted=False))
            row.times += 1
    row.notes.append(f"after an election at most {max(moves, default=0):.1f} s")
