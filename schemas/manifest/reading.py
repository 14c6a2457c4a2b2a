"""Manifest text to `Manifest`: every fault at once, each with its line and what to write instead.

Each part (a variant, a metric, a guardrail, a step) is validated by itself, and of one with faults
each field, so that a fault hides neither others nor the rules between what is sound.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from tidegate.schemas.errors import DefinitionError
from tidegate.schemas.manifest.document import Document, read_document, shown
from tidegate.schemas.manifest.faults import Path, meant, nearest
from tidegate.schemas.manifest.layer import LayerModel
from tidegate.schemas.manifest.rules import broken_rules
from tidegate.schemas.manifest.segments import Segment
from tidegate.schemas.manifest.spec import (
    ExperimentSpec,
    Guardrail,
    Metric,
    VariantSpec,
)
from tidegate.schemas.manifest.steps import Step
from tidegate.schemas.manifest.types import (
    Batch,
    Condition,
    Margin,
    Model,
    Name,
    Quantity,
    Text,
)
from tidegate.schemas.manifest.words import explain, plain_type

LATER_STEPS = (
    "contextual", "interleave",
)  # fmt: skip
"""Steps that the format knows and this version does not run."""

_MAPS: Mapping[str, type[BaseModel]] = {"variants": VariantSpec, "metrics": Metric}
_NOTATIONS = (Quantity, Margin, Condition, Segment, Batch)
_LISTS: Mapping[str, type[BaseModel]] = {"guardrails": Guardrail, "release": Step}


def _declared(field: FieldInfo) -> Any:
    """The type of a field with its bounds."""
    if not field.metadata:
        return field.annotation
    return Annotated[field.annotation, *field.metadata]


def _is_entry(kind: Any) -> bool:
    """Whether values are written as maps of fields."""
    return isinstance(kind, type) and issubclass(kind, Model) and kind not in _NOTATIONS


class Metadata(Model):
    """Whose experiment it is."""

    name: Name
    owner: Text | None = None


class ManifestModel(Model):
    """The whole document, as the exported JSON Schema describes it."""

    api_version: Annotated[Literal["tidegate.dev/v1"], Field(alias="apiVersion")]
    kind: Literal["Experiment"]
    metadata: Metadata
    spec: ExperimentSpec


@dataclass(frozen=True, slots=True)
class Manifest:
    """A sound manifest."""

    name: str
    owner: str
    spec: ExperimentSpec


def read_manifest(text: str, source: str) -> Manifest:
    """The manifest in `text`; `source` is the file's name, for messages.

    Raises:
        DefinitionError: all faults, in the order of their lines, as
            `file.yaml:9: spec.release[1].canary.weight: 60 % is above 50 %; write 50% or less`.
    """
    document = read_document(text)
    draft = _Draft(document)
    if not isinstance(document.value, Mapping):
        if not document.faults:
            document.refuse((), "it is not a map", "begin with apiVersion: tidegate.dev/v1")
    else:
        draft.read(document.value)
    faults = sorted(document.faults, key=lambda fault: document.line(fault.path))
    if faults:
        lines = (
            f"{source}:{document.line(fault.path)}: "
            f"{shown(fault.path)}: {fault.problem}; {fault.remedy}"
            for fault in faults
        )
        raise DefinitionError(
            f"{source} cannot be used: {len(faults)} fault{'s' if len(faults) > 1 else ''}",
            tuple(dict.fromkeys(lines)),
        )
    metadata = draft.found["metadata"]
    spec = ExperimentSpec.model_validate(document.value["spec"], by_alias=True, by_name=False)
    return Manifest(metadata.name, metadata.owner or "", spec)


def manifest_json_schema() -> dict[str, Any]:
    """JSON Schema of manifests of experiments and of layers, told apart by `kind`, for editors."""
    schema = TypeAdapter(
        Annotated[ManifestModel | LayerModel, Field(discriminator="kind")]
    ).json_schema(by_alias=True, mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


class _Draft:
    """What could be read of a manifest so far; faults go into the document."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self.found: dict[str, Any] = {}
        self._spec: dict[str, Any] = {}
        self._unreadable: set[Path] = set()
        self._written: dict[str, tuple[int, ...]] = {}

    def read(self, value: Mapping[str, Any]) -> None:
        """Everything in the document, then the rules between the parts of the spec."""
        self._unknown(ManifestModel, value, ())
        for name, field in ManifestModel.model_fields.items():
            word = field.alias or name
            if word not in value:
                self._blame(ManifestModel, {"type": "missing", "loc": (word,), "input": None}, ())
            elif name != "spec":
                self._part(self.found, name, field.annotation, value[word], (word,))
        spec = value.get("spec")
        if isinstance(spec, Mapping):
            self._read_spec(spec)
        elif "spec" in value and spec is not None:
            self._document.refuse(("spec",), "it is not a map", "write unit, control, variants")

    def _read_spec(self, spec: Mapping[str, Any]) -> None:
        self._unknown(ExperimentSpec, spec, ("spec",))
        for name, field in ExperimentSpec.model_fields.items():
            word = field.alias or name
            path: Path = ("spec", word)
            if word not in spec:
                self._missing(name, word, field.is_required())
            elif word in _MAPS and isinstance(spec[word], Mapping):
                self._parts(word, _MAPS[word], spec[word].items(), path)
            elif word in _LISTS and isinstance(spec[word], list):
                self._parts(word, _LISTS[word], enumerate(spec[word]), path)
            elif not self._part(self._spec, name, _declared(field), spec[word], path):
                self._leave_out(name, word)
        draft = ExperimentSpec.model_construct(**self._spec)
        for fault in broken_rules(draft, frozenset(self._unreadable)):
            self._document.refuse(self._as_written(fault.path), fault.problem, fault.remedy)

    def _as_written(self, path: Path) -> Path:
        """Rules number the sound entries of a list; people number all of them."""
        if len(path) > 2 and path[1] in self._written:
            written = self._written[str(path[1])]
            return (*path[:2], written[int(path[2])], *path[3:])
        return path

    def _missing(self, name: str, word: str, required: bool) -> None:
        if required:
            error = {"type": "missing", "loc": (word,), "input": None}
            self._blame(ExperimentSpec, error, ("spec",))
            self._leave_out(name, word)

    def _leave_out(self, name: str, word: str) -> None:
        """A part that could not be read: rules see an empty one and are told."""
        self._unreadable.add((word,))
        empty = {"control": "", "variants": {}, "metrics": {}, "guardrails": (), "release": ()}
        if name in empty:
            self._spec[name] = empty[name]

    def _parts(self, word: str, kind: Any, items: Any, path: Path) -> None:
        """Entries of a map or list; what cannot be read keeps its place for the rules."""
        found: dict[Any, Any] = {}
        for key, value in items:
            inner = (*path, key)
            sound = self._name(key, inner) if word in _MAPS else True
            if word == "release":
                sound = self._known_step(value, inner)
            if not sound or not isinstance(value, Mapping):
                self._unreadable.add((word, key))
                if sound or word in _MAPS:
                    self._part({}, key, kind, value, inner)
            elif not self._part(found, key, kind, value, inner):
                # Rules number the entries they see.
                below = (word, key if word in _MAPS else len(found))
                found[key] = self._fields(kind, value, inner, below)
        if word in _MAPS:
            self._spec[word] = found
        else:
            self._spec[word] = tuple(found.values())
            self._written[word] = tuple(found)

    def _fields(self, kind: Any, value: Mapping[str, Any], path: Path, below: Path) -> Any:
        """An entry of which some fields were refused: the others, and None for these."""
        found: dict[str, Any] = {}
        known = {field.alias or name: (name, field) for name, field in kind.model_fields.items()}
        # A misspelt field is not blamed again for being absent.
        misspelt = {nearest(word, known) for word in value if word not in known}
        for word, (name, field) in known.items():
            inner = (*path, word)
            part = plain_type(field.annotation)
            if word not in value and not field.is_required() and word not in misspelt:
                continue
            if word in value and not self._refused(inner):
                reader = TypeAdapter(_declared(field))
                found[name] = reader.validate_python(value[word], by_alias=True, by_name=False)
            elif isinstance(value.get(word), Mapping) and _is_entry(part):
                found[name] = self._fields(part, value[word], inner, (*below, word))
            else:
                found[name] = None
                self._unreadable.add((*below, word))
        return kind.model_construct(**found)

    def _name(self, key: str, path: Path) -> bool:
        return self._part({}, key, Name, key, path)

    def _known_step(self, value: Any, path: Path) -> bool:
        """Names of steps are checked first: a later version's settings are not blamed."""
        if isinstance(value, str):
            value = {value: None}
            self._document.refuse(path, "a step has settings", f"write {next(iter(value))}: {{}}")
            return False
        if not isinstance(value, Mapping):
            return True
        sound = True
        known = list(Step.model_fields)
        for word in value:
            if word in LATER_STEPS:
                self._document.refuse(
                    (*path, word),
                    f"{word} is not in this version",
                    f"write one of {', '.join(sorted(known))}",
                )
            elif word not in known:
                self._document.refuse((*path, word), f"{word} is not a step", meant(word, known))
            else:
                continue
            sound = False
        if len(value) != 1:
            self._document.refuse(
                path,
                f"a step has one strategy, and here are {len(value)}",
                "write one step per list item",
            )
            sound = False
        return sound

    def _part(self, into: dict[Any, Any], name: Any, kind: Any, value: Any, path: Path) -> bool:
        if value is None and self._refused(path):
            return False
        try:
            into[name] = TypeAdapter(kind).validate_python(value, by_alias=True, by_name=False)
        except ValidationError as error:
            for item in error.errors(include_url=False):
                self._blame(kind, item, path)
            return False
        return not self._refused(path)

    def _refused(self, path: Path) -> bool:
        """Whether a fault within `path` was found when the text was read."""
        return any(fault.path[: len(path)] == path for fault in self._document.faults)

    def _blame(self, kind: Any, error: Mapping[str, Any], path: Path) -> None:
        location = tuple(part for part in error["loc"] if part != "[key]")
        full = (*path, *location)
        if error.get("input") is None and error["type"] != "missing" and self._refused(full):
            return
        problem, remedy = explain(error, kind, self._document.texts.get(full))
        at = full[:-1] if error["type"] == "missing" else full
        self._document.refuse(at, problem, remedy)

    def _unknown(self, kind: type[BaseModel], value: Mapping[str, Any], path: Path) -> None:
        known = [field.alias or name for name, field in kind.model_fields.items()]
        for word in value:
            if word not in known:
                self._document.refuse(
                    (*path, word), f"{word} is not known here", meant(word, known)
                )
                # A misspelt part is not blamed again by whatever refers to it.
                self._unreadable.add((nearest(word, known) or word,))
