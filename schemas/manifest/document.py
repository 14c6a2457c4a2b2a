"""YAML to plain values, strictly, with the line of everything.

Values are read from the composed nodes, not by a constructor, so that every trap of YAML is a
fault with a place: keys given twice (a plain loader takes the last), `yes` and `on`, octal and
sexagesimal numbers, `.nan`, anchors, merges and tags.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from tidegate.schemas.manifest.faults import Fault, Path, place

TEXT_BYTES_MAX = 1_048_576
DEPTH_MAX = 20

_CORE = "tag:yaml.org,2002:"
_PLAIN_TAGS = {f"{_CORE}{name}" for name in ("str", "int", "float", "bool", "null", "timestamp")}
_INTEGER = re.compile(r"^[-+]?(0|[1-9]\d*)$")
_FLOAT = re.compile(r"^[-+]?((0|[1-9]\d*)\.\d*|\.\d+|(0|[1-9]\d*)(?=[eE]))([eE][-+]?\d+)?$")
_DATE = re.compile(r"^\d{4}-\d\d?-\d\d?([Tt ].*)?$")
_LOOKS_BOOLEAN = frozenset({"yes", "no", "on", "off", "y", "n"})


@dataclass(slots=True)
class Document:
    """A manifest as plain values. `lines` and `texts` are by path; lines count from 1."""

    value: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    texts: dict[Path, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def line(self, path: Path) -> int:
        """Line of what `path` leads to, or of the nearest thing around it that is written."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def refuse(self, path: Path, problem: str, remedy: str) -> None:
        """Add a fault."""
        self.faults.append(Fault(path, problem, remedy))


def read_document(text: str) -> Document:
    """The document in `text`; whatever is wrong with it is in its faults."""
    document = Document()
    if len(text.encode()) > TEXT_BYTES_MAX:
        document.refuse((), "it is larger than 1 MiB", "write a manifest, not data")
        return document
    reader = YAML(typ="rt")
    try:
        nodes = list(reader.compose_all(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        document.lines[()] = 1 if mark is None else mark.line + 1
        document.refuse((), f"it is not YAML ({error.problem})", "correct the line")
        return document
    except (YAMLError, ValueError, RecursionError) as error:
        document.refuse((), f"it is not YAML ({error})", "correct it")
        return document
    if len(nodes) != 1 or nodes[0] is None:
        problem = "it is empty" if not nodes or nodes[0] is None else "it holds several documents"
        document.refuse((), problem, "write one manifest per file")
        return document
    document.value = _Reading(document).value(nodes[0], ())
    return document


class _Reading:
    """One pass over the nodes of a document."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._seen: set[int] = set()

    def value(self, node: Node, path: Path) -> Any:
        self._document.lines.setdefault(path, node.start_mark.line + 1)
        if id(node) in self._seen or node.anchor:
            self._document.refuse(path, "anchors and aliases are not read", "write it out")
            return None
        self._seen.add(id(node))
        if len(path) > DEPTH_MAX:
            self._document.refuse(path, "it is nested too deeply", "write a manifest, not data")
            return None
        if isinstance(node, MappingNode) and _is(node, "map"):
            return self._mapping(node, path)
        if isinstance(node, SequenceNode) and _is(node, "seq"):
            return [self.value(item, (*path, number)) for number, item in enumerate(node.value)]
        if isinstance(node, ScalarNode) and str(node.tag) in _PLAIN_TAGS:
            return self._scalar(node, path)
        self._document.refuse(path, f"the tag {node.tag} is not read", "remove the tag")
        return None

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, ScalarNode) or key_node.value == "<<":
                self._document.lines[(*path, "?")] = line
                self._document.refuse(
                    (*path, "?"), "a key is not plain text", "write every key out"
                )
                continue
            key: str = key_node.value
            inner = (*path, key)
            if key in found:
                first = self._document.lines[inner]
                again = (*path, f"{key} ")
                self._document.lines[again] = line
                self._document.faults.append(
                    Fault(again, f"{key} is given twice, first in line {first}", "remove one")
                )
                continue
            self._document.lines[inner] = line
            found[key] = self.value(value_node, inner)
        return found

    def _scalar(self, node: ScalarNode, path: Path) -> Any:
        text: str = node.value
        self._document.texts[path] = text
        # A quoted scalar resolves to the tag of text, whatever it looks like.
        if node.style is not None or (str(node.tag) == f"{_CORE}str" and not _trap(text)):
            return text
        if text in ("", "~", "null", "Null", "NULL"):
            self._document.refuse(path, "there is no value", "write a value or remove the key")
            return None
        found = _constant(text)
        if found is None:
            remedy = (
                "write true or false"
                if text.lower() in _LOOKS_BOOLEAN
                else ("write a plain decimal number")
            )
            self._document.refuse(
                path,
                f"{text} is read differently by different parsers",
                f'{remedy}, or in quotes: "{text}"',
            )
        return found


def _constant(text: str) -> bool | int | float | str | None:
    """A truth value, a decimal number or a date, where every parser agrees; else None."""
    if text in ("true", "True", "TRUE", "false", "False", "FALSE"):
        return text.lower() == "true"
    if _INTEGER.match(text) and len(text) <= 18:
        return int(text)
    if _FLOAT.match(text) and abs(float(text)) < 1e300:
        return float(text)
    return text if _DATE.match(text) else None


def _trap(text: str) -> bool:
    """Text to YAML 1.2 that is a truth value or a number to YAML 1.1."""
    return (
        text.lower() in _LOOKS_BOOLEAN
        or re.match(r"^[-+]?\d[\d_]*(:[0-5]?\d)+(\.\d*)?$", text) is not None
        or re.match(r"^[-+]?\d[\d]*_[\d_]*$", text) is not None
        or re.match(r"^[-+]?0\d+$", text) is not None
    )


def _is(node: Node, kind: str) -> bool:
    return str(node.tag) == f"{_CORE}{kind}"


def shown(path: Path) -> str:
    """A fault's place, without the mark that keeps a repeated key apart from the first."""
    return place(tuple(part.strip() if isinstance(part, str) else part for part in path))
