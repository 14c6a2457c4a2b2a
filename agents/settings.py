"""Settings: one frozen object, read once from defaults, `tidegate.yaml`, environment, command line.

Later sources win. `Settings.origins` says where each value came from, for `tidegate doctor`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from tidegate.agents.alert_settings import AlertSettings, read_alerts
from tidegate.schemas.errors import DefinitionError
from tidegate.schemas.topics import TOPICS, Topic, partition_count

DEFAULT_FILE = Path("tidegate.yaml")
DEFAULT_BOOTSTRAP = "127.0.0.1:9092"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a process of Tidegate may be told.

    `kafka` and `schema_registry` are handed to the clients verbatim (dotted keys). With
    `input_prefix`, predictions, shadow predictions and outcomes are those of that prefix:
    recorded input is joined again into fresh topics. The fields
    below the line are part of the engine: two workers that differ in them are two engines.
    """

    kafka: Mapping[str, str] = field(
        default_factory=lambda: {"bootstrap.servers": DEFAULT_BOOTSTRAP}
    )
    schema_registry: Mapping[str, str] = field(default_factory=dict)
    prefix: str = "tidegate."
    input_prefix: str = ""
    partitions: int = 4
    decision_partitions: int = 4
    replication: int = 1
    tick_ms: int = 100
    state_dir: Path = field(default_factory=lambda: Path.home() / ".cache" / "tidegate")
    web_host: str = "127.0.0.1"
    web_port: int = 0
    fetcher: str = "librdkafka"
    checkpoint_records: int = 300_000
    checkpoint_seconds: float = 30.0
    buffered_records: int = 4_000
    session_timeout_seconds: float = 10.0
    instance_id: str = ""
    alerts: AlertSettings = field(default_factory=AlertSettings)
    # -- part of the engine
    emit_interval_ms: int = 100
    facts_per_batch: int = 5_000
    early_tolerance_ms: int = 120_000
    grace_ms: int = 30_000
    closed_memory_ms: int = 600_000
    future_tolerance_ms: int = 300_000
    open_max: int = 2_000_000
    closed_max: int = 2_000_000
    waiting_max: int = 500_000
    origins: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def bootstrap(self) -> str:
        """Where brokers are looked for."""
        return self.kafka.get("bootstrap.servers", DEFAULT_BOOTSTRAP)

    def topic(self, name: str) -> str:
        """Full name of the topic `name` of the topics table."""
        topic = TOPICS[name]
        if self.input_prefix and topic.merge == "joiner":
            return self.input_prefix + topic.name
        return self.prefix + topic.name

    def partition_count(self, topic: Topic) -> int:
        """How many partitions `topic` must have."""
        return partition_count(topic, self.partitions, self.decision_partitions)

    def with_bootstrap(self, bootstrap: str, origin: str = "the caller") -> Settings:
        """The same settings on another broker; `origin` is who named it."""
        return replace(
            self,
            kafka={**self.kafka, "bootstrap.servers": bootstrap},
            origins={**self.origins, "kafka": origin},
        )


_TEXT_MAPS = ("kafka", "schema_registry")
_FIELDS = {item.name: item for item in fields(Settings) if item.name != "origins"}


def load_settings(
    path: Path | None = None,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """Settings from file, `TIDEGATE_*` variables and `overrides`, the later winning.

    Raises:
        DefinitionError: unknown or unreadable settings, all at once, with their place.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    faults: list[str] = []
    chosen = path or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)
    if chosen is not None:
        _merge(_read_file(chosen), str(chosen), values, origins, faults)
    given = os.environ if environment is None else environment
    _merge(_from_environment(given), "environment", values, origins, faults)
    _merge(dict(overrides or {}), "command line", values, origins, faults)
    if faults:
        raise DefinitionError("the settings cannot be used", tuple(faults))
    return Settings(**values, origins=origins)


def _read_file(path: Path) -> dict[str, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        document = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise DefinitionError(f"{path} cannot be read", (str(why),)) from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise DefinitionError(f"{path} must be a map of settings")
    return document


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in _FIELDS:
        value = environment.get(f"TIDEGATE_{name.upper()}")
        if value is not None:
            found[name] = value
    bootstrap = environment.get("TIDEGATE_BOOTSTRAP")
    if bootstrap:
        found["kafka"] = {"bootstrap.servers": bootstrap}
    registry = environment.get("TIDEGATE_SCHEMA_REGISTRY_URL")
    if registry:
        found["schema_registry"] = {"url": registry}
    return found


def _merge(
    found: dict[str, Any],
    origin: str,
    values: dict[str, Any],
    origins: dict[str, str],
    faults: list[str],
) -> None:
    for name, raw in found.items():
        if name not in _FIELDS:
            near = get_close_matches(str(name), _FIELDS, n=1)
            known = ", ".join(sorted(_FIELDS))
            remedy = f"did you mean {near[0]}?" if near else f"known are {known}"
            faults.append(f"{origin}: unknown setting {name!r}; {remedy}")
            continue
        try:
            value = _convert(name, raw)
        except (TypeError, ValueError) as error:
            faults.append(f"{origin}: {name}: {error}")
            continue
        if name in _TEXT_MAPS:
            value = {**values.get(name, {}), **value}
        values[name] = value
        origins[name] = origin


def _convert(name: str, raw: Any) -> Any:
    if name in _TEXT_MAPS:
        if not isinstance(raw, Mapping):
            raise ValueError(
                "must be a map of client settings, such as bootstrap.servers: HOST:PORT"
            )
        return {str(key): str(value) for key, value in raw.items()}
    if name == "alerts":
        return read_alerts(raw)
    kind = str(_FIELDS[name].type)
    if kind in ("int", "float"):
        try:
            number = int(raw) if kind == "int" else float(raw)
        except (TypeError, ValueError):
            raise ValueError(f"must be a number, is {raw!r}") from None
        if number < 0:
            raise ValueError(f"must not be negative, is {number}")
        if name.endswith("_max") and not number:
            raise ValueError("must be at least 1")
        return number
    if kind == "Path":
        return Path(str(raw)).expanduser()
    return str(raw)
