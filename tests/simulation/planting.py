"""How a bug is planted in the real modules while the process runs, and how it was caught."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

JOINING: Final = ("join",)
DECIDING: Final = ("decide",)
ALL: Final = ("join", "decide", "loop")


@contextmanager
def swapped(*changes: tuple[Any, str, Any]) -> Iterator[None]:
    """Inside, attributes (owner, name, value) have these values."""
    kept = [(owner, name, vars(owner)[name]) for owner, name, _ in changes]
    try:
        for owner, name, value in changes:
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in reversed(kept):
            setattr(owner, name, value)


@dataclass(frozen=True, slots=True)
class Bug:
    """A change of one attribute of the real code; `sentence` says what goes wrong."""

    sentence: str
    kinds: tuple[str, ...]
    owner: Any
    name: str
    wrong: Any

    @contextmanager
    def planted(self) -> Iterator[None]:
        """The bug is there inside."""
        with swapped((self.owner, self.name, self.wrong)):
            yield


@dataclass(frozen=True, slots=True)
class Caught:
    """How a planted bug was found: the first seed, -1 for never, and by which invariants."""

    name: str
    schedules: int
    first_seed: int
    invariants: Counter[str]

    @property
    def hit_rate(self) -> float:
        """Share of schedules that found it."""
        return sum(self.invariants.values()) / max(1, self.schedules)


def after(owner: Any, name: str, then: Callable[..., Any]) -> Any:
    """The original, its result passed through `then(result, *arguments)`."""
    right = vars(owner)[name]

    def wrong(*arguments: Any, **named: Any) -> Any:
        return then(right(*arguments, **named), *arguments)

    return wrong


def before(owner: Any, name: str, change: Callable[..., tuple[Any, ...]]) -> Any:
    """The original with its arguments passed through `change`."""
    right = vars(owner)[name]

    def wrong(*arguments: Any, **named: Any) -> Any:
        return right(*change(*arguments), **named)

    return wrong


def nothing(*_: Any, **__: Any) -> None:
    """Does not do what should be done."""
