"""Workers cut off from a broker that everyone else still reaches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.faults.proxy import Proxy
from tests.faults.rows import Row
from tests.faults.scene import Scene
from tests.faults.stage import Fault, Stage
from tidegate.infra.brokers import LocalBroker
from tidegate.infra.brokers.nodes import Ports
from tidegate.infra.brokers.ports import free_ports

BEHIND = "127.0.0.2"
"""Where connections through the proxy come from, as the broker sees it."""


@contextmanager
def cut_off_scene(
    stage: Stage, row: Row, more: Mapping[str, str] | None = None, *, by_request: bool = False
) -> Iterator[tuple[Scene, LocalBroker, Proxy]]:
    """A scene whose workers reach a broker of its own through a proxy only."""
    with (
        proxied_broker(more, by_request=by_request) as (broker, proxy),
        stage.scene(row, broker, workers_at=f"127.0.0.1:{proxy.port}") as scene,
    ):
        yield scene, broker, proxy


@contextmanager
def proxied_broker(
    more: Mapping[str, str] | None = None, *, by_request: bool = False
) -> Iterator[tuple[LocalBroker, Proxy]]:
    """A broker with a second listener that it announces at a proxy, and that proxy."""
    (inner,) = free_ports(1)
    with Proxy(inner, BEHIND, by_request=by_request) as proxy:

        def extra(_number: int, ports: Ports) -> Mapping[str, str]:
            own = f"PLAINTEXT://127.0.0.1:{ports.client}"
            controller = f"CONTROLLER://127.0.0.1:{ports.controller}"
            names = ("PLAINTEXT", "PROXIED", "CONTROLLER")
            return {
                "listeners": f"{own},PROXIED://127.0.0.1:{inner},{controller}",
                "advertised.listeners": f"{own},PROXIED://127.0.0.1:{proxy.port}",
                "listener.security.protocol.map": ",".join(f"{it}:PLAINTEXT" for it in names),
                **(more or {}),
            }

        with LocalBroker(extra=extra) as broker:
            yield broker, proxy


def unreachable(name: str, seconds: float, times: int) -> Fault:
    """The wire is cut for so long; recovery is from its mending."""

    def play(stage: Stage, row: Row, times: int) -> None:
        draw = stage.draw(row.name)
        with cut_off_scene(stage, row) as (scene, _, proxy):
            scene.begin()
            for _ in range(times):
                scene.rest(draw.uniform(2.0, 4.0))
                proxy.cut()
                cut_at = scene.now()
                scene.rest(seconds)
                if scene.is_fresh(cut_at + seconds / 2):
                    row.failures.append("the cut wire stopped nothing")
                proxy.mend()
                scene.recover(scene.now())
                row.times += 1

    return Fault(name, f"the workers' wire to the broker is cut for {seconds:.0f} s", times, play)


def reset(stage: Stage, row: Row, times: int) -> None:
    """All connections end at once, in the midst of whatever they carry."""
    draw = stage.draw(row.name)
    with cut_off_scene(stage, row) as (scene, _, proxy):
        scene.begin()
        for _ in range(times):
            scene.rest(draw.uniform(0.5, 2.0))
            proxy.reset()
            scene.recover(scene.now())
            row.times += 1
