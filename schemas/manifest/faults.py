"""A fault of a manifest: where it is, what is wrong, what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

Path = tuple[str | int, ...]
Unreadable = frozenset[Path]
"""Paths, below `spec`, of what was given or needed and could not be read."""


@dataclass(frozen=True, slots=True)
class Fault:
    """`path` leads from the top of the document (`("spec", "release", 1, "canary")`).

    `remedy` completes "…; write", or is a sentence of its own beginning with a verb.
    """

    path: Path
    problem: str
    remedy: str

    def text(self) -> str:
        """Place, problem and remedy on one line.

        >>> Fault(("spec", "release", 1), "it has two keys", "write one step per item").text()
        'spec.release[1]: it has two keys; write one step per item'
        """
        return f"{place(self.path)}: {self.problem}; {self.remedy}"


def unread_fields(unreadable: Unreadable, *entry: str | int) -> frozenset[str]:
    """The fields of an entry that could not be read; rules see None in their place.

    >>> unread_fields(frozenset({("guardrails", 0, "max")}), "guardrails", 0)
    frozenset({'max'})
    """
    depth = len(entry)
    return frozenset(
        str(path[depth]) for path in unreadable if len(path) > depth and path[:depth] == entry
    )


def place(path: Path) -> str:
    """A path as people write it."""
    shown = ""
    for part in path:
        shown += f"[{part}]" if isinstance(part, int) else f".{part}" if shown else part
    return shown or "the document"


def meant(given: str, known: Iterable[str]) -> str:
    """What to write instead of an unknown name: the nearest known one, or all of them.

    >>> meant("canery", ["canary", "shadow"]), meant("x", ["canary", "shadow"]), meant("x", [])
    ('did you mean canary?', 'write one of canary, shadow', 'declare it first')
    """
    names = sorted(known)
    if not names:
        return "declare it first"
    near = nearest(given, names)
    return f"write one of {', '.join(names)}" if near is None else f"did you mean {near}?"


def nearest(given: str, known: Iterable[str]) -> str | None:
    """The known name that `given` was probably meant to be."""
    return next(iter(difflib.get_close_matches(given, sorted(known), n=1)), None)


def touches(unreadable: Unreadable, name: str) -> bool:
    """Whether the whole part, or an entry of it, is not known even by name."""
    return any(path[0] == name and len(path) <= 2 for path in unreadable)
