"""The topics table as people read it: a Mermaid diagram and a Markdown table.

README.md and docs/operations.md hold what these functions give; a test fails when they are stale.
"""

from __future__ import annotations

from tidegate.schemas.topics import DAY_MS, TOPICS, Topic

# Roles that run all the time; `why` and `verify` read every log afterwards.
_ROLES = ("client", "joiner", "decider", "ticker", "commands")
_NAMES = {"client": "serving client", "commands": "tidegate commands"}


def flow_diagram() -> str:
    """Who writes and who reads each topic, as Mermaid; dotted lines are ticks."""
    lines = ["flowchart LR"]
    lines += [f'    {role}["{_NAMES.get(role, role)}"]' for role in _ROLES]
    lines += [f'    {topic.name}(["{topic.name}"])' for topic in TOPICS.values()]
    for topic in TOPICS.values():
        lines += [f"    {role} --> {topic.name}" for role in topic.producers if role in _ROLES]
        lines += [f"    {topic.name} --> {role}" for role in topic.consumers if role in _ROLES]
        if topic.ticks:
            lines.append(f"    ticker -.-> {topic.name}")
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
