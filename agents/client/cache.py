"""What a client knew, on disk: a process that starts without Kafka serves by it while it is young.

One JSON file per prefix and broker address, replaced as a whole, with a digest over its contents.
A file that is broken in any way is as good as none.
"""

from __future__ import annotations

import json
import os
from base64 import b64decode, b64encode
from contextlib import suppress
from pathlib import Path
from typing import Any

from tidegate.agents.client.tables import Tables
from tidegate.schemas.canonical import canonical_json, sha256_hex
from tidegate.schemas.codec import decode_as, encode
from tidegate.schemas.errors import TidegateError
from tidegate.schemas.events import Routing


class Cache:
    """The file of one prefix on one cluster."""

    def __init__(self, folder: Path, prefix: str, bootstrap: str) -> None:
        name = sha256_hex(f"{prefix}\n{bootstrap}")[:16]
        self.path = folder / "client" / f"tables-{name}.json"

    def save(self, tables: Tables, heard_at_ms: int) -> bool:
        """Writes everything known; False when the disk would not have it.

        Args:
            heard_at_ms: wall clock when the tables were last known to be in force.
        """
        body = {
            "heard_at_ms": heard_at_ms,
            "experiments": [
                {
                    "experiment": experiment,
                    "partition": partition,
                    "routing": "" if routing is None else b64encode(encode(routing)).decode(),
                    "rolled_back": {str(each): names for each, names in rolled_back.items()},
                }
                for experiment, partition, routing, rolled_back in tables.known()
            ],
        }
        text = canonical_json({"body": body, "digest": sha256_hex(canonical_json(body))})
        waiting = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            waiting.write_text(text, encoding="utf-8")
            waiting.replace(self.path)
        except OSError:
            with suppress(OSError):
                waiting.unlink(missing_ok=True)
            return False
        return True

    def load(self, tables: Tables) -> int | None:
        """Restores the tables; returns `heard_at_ms`, or None when there is no sound file."""
        try:
            document = json.loads(self.path.read_text(encoding="utf-8"))
            body = document["body"]
            if document["digest"] != sha256_hex(canonical_json(body)):
                return None
            heard_at_ms = int(body["heard_at_ms"])
            found = [_read(item) for item in body["experiments"]]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, TidegateError):
            return None
        for experiment, partition, routing, rolled_back in found:
            tables.restore(experiment, partition, routing, rolled_back)
        return heard_at_ms


def _read(item: dict[str, Any]) -> tuple[str, int, Routing | None, dict[int, list[str]]]:
    routing = decode_as(Routing, b64decode(item["routing"])) if item["routing"] else None
    rolled_back = {int(each): list(names) for each, names in item["rolled_back"].items()}
    return str(item["experiment"]), int(item["partition"]), routing, rolled_back
