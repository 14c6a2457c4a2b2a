"""`tidegate schemas`: what a Schema Registry must know before clients frame events for it."""

from __future__ import annotations

from typing import Any

from tidegate.agents.bindings import Binding, Recorded
from tidegate.agents.commands.options import EXIT_DONE, EXIT_NO, Output
from tidegate.agents.commands.printing import print_facts, table_lines
from tidegate.agents.registry_client import (
    FRAMED,
    Unregistered,
    new_registry_client,
    register,
    registered_id,
    subject,
)
from tidegate.agents.settings import Settings
from tidegate.schemas.errors import DefinitionError

_COLUMNS = {"subject": "SUBJECT", "id": "ID", "said": ""}


def run_register(settings: Settings, output: Output) -> int:
    """Register the newest schema of each topic that clients write; once more changes nothing.

    Raises:
        DefinitionError: no registry is set, or it refuses a schema.
        Unreachable: the registry does not answer.
    """
    client = _client(settings)
    try:
        ids = register(settings, client)
    except Unregistered as error:
        raise DefinitionError(str(error)) from error
    rows = [_row(settings, name, ids[name], "registered") for name in FRAMED]
    print_facts(rows, output, lambda rows: table_lines(rows, _COLUMNS))
    return EXIT_DONE


def run_check(settings: Settings, output: Output) -> int:
    """Whether clients could start; 1 when a schema is not registered.

    Raises:
        DefinitionError: no registry is set.
        Unreachable: the registry does not answer.
    """
    client = _client(settings)
    rows = []
    for name in FRAMED:
        try:
            rows.append(_row(settings, name, registered_id(settings, client, name), "registered"))
        except Unregistered as error:
            rows.append(_row(settings, name, None, str(error)))
    print_facts(rows, output, lambda rows: table_lines(rows, _COLUMNS))
    return EXIT_DONE if all(row["id"] is not None for row in rows) else EXIT_NO


def run_refuse(settings: Settings, schema_id: int, output: Output) -> int:
    """Record that nobody will ever say what an id means: its events become dead letters.

    Raises:
        DefinitionError: the id means something, or is no id.
        Unreachable: no broker answers.
    """
    if not 0 <= schema_id < 2**31:
        raise DefinitionError(f"{schema_id} is no schema id: they are 0 to 2147483647")
    recorded = Recorded(settings)
    known = recorded.refresh().get(schema_id)
    if known is not None and known.fingerprint:
        raise DefinitionError(
            f"schema id {schema_id} is bound to {known.name}, and events were read with it"
        )
    if known is None:
        recorded.write(Binding(schema_id, "", b"", ""))
    facts = {"id": schema_id, "refused": True}
    said = f"Events with schema id {schema_id} are dead letters now; partitions that waited go on."
    print_facts(facts, output, lambda facts: [said])
    return EXIT_DONE


def _client(settings: Settings) -> Any:
    if not settings.schema_registry:
        raise DefinitionError(
            "No registry is set: set schema_registry: url in tidegate.yaml or "
            "TIDEGATE_SCHEMA_REGISTRY_URL"
        )
    return new_registry_client(settings)


def _row(settings: Settings, name: str, schema_id: int | None, said: str) -> dict[str, Any]:
    return {"subject": subject(settings, name), "id": schema_id, "said": said}
