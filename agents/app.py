"""The Faust app of a role: the only place where one is made, and the only agent there is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import faust
from mode.supervisors import CrashingSupervisor

from tidegate.agents.failstop import FailStop, fail_stop
from tidegate.agents.settings import Settings
from tidegate.agents.transport import Batching, Flow
from tidegate.agents.transport.clients import broker_urls, faust_credentials
from tidegate.schemas.errors import DefinitionError

SCHEMES = {"librdkafka": "tidegate", "aiokafka": "tidegate-aiokafka"}
"""Values of the setting `fetcher` and the transports they name."""

# More than two batches before an agent only cost memory and processor cache.
_QUEUED_BATCHES = 2
_FETCH_BYTES = 262_144
_FETCH_RECORDS = 2_000
_COMMIT_SECONDS = 1.0


class WorkerApp(faust.App):
    """A Faust app that knows what its transport batches."""

    def __init__(self, *arguments: Any, batching: Batching, **options: Any) -> None:
        self.batching = batching
        super().__init__(*arguments, **options)

    def _create_directories(self) -> None:
        """None: they are for tables, and there are none."""


class RawSchema(faust.Schema):
    """Messages as they are: the transport has made the value already."""

    def loads_key(self, app: Any, message: Any, **_options: Any) -> Any:
        """The key, untouched."""
        return message.key

    def loads_value(self, app: Any, message: Any, **_options: Any) -> Any:
        """The value, untouched."""
        return message.value


def build_app(
    settings: Settings,
    role: str,
    topics: Sequence[str],
    flow: Flow,
    fail: FailStop = fail_stop,
) -> WorkerApp:
    """The app of `role`: it feeds every fetch of `topics` (full names, in rank order) to `flow`.

    Anything `flow` raises ends the process through `fail` before the fetch is acknowledged.

    Raises:
        DefinitionError: `fetcher` or the Kafka settings cannot be used.
    """
    scheme = SCHEMES.get(settings.fetcher)
    if scheme is None:
        raise DefinitionError(
            f"fetcher {settings.fetcher!r} is not one of {', '.join(sorted(SCHEMES))}"
        )
    app = WorkerApp(
        f"{settings.prefix}{role}",
        batching=Batching(tuple(topics), flow, settings.kafka, fail),
        broker=broker_urls(settings.kafka, scheme),
        broker_credentials=faust_credentials(settings.kafka),
        **_options(settings, role),
    )
    source = app.topic(
        *topics,
        key_serializer="raw",
        value_serializer="raw",
        schema=RawSchema(key_serializer="raw", value_serializer="raw"),
    )
    app.agent(
        source,
        name=role,
        # Two would acknowledge a batch above an unfinished one.
        concurrency=1,
        supervisor_strategy=CrashingSupervisor,
    )(feeder(flow, fail))
    return app


def _options(settings: Settings, role: str) -> dict[str, Any]:
    return {
        "broker_client_id": f"{settings.prefix}{role}",
        "broker_commit_interval": _COMMIT_SECONDS,
        "broker_heartbeat_interval": settings.session_timeout_seconds / 5,
        "broker_max_poll_records": _FETCH_RECORDS,
        "broker_session_timeout": settings.session_timeout_seconds,
        "consumer_auto_offset_reset": "none",
        # A static member: otherwise a killed worker costs the whole session time-out.
        "consumer_group_instance_id": settings.instance_id or None,
        "consumer_max_fetch_size": _FETCH_BYTES,
        "processing_guarantee": "at_least_once",
        "store": "memory://",
        # Not `app.topic(maxsize=)`: Faust 0.15.3 takes it and drops it.
        "stream_buffer_maxsize": _QUEUED_BATCHES,
        # The batch in hand must be done before its partition goes to somebody else.
        "stream_wait_empty": True,
        # Above 0, so that Faust's own assignor is used: it keeps partition indexes together.
        "table_standby_replicas": 1,
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        "web_enabled": False,
        "worker_redirect_stdouts": False,
    }


def feeder(flow: Flow, fail: FailStop) -> Any:
    """The agent: hands each fetch to the flow, then acknowledges it."""

    async def feed(stream: Any) -> None:
        events: AsyncIterator[Any] = stream.noack().events()
        async for event in events:
            message = event.message
            # Between receiving and acknowledging nothing waits, so no rebalance splits a batch.
            try:
                flow.feed(message.topic, message.partition, event.value)
            except Exception as error:
                fail(f"a batch of {message.topic}/{message.partition} cannot be folded", error)
            await stream.ack(event)

    return feed
