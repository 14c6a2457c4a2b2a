"""The manifest of a layer: every fault at once, each with its line and what to write instead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from tidegate.schemas.errors import DefinitionError
from tidegate.schemas.manifest.document import read_document, shown
from tidegate.schemas.manifest.layer import LayerModel
from tidegate.schemas.manifest.words import explain


@dataclass(frozen=True, slots=True)
class Layer:
    """A sound manifest of a layer."""

    name: str
    owner: str
    salt: str


def is_layer(text: str) -> bool:
    """Whether a manifest says that it is one of a layer."""
    value = read_document(text).value
    return isinstance(value, Mapping) and value.get("kind") == "Layer"


def read_layer(text: str, source: str) -> Layer:
    """The layer in `text`; `source` is the file's name, for messages.

    Raises:
        DefinitionError: all faults, in the order of their lines.
    """
    document = read_document(text)
    if not document.faults:
        try:
            found = LayerModel.model_validate(document.value, by_alias=True, by_name=False)
        except ValidationError as error:
            for item in error.errors(include_url=False):
                path = tuple(item["loc"])
                problem, remedy = explain(item, LayerModel, document.texts.get(path))
                at = path[:-1] if item["type"] == "missing" else path
                document.refuse(at, problem, remedy)
    faults = sorted(document.faults, key=lambda fault: document.line(fault.path))
    if faults:
        raise DefinitionError(
            f"{source} cannot be used: {len(faults)} fault{'s' if len(faults) > 1 else ''}",
            tuple(
                f"{source}:{document.line(each.path)}: {shown(each.path)}: {each.problem};"
                f" {each.remedy}"
                for each in faults
            ),
        )
    name = found.metadata.name
    return Layer(name, found.metadata.owner or "", found.spec.salt or name)
