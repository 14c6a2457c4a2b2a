"""The topics table as people read it: a Mermaid diagram and a Markdown table.

README.md and docs/operations.md hold what these functions give; a test fails when they are stale.
"""

from __future__ import annotations

from tidegate.schemas.topics import DAY_MS, TOPICS, Topic

# Roles that run all the time; `why` and `verify` read every log afterwards.
_ROLES = ("client", "joiner", "decider", "commands")
_NAMES = {"client": "serving client", "commands": "tidegate commands"}
# What the agents keep for themselves would hide the way of the data.
_HOUSEKEEPING = ("snapshots", "schemas", "breaks", "dead-letters", "clock")


def flow_diagram() -> str:
    """Who writes and who reads each topic, as Mermaid; a clock marks the topics with ticks."""
    shown = [topic for topic in TOPICS.values() if topic.name not in _HOUSEKEEPING]
    lines = ["flowchart LR"]
    lines += [f'    role-{role}["{_NAMES.get(role, role)}"]' for role in _ROLES]
    for topic in shown:
        lines.append(f'    {topic.name}(["{topic.name}{" ⏱" if topic.ticks else ""}"])')
        lines += [f"    role-{role} --> {topic.name}" for role in topic.producers if role in _ROLES]
        lines += [f"    {topic.name} --> role-{role}" for role in topic.consumers if role in _ROLES]
    return "\n".join(lines) + "\n"


def topics_table() -> str:
    """One row a topic: key, partitions, how it is kept, who writes and reads it."""
    rows = [
        "| topic | key | partitions | kept | written by | read by |",
        "|---|---|---|---|---|---|",
    ]
    rows += [
        f"| `{topic.name}` | {topic.key} | {_count(topic)} | {_kept(topic)} "
        f"| {', '.join(topic.producers + _ticked(topic))} | {', '.join(topic.consumers)} |"
        for topic in TOPICS.values()
    ]
    return "\n".join(rows) + "\n"


def _count(topic: Topic) -> str:
    words = {"one": "1", "all": "the larger of both"}
    return words.get(topic.count, f"`{topic.count}`")


def _kept(topic: Topic) -> str:
    return "compacted" if topic.cleanup == "compact" else f"{topic.retention_ms // DAY_MS} days"


def _ticked(topic: Topic) -> tuple[str, ...]:
    return ("ticker",) if topic.ticks else ()
