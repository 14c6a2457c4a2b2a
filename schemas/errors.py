"""Whose fault it is: a few leaves under one root, and nothing else is raised on purpose."""

from __future__ import annotations


class TidegateError(Exception):
    """Root of all errors raised on purpose; never raised itself."""


class DefinitionError(TidegateError):
    """The operator's fault: a manifest, a setting, a topic or a command is wrong.

    `faults` lists everything that was found, each with its place and its remedy.
    """

    def __init__(self, message: str, faults: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.faults = faults


class EventError(TidegateError):
    """The wire's fault: a record cannot be counted and becomes a dead letter.

    `reason` is one of the words documented in `dead-letter.v1.avsc`.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class LogTrimmed(TidegateError):
    """The broker deleted records before they were read; `begins` is the first offset it keeps."""

    def __init__(self, topic: str, partition: int, begins: int) -> None:
        super().__init__(
            f"{topic}-{partition} begins at offset {begins} by now: the broker deleted records"
            " before they were read, so what rests on them cannot be told. Read again, and keep"
            " the topic longer if this happens often (`tidegate topics check`)."
        )
        self.topic = topic
        self.partition = partition
        self.begins = begins


class Unreachable(TidegateError):
    """A broker or registry did not answer; the message says where it was looked for."""


class UnknownSchemaId(TidegateError):
    """A Confluent schema id without a binding: blocks its partition, never a dead letter.

    The record may be sound; the registry or the `schemas` topic has to tell what the id means.
    """

    def __init__(self, schema_id: int) -> None:
        super().__init__(f"schema id {schema_id} has no binding")
        self.schema_id = schema_id
