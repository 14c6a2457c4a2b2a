"""Topics: what the topics table wants, and what mends the difference to what is there.

`infra/cluster.py` looks at a cluster and changes it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tidegate.schemas.topics import DAY_MS, TOPICS, Topic, partition_count

_APPLY = "run `tidegate topics apply`"

# Since 4.0 a broker refuses what is stamped more than an hour ahead of its own clock: a process
# on a host with a wrong clock would stop, where only the joiner may judge, and by log time.
_CLOCK_AHEAD_MS = 28 * DAY_MS


@dataclass(frozen=True, slots=True)
class WantedTopic:
    """A topic as it must be: full name, partitions, replication, settings by Kafka's names."""

    topic: Topic
    name: str
    partitions: int
    replication: int
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class FoundTopic:
    """A topic as it is; `settings` is None when the cluster does not tell them."""

    partitions: int
    settings: Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class Change:
    """What `apply` would do to one topic: create it, or set `settings`."""

    wanted: WantedTopic
    create: bool
    settings: Mapping[str, str]

    def __str__(self) -> str:
        listed = ", ".join(f"{name}={value}" for name, value in self.settings.items())
        if self.create:
            return f"create {self.wanted.name} with {self.wanted.partitions} partitions ({listed})"
        return f"change {self.wanted.name}: {listed}"


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a topic, and the command that mends it."""

    topic: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.what}; {self.remedy}"


def wanted_topics(
    prefix: str, partitions: int, decision_partitions: int, replication: int
) -> list[WantedTopic]:
    """The whole topics table under these settings."""
    return [
        WantedTopic(
            topic,
            prefix + topic.name,
            partition_count(topic, partitions, decision_partitions),
            replication,
            _settings(topic, replication),
        )
        for topic in TOPICS.values()
    ]


def plan(wanted: Iterable[WantedTopic], found: Mapping[str, FoundTopic]) -> list[Change]:
    """What `apply` has to do, in the table's order."""
    changes = []
    for each in wanted:
        there = found.get(each.name)
        if there is None:
            changes.append(Change(each, True, each.settings))
        elif differing := _differing(each, there):
            changes.append(Change(each, False, differing))
    return changes


def check(wanted: Sequence[WantedTopic], found: Mapping[str, FoundTopic]) -> list[Fault]:
    """All that keeps agents from starting, each with what mends it."""
    faults = []
    merges: dict[str, list[tuple[WantedTopic, int]]] = defaultdict(list)
    for each in wanted:
        there = found.get(each.name)
        if there is None:
            faults.append(Fault(each.name, "is missing", _APPLY))
            continue
        faults += [
            Fault(each.name, _complaint(name, value, there), _APPLY)
            for name, value in _differing(each, there).items()
        ]
        if there.partitions != each.partitions:
            faults.append(_wrong_count(each, there.partitions))
        if each.topic.merge is not None:
            merges[each.topic.merge].append((each, there.partitions))
    return faults + [fault for role in sorted(merges) for fault in _unequal(role, merges[role])]


def _settings(topic: Topic, replication: int) -> dict[str, str]:
    settings = {
        "cleanup.policy": topic.cleanup,
        "message.timestamp.type": "LogAppendTime" if topic.append_time else "CreateTime",
        "message.timestamp.after.max.ms": str(_CLOCK_AHEAD_MS),
        "max.message.bytes": str(topic.bytes_max),
        "min.insync.replicas": str(min(2, replication)),
    }
    if topic.cleanup == "delete":
        settings["retention.ms"] = str(topic.retention_ms)
    else:
        # Small segments, cleaned early: a worker that starts reads these topics whole.
        settings["segment.bytes"] = str(64 * 1024 * 1024)
        settings["segment.ms"] = str(3_600_000)
        settings["min.cleanable.dirty.ratio"] = "0.1"
    return settings


def _differing(wanted: WantedTopic, found: FoundTopic) -> dict[str, str]:
    if found.settings is None:
        return {}
    return {
        name: value
        for name, value in wanted.settings.items()
        if not _suffices(name, value, found.settings.get(name, ""))
    }


def _suffices(name: str, wanted: str, found: str) -> bool:
    # Operators may keep more than the table asks for, never less.
    if name == "retention.ms":
        return found == "-1" or int(found or 0) >= int(wanted)
    if name in ("max.message.bytes", "message.timestamp.after.max.ms", "min.insync.replicas"):
        return int(found or 0) >= int(wanted)
    if name in ("segment.bytes", "segment.ms", "min.cleanable.dirty.ratio"):
        return float(found or "inf") <= float(wanted)
    return found == wanted


def _complaint(name: str, wanted: str, found: FoundTopic) -> str:
    value = (found.settings or {}).get(name, "unset")
    if name == "cleanup.policy" and wanted == "delete":
        return "is compacted and must not be (compaction removes records that are still counted)"
    return f"has {name}={value}, must be {wanted}"


def _wrong_count(wanted: WantedTopic, partitions: int) -> Fault:
    count = wanted.topic.count
    setting = "partitions" if count == "all" else count
    if count == "one":
        remedy = f"delete the topic and {_APPLY}"
    else:
        remedy = f"set `{setting}: {partitions}`, or delete the topic and {_APPLY}"
    return Fault(wanted.name, f"has {partitions} partitions, not {wanted.partitions}", remedy)


def _unequal(role: str, merged: Sequence[tuple[WantedTopic, int]]) -> list[Fault]:
    if len({partitions for _, partitions in merged}) <= 1:
        return []
    counts = ", ".join(f"{each.name} {partitions}" for each, partitions in merged)
    remedy = f"delete those that differ and {_APPLY}"
    return [Fault(f"merge of the {role}", f"unequal partitions ({counts})", remedy)]
