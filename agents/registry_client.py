"""The registry's own client, and what Tidegate asks of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from tidegate.agents.settings import Settings
from tidegate.schemas.catalogue import latest
from tidegate.schemas.errors import DefinitionError, TidegateError, Unreachable
from tidegate.schemas.topics import TOPICS

_log = logging.getLogger(__name__)

FRAMED: Final = ("predictions", "shadow-predictions", "outcomes")
"""Topics whose events are framed for the registry; what folds write never depends on one."""

_NOT_FOUND: Final = 404
_BOUNDS: Final[Mapping[str, Any]] = {"timeout": 5, "max.retries": 1}


class Unregistered(TidegateError):
    """The registry answers, and does not know the schema or the id."""


def new_registry_client(settings: Settings) -> Any:
    """The client of the registry in the settings, which are handed to it verbatim.

    Raises:
        DefinitionError: it is not installed, or refuses its settings.
    """
    try:
        from confluent_kafka.schema_registry import SchemaRegistryClient
    except ImportError as error:
        raise DefinitionError(
            f'the registry\'s client is not installed ({error}): pip install "tidegate[registry]"'
        ) from error
    try:
        return SchemaRegistryClient.new_client({**_BOUNDS, **settings.schema_registry})
    except (ValueError, TypeError) as error:
        raise DefinitionError(f"schema_registry cannot be used: {error}") from error


def schema_text(registry: Any, schema_id: int) -> str:
    """The schema of an id as its writer registered it.

    Raises:
        Unregistered: the registry does not know the id.
        Unreachable: the registry does not answer.
    """
    try:
        found = registry.get_schema(schema_id)
    except Exception as error:
        raise _told(error, "the registry does not know it") from error
    if found.schema_type != "AVRO" or found.references:
        return ""  # nothing that is released: refused
    return str(found.schema_str)


def registered_ids(settings: Settings, registry: Any) -> dict[str, int]:
    """Topic of `FRAMED` -> id of its newest schema under its subject; nothing is registered.

    Raises:
        Unregistered: the registry does not know one of the schemas.
        Unreachable: the registry does not answer.
    """
    return {name: registered_id(settings, registry, name) for name in FRAMED}


def framing(settings: Settings) -> dict[str, int]:
    """Schema ids a client frames its events with, by topic; none without a registry.

    Every reader takes single-object frames too, so a registry that is away keeps nobody from
    serving: events go out in those.

    Raises:
        DefinitionError: the registry does not know the schemas, or cannot be asked.
    """
    if not settings.schema_registry:
        return {}
    try:
        return registered_ids(settings, new_registry_client(settings))
    except Unregistered as error:
        raise DefinitionError(str(error)) from error
    except Unreachable as error:
        _log.warning("%s; events are framed as single objects until the next start", error)
        return {}


def register(settings: Settings, registry: Any) -> dict[str, int]:
    """Register the newest schema of each topic of `FRAMED`; topic -> id.

    Raises:
        Unregistered: the registry refuses a schema, for example as not compatible.
        Unreachable: the registry does not answer.
    """
    found = {}
    for name in FRAMED:
        try:
            found[name] = int(registry.register_schema(subject(settings, name), _schema(name)))
        except Exception as error:
            raise _told(error, f"the registry refuses {subject(settings, name)}") from error
    return found


def subject(settings: Settings, name: str) -> str:
    """The subject of a topic (strategy TOPIC)."""
    return f"{settings.topic(name)}-value"


def registered_id(settings: Settings, registry: Any, name: str) -> int:
    """The id of one topic's schema; raises what `registered_ids` raises."""
    try:
        return int(registry.lookup_schema(subject(settings, name), _schema(name)).schema_id)
    except Exception as error:
        remedy = "register it: `tidegate schemas register`"
        raise _told(error, f"{subject(settings, name)} is not registered; {remedy}") from error


def _schema(name: str) -> Any:
    from confluent_kafka.schema_registry import Schema

    return Schema(latest(str(TOPICS[name].schema)).text, "AVRO")


def _told(error: Exception, unknown: str) -> TidegateError:
    """What an error of the client means; its HTTP library's errors have no common root."""
    from confluent_kafka.schema_registry import SchemaRegistryError

    if isinstance(error, SchemaRegistryError) and 400 <= error.http_status_code < 500:
        if error.http_status_code == _NOT_FOUND:
            return Unregistered(unknown)
        return Unregistered(f"{unknown}: {error}")
    return Unreachable(f"the registry does not answer: {error}")
