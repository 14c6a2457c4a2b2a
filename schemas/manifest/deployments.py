"""Settings of the steps that bring a version to instances: `blue_green`, `rolling`, `recreate`.

Times are log time, since instances speak of themselves, but `hold` and `keep_previous`: those wait
for evidence, so they are watermarked. `instances` is how many must be live before anything begins.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, JsonValue, Strict, model_validator

from tidegate.schemas.canonical import canonical_json
from tidegate.schemas.manifest.types import Batch, Count, DurationMs, Model, WrittenBatch

CASE_BYTES_MAX = 8_000
CASES_BYTES_MAX = 40_000
"""All smoke requests of a step travel in one command."""


class SmokeCase(Model):
    """A request and what must come back; numbers may differ by `tolerance`."""

    request: Annotated[dict[str, JsonValue], Field(min_length=1)]
    expect: JsonValue
    tolerance: Annotated[float, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _fits(self) -> SmokeCase:
        size = len(canonical_json(self.to_case()).encode())
        if size > CASE_BYTES_MAX:
            raise ValueError(f"{size} bytes are no smoke test; write a request below 8,000 bytes")
        return self

    def to_case(self) -> dict[str, Any]:
        """As the command SMOKE holds it."""
        return {"request": self.request, "expect": self.expect, "tolerance": self.tolerance}


class BlueGreen(Model):
    """The new version is run beside the old, asked before any user is, and gets everything at once.

    Until `keep_previous_ms` after the switch the old one is kept running. Loading and asking
    take `timeout_ms` at most, and so does retiring.
    """

    smoke: Annotated[tuple[SmokeCase, ...], Strict(False)]
    keep_previous_ms: Annotated[DurationMs, Field(alias="keep_previous")] = 3_600_000
    timeout_ms: Annotated[DurationMs, Field(alias="timeout", ge=1_000)] = 300_000
    instances: Count = 1


class Rolling(Model):
    """The new version takes the old one's place, `batch` instances at a time.

    At most `max_unavailable` are without a healthy version at any time. A batch has
    `health_timeout_ms` to become healthy, at least three of its heartbeats, and is held `hold_ms`.
    """

    batch: WrittenBatch = Field(default_factory=lambda: Batch(kind="count", value=1))
    max_unavailable: Count = 1
    health_timeout_ms: Annotated[DurationMs, Field(alias="health_timeout", ge=10_000)] = 120_000
    hold_ms: Annotated[DurationMs, Field(alias="hold")] = 0
    instances: Count = 1


class Patching(Model):
    """How a canary of instances patches them, one after another.

    One is compared with another, so there are two at least. What else there is means the same as in
    `Rolling`.
    """

    max_unavailable: Count = 1
    health_timeout_ms: Annotated[DurationMs, Field(alias="health_timeout", ge=10_000)] = 120_000
    instances: Annotated[Count, Field(ge=2)] = 2


class Recreate(Model):
    """The old version is stopped everywhere, then the new one started: downtime is accepted.

    Stopping and starting have `timeout_ms` each.
    """

    timeout_ms: Annotated[DurationMs, Field(alias="timeout", ge=1_000)] = 300_000
    instances: Count = 1


DEPLOYMENTS: tuple[type[Model], ...] = (BlueGreen, Rolling, Recreate)
"""Settings of steps that command instances."""
