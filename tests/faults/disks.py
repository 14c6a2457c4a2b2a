"""A broker whose disk is full."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.rows import Row
from tests.faults.stage import Stage
from tidegate.infra.brokers import LocalBroker

_SIZE_MB = 96
_FULL_SECONDS = 10.0


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of `_SIZE_MB`, in memory; mounting one needs the rights of root.

    Raises:
        CalledProcessError: mounting is refused.
    """
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE_MB}m", "tmpfs", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True, capture_output=True)


def full(stage: Stage, row: Row, times: int) -> None:
    """Something else fills the disk of the broker, which ends; it is freed, the broker started.

    Recovery is from the return of the broker.
    """
    draw = stage.draw(row.name)
    try:
        with (
            small_disk(stage.new_folder("disk") / "mounted") as disk,
            LocalBroker(data=disk / "kafka") as broker,
            stage.scene(row, broker) as scene,
        ):
            scene.begin()
            for _ in range(times):
                scene.rest(draw.uniform(2.0, 4.0))
                _fill(disk / "ballast")
                full_at = scene.now()
                scene.rest(_FULL_SECONDS)
                if scene.is_fresh(full_at + _FULL_SECONDS / 2):
                    row.failures.append("the full disk stopped nothing")
                (disk / "ballast").unlink()
                # Kafka ends when its only folder fails; one that did not is ended here.
                broker.kill()
                broker.restart()
                scene.recover(scene.now())
                row.times += 1
    except subprocess.CalledProcessError as error:
        row.failures.append(f"blocked: no small disk can be mounted: {error.stderr.decode()}")


def _fill(ballast: Path) -> None:
    descriptor = os.open(ballast, os.O_CREAT | os.O_WRONLY)
    try:
        while True:
            os.write(descriptor, bytes(4_096))
    except OSError:
        pass  # It is full.
    finally:
        os.close(descriptor)
