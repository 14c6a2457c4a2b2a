"""What a client may be told besides the settings it shares with all of Tidegate."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """How a serving client behaves.

    `fresh_seconds`: a table is stale when no decider was heard for that long. After
    `max_staleness_seconds` without any word from Kafka only control serves. `shadow_workers` and
    `shadow_waiting` bound the models that run unseen, `model_workers` those that run against the
    clock. `reward_wait_ms` is told with predictions made without a table. `log_features` sends
    numeric features along with predictions.
    """

    instance: str = field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}")
    fresh_seconds: float = 15.0
    max_staleness_seconds: float = 300.0
    heartbeat_seconds: float = 5.0
    queue_records: int = 100_000
    shadow_workers: int = 2
    shadow_waiting: int = 100
    model_workers: int = 16
    reward_wait_ms: int = 60_000
    log_features: bool = True
