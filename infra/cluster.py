"""Looking at a cluster's topics, and changing them as planned.

The embedded broker keeps no topic settings and creates no topics by request: there only presence
and partition counts are looked at, and `create` makes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from tidegate.infra.topics import Change, FoundTopic, WantedTopic
from tidegate.schemas.errors import DefinitionError, Unreachable

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient, ClusterMetadata

_SECONDS_MAX = 30.0
# How librdkafka's mock cluster calls itself.
_MOCK_CLUSTER = "mockCluster"


def find_topics(
    admin: AdminClient, wanted: Iterable[WantedTopic], seconds: float = _SECONDS_MAX
) -> dict[str, FoundTopic]:
    """Those of the wanted topics that exist, by full name.

    Raises:
        Unreachable: no broker answers.
    """
    from confluent_kafka import KafkaException

    try:
        metadata = admin.list_topics(timeout=seconds)
        present = {
            each.name: len(metadata.topics[each.name].partitions)
            for each in wanted
            if each.name in metadata.topics
        }
        told = {} if is_embedded(metadata) else _described(admin, list(present))
    except KafkaException as error:
        raise Unreachable(f"the topics cannot be listed: {error.args[0].str()}") from error
    return {name: FoundTopic(count, told.get(name)) for name, count in present.items()}


def apply_changes(
    admin: AdminClient,
    changes: Sequence[Change],
    create: Callable[[Mapping[str, int]], None] | None = None,
) -> None:
    """Carry out a plan.

    Args:
        create: creates topics by number of partitions on brokers that AdminClient cannot ask.

    Raises:
        DefinitionError: the cluster refuses, with its words for each topic.
    """
    fresh = [change.wanted for change in changes if change.create]
    changed = [change for change in changes if not change.create]
    if create is not None:
        create({each.name: each.partitions for each in fresh})
        return
    faults = [*_create(admin, fresh), *_change(admin, changed)]
    if faults:
        raise DefinitionError("the topics could not be applied", tuple(faults))


def is_embedded(metadata: ClusterMetadata) -> bool:
    """Whether a cluster is librdkafka's mock, which knows neither settings nor static members."""
    return (metadata.cluster_id or "").startswith(_MOCK_CLUSTER)


def _described(admin: AdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    from confluent_kafka.admin import ConfigResource

    resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in names]
    if not resources:
        return {}
    futures = admin.describe_configs(resources, request_timeout=_SECONDS_MAX)
    return {
        resource.name: {name: entry.value for name, entry in future.result().items()}
        for resource, future in futures.items()
    }


def _create(admin: AdminClient, fresh: Sequence[WantedTopic]) -> list[str]:
    from confluent_kafka import KafkaError
    from confluent_kafka.admin import NewTopic

    if not fresh:
        return []
    futures = admin.create_topics(
        [
            NewTopic(
                each.name,
                num_partitions=each.partitions,
                replication_factor=each.replication,
                config=dict(each.settings),
            )
            for each in fresh
        ],
        operation_timeout=_SECONDS_MAX,
        request_timeout=_SECONDS_MAX,
    )
    # Somebody else may have applied the same plan a moment before.
    return _failures(futures, KafkaError.TOPIC_ALREADY_EXISTS)


def _change(admin: AdminClient, changed: Sequence[Change]) -> list[str]:
    from confluent_kafka.admin import (
        AlterConfigOpType,
        ConfigEntry,
        ConfigResource,
    )

    if not changed:
        return []
    resources = [
        ConfigResource(
            ConfigResource.Type.TOPIC,
            change.wanted.name,
            incremental_configs=[
                ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
                for name, value in change.settings.items()
            ],
        )
        for change in changed
    ]
    futures = admin.incremental_alter_configs(resources, request_timeout=_SECONDS_MAX)
    return _failures({resource.name: future for resource, future in futures.items()})


def _failures(futures: Mapping[str, object], harmless: int | None = None) -> list[str]:
    from confluent_kafka import KafkaException

    failures = []
    for name, future in futures.items():
        try:
            future.result()  # type: ignore[attr-defined]  # confluent-kafka's futures are untyped
        except KafkaException as error:
            if error.args[0].code() != harmless:
                failures.append(f"{name}: {error.args[0].str()}")
    return failures
