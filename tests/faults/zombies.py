"""Zombies that write where only the last record of a key is kept, and compaction after them."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from tests.faults.rows import Row
from tests.faults.scene import Member, NotRecovered, Scene, quick_settings
from tests.faults.stage import Stage
from tests.integration.test_show import (
    CLEANED_EAGERLY,
    RoutingLog,
    decided_history,
    drawn_cold,
)
from tidegate.agents.hosting.snapshots import decode_manifest, read_key
from tidegate.agents.kafka import Record, new_admin, read_topic
from tidegate.agents.topics import wanted
from tidegate.infra.cluster import apply_changes
from tidegate.infra.topics import Change
from tidegate.schemas.codec import decode_as
from tidegate.schemas.events import Routing

_POINTS = ("chunk", "segment", "flushed", "manifest", "announced", "tombstone", "forgetting")
_SUCCESSOR_SECONDS = 6.0
"""Long enough for several checkpoints, which withdraw the one the zombie was writing."""
_CLEANING_SECONDS = 300.0


def snapshots(stage: Stage, row: Row, times: int) -> None:
    """A worker is stopped in the midst of a checkpoint and wakes up when that is withdrawn.

    It writes on, the log is compacted, all workers are killed: the next one must go on from a
    checkpoint no older than the successor's newest. Recovery is from that kill.
    """
    draw = stage.draw(row.name)
    with stage.scene(row) as scene:
        _clean_eagerly(scene)
        worker = scene.begin(_orders(_POINTS[0]))
        late = 0
        for number in range(times):
            scene.rest(draw.uniform(1.0, 2.0))
            late += _outlived(scene, worker)
            newest = _newest(scene)
            for each in scene.workers():
                killed_at = scene.send(each, signal.SIGKILL)
            before = len(scene.lines("partition taken over"))
            worker = scene.start(orders=_orders(_POINTS[(number + 1) % len(_POINTS)]))
            scene.recover(killed_at)
            for line in scene.lines("partition taken over")[before:]:
                if int(str(line["released"])) < newest[int(str(line["partition"]))]:
                    row.failures.append(f"went on from an elder of {newest}: {line}")
            row.times += 1
    row.notes.append(f"{late} records of zombies behind their successors' newest checkpoint")
    if not late:
        row.failures.append("no zombie wrote anything late")


def _orders(point: str) -> dict[str, object]:
    return {"point": point, "signal": "SIGSTOP"}


def _outlived(scene: Scene, zombie: Member) -> int:
    """The zombie stops, is succeeded, wakes up, writes; the log is compacted.

    Returns how many records of checkpoints older than the successor's newest came behind it.
    """
    scene.arm(zombie)
    scene.wait(lambda: _is_stopped(zombie), "a worker to stop", 300.0)
    scene.start()
    scene.recover(scene.now(), noted=False)
    scene.rest(_SUCCESSOR_SECONDS)
    newest, ends = _newest(scene), _ends(scene)
    woken_at = scene.send(zombie, signal.SIGCONT)
    scene.recover(woken_at, noted=False)
    late = [
        record
        for record in read_topic(scene.settings, "snapshots", start=ends)
        if record.value is not None and _is_of_a_checkpoint_before(record, newest)
    ]
    _compact(scene, ends)
    return len(late)


def _is_stopped(member: Member) -> bool:
    status = Path(f"/proc/{member.process.pid}/stat").read_text(encoding="ascii")
    return status.rpartition(")")[2].split()[0] == "T"


def _clean_eagerly(scene: Scene) -> None:
    topic = next(each for each in wanted(scene.settings) if each.topic.name == "snapshots")
    change = Change(topic, create=False, settings=CLEANED_EAGERLY)
    apply_changes(new_admin(scene.settings), [change])


def _compact(scene: Scene, ends: Mapping[int, int]) -> None:
    """Wait until below these offsets each key is there once at most, and some records are gone."""

    def is_clean() -> bool:
        records = list(read_topic(scene.settings, "snapshots", end=dict(ends)))
        keys = {(record.partition, record.key) for record in records}
        return len(keys) == len(records) < sum(ends.values())

    scene.wait(is_clean, "compaction", _CLEANING_SECONDS)


def _is_of_a_checkpoint_before(record: Record, newest: Mapping[int, int]) -> bool:
    name = read_key(record.key)
    return name is not None and name[2] < newest.get(record.partition, 0)


def _newest(scene: Scene) -> dict[int, int]:
    """The highest checkpoint announced, by partition."""
    found: dict[int, int] = {}
    for record in read_topic(scene.settings, "snapshots"):
        manifest = decode_manifest(record.value) if record.value is not None else None
        if manifest is not None and (record.key or b"").endswith(b"/m"):
            found[record.partition] = max(found.get(record.partition, 0), manifest.released)
    return found


def _ends(scene: Scene) -> dict[int, int]:
    ends: dict[int, int] = {}
    for record in read_topic(scene.settings, "snapshots"):
        ends[record.partition] = record.offset + 1
    return ends


def routing(stage: Stage, row: Row, times: int) -> None:
    """A decider of the past writes every table again that it knew before a rollback.

    The log is compacted, and a client that starts cold must serve the newest table: a share of
    units that are served otherwise is doubled. A fact is a table, a request a unit.
    """
    folder = stage.new_folder(row.name)
    history = decided_history()
    tables = history.tables()
    rolled_back = next(table.version for table in tables if table.rolled_back)
    outputs = [each for each in history.outputs if each.topic in ("routing", "control")]
    bystander = replace(tables[-1], experiment="bystander")
    for number in range(times):
        settings = quick_settings(stage.broker, folder)
        log = RoutingLog(settings)
        for output in outputs:
            log.write(output)
        log.compact(bystander)
        for output in outputs:
            is_table = output.topic == "routing" and output.value is not None
            if is_table and decode_as(Routing, output.value).version < rolled_back:
                log.write(output)
                row.copies += 1
        left = log.compact(bystander)
        last = decode_as(Routing, left[-1].value).version
        if last >= tables[-1].version:
            raise NotRecovered("the zombie's tables are not the last of the log")
        variants, versions = drawn_cold(settings, folder / f"client-{number}")
        row.doubled += variants != {"champion", "other"} or versions != {tables[-1].version}
        row.facts += log.written
        row.requests += 2_000
        row.times += 1
