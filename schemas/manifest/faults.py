"""A fault of a manifest: where it is, what is wrong, what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

Path = tuple[str | int, ...]


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


def place(path: Path) -> str:
    """A path as people write it."""
    shown = ""
    for part in path:
        shown += f"[{part}]" if isinstance(part, int) else f".{part}" if shown else part
    return shown or "the document"


def one_of(names: Iterable[str]) -> str:
    """Names to choose from, in a sentence; or that there is none.

    >>> one_of(["b", "a"]), one_of([])
    ('a, b', '(none is declared)')
    """
    return ", ".join(sorted(names)) or "(none is declared)"


def meant(given: str, known: Iterable[str]) -> str:
    """What to write instead of an unknown name: the nearest known one, or all of them.

    >>> meant("canery", ["canary", "shadow"]), meant("x", ["canary", "shadow"])
    ('did you mean canary?', 'write one of canary, shadow')
    """
    names = sorted(known)
    near = difflib.get_close_matches(given, names, n=1)
    return f"did you mean {near[0]}?" if near else f"write one of {one_of(names)}"
