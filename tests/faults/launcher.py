"""`python -m tests.faults.launcher ROLE`: the worker as it is, with one thing wrong with it.

What is wrong stands in the environment variable TIDEGATE_FAULT; nothing but this module reads it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

from tests.faults.crash_points import Trap, plant
from tests.faults.silences import SILENCES, hasten_watchdog, raise_in_fold
from tidegate.agents.hosting import snapshots
from tidegate.agents.log import configure_logs
from tidegate.agents.settings import load_settings
from tidegate.agents.worker import run_to_exit
from tidegate.streams import folding

VARIABLE = "TIDEGATE_FAULT"


def obey(orders: dict[str, Any]) -> None:
    """Put wrong what is ordered.

    `point`, `passes`, `signal`, `armed`: end or stop at a crash point. `chunk_bytes`: checkpoints
    in more pieces. `segment_records`: segments sealed more often. `silence`: live without working,
    from SIGUSR1 on. `raises`: name of an exception that the fold raises, from SIGUSR1 on.
    `hasten`: the watchdog's seconds divided by it.
    """
    if "chunk_bytes" in orders:
        snapshots.CHUNK_BYTES = orders["chunk_bytes"]
    if "segment_records" in orders:
        folding.SEGMENT_RECORDS = orders["segment_records"]
    if "point" in orders:
        number = signal.Signals[orders.get("signal", "SIGKILL")]
        plant(orders["point"], Trap(orders.get("passes", 1), number, orders.get("armed", False)))
    if "silence" in orders:
        SILENCES[orders["silence"]].plant()
    if "raises" in orders:
        raise_in_fold(orders["raises"])
    if "hasten" in orders:
        hasten_watchdog(orders["hasten"])


if __name__ == "__main__":
    role = sys.argv[1]
    obey(json.loads(os.environ.get(VARIABLE, "{}")))
    configure_logs(role)
    run_to_exit(load_settings(), role)
