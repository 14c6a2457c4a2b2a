"""CloudEvents 1.0 headers (Kafka binding, binary mode) on the topics that others subscribe to."""

from __future__ import annotations

from hashlib import sha256

from tidegate.schemas.topics import TOPICS

CLOUDEVENT_TOPICS = frozenset({"control", "routing", "commands", "decisions"})


def cloudevent_headers(
    topic: str, key: bytes, value: bytes, source: str
) -> list[tuple[str, bytes]]:
    """Headers of a record of `topic` (name without prefix) written by `source`.

    The id is a digest of what is said: a record that is written twice is one event, as the
    standard asks ("consumers may assume that events with identical source and id are duplicates").
    `source` is a URI reference such as `/tidegate/decider`.
    """
    identity = sha256(b"\0".join((topic.encode(), key, value))).hexdigest()[:32]
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", identity.encode()),
        ("ce_source", source.encode()),
        ("ce_type", f"io.tidegate.{TOPICS[topic].schema}.v1".encode()),
        ("ce_subject", key),
        ("content-type", b"application/avro"),
    ]
