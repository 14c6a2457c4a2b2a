"""A worker process whose fold fails: `python -m tests.agents.transport.worker_program`.

Arguments: settings as JSON (bootstrap, prefix, fetcher, state_dir), topic, how many records to
take before failing.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from tests.agents.transport.recording import RecordingFlow
from tidegate.agents.app import build_app
from tidegate.agents.settings import Settings
from tidegate.agents.transport import TopicPartition
from tidegate.streams.merge import Fetched


async def main(given: dict[str, str], topic: str, healthy_records: int) -> None:
    """Work until the fold fails; then the process is gone."""
    settings = Settings(
        kafka={"bootstrap.servers": given["bootstrap"]},
        prefix=given["prefix"],
        fetcher=given["fetcher"],
        state_dir=Path(given["state_dir"]),
    )
    flow = RecordingFlow()

    def fail_later(place: TopicPartition, fetched: Fetched) -> None:
        if flow.count() >= healthy_records:
            raise ValueError(f"unforeseen in {place} at {fetched.first_offset}")

    flow.on_feed = fail_later
    await build_app(settings, "joiner", [topic], flow).start()
    await asyncio.sleep(60)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
