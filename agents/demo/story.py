"""What the demo must show, and whether it was seen; nothing here acts.

A chapter is seen when records of the topics say so, never because the demo did something.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tidegate.schemas.events import Applied, Decision

ALL_BP = 10_000


@dataclass(slots=True)
class Client:
    """What a serving client last said on `applied`."""

    generation: int = 0
    key: tuple[int, int] = (0, 0)
    rolled_back: frozenset[str] = frozenset()


@dataclass(slots=True)
class Seen:
    """What the topics told so far."""

    decisions: list[Decision] = field(default_factory=list)
    clients: dict[str, Client] = field(default_factory=dict)
    requests: Mapping[str, int] = field(default_factory=dict)
    verified: str = ""

    def decision(self, generation: int, action: str, variant: str = "") -> Decision | None:
        """The first decision of this kind."""
        for each in self.decisions:
            if (each.generation, each.action) != (generation, action):
                continue
            if not variant or each.variant == variant:
                return each
        return None


@dataclass(frozen=True, slots=True)
class Chapter:
    """One thing that must be seen: `tell` gives the sentence that says it was, or nothing yet."""

    title: str
    tell: Callable[[Seen, int], str]


class Story:
    """Follows the topics through the chapters, in order.

    Args:
        servers: how many serving processes must confirm.
    """

    def __init__(self, servers: int) -> None:
        self._servers = servers
        self.seen = Seen()
        self.told: dict[str, str] = {}

    def decision(self, decision: Decision) -> None:
        """A decision was read."""
        self.seen.decisions.append(decision)
        self._look()

    def applied(self, applied: Applied) -> None:
        """A client said what it runs."""
        client = self.seen.clients.setdefault(applied.client_id, Client())
        if applied.kind == "GOODBYE":
            del self.seen.clients[applied.client_id]
        elif applied.kind == "CHANGE":
            client.generation = applied.generation
            client.key = max(client.key, (applied.epoch, applied.version))
            client.rolled_back = frozenset(applied.rolled_back)
        self._look()

    def served(self, requests: Mapping[str, int]) -> None:
        """What users saw until now, by name."""
        self.seen.requests = requests
        self._look()

    def verified(self, sentence: str) -> None:
        """The audit found everything equal."""
        self.seen.verified = sentence
        self._look()

    def has(self, title: str) -> bool:
        """Whether a chapter was seen."""
        return title in self.told

    @property
    def missing(self) -> list[str]:
        """Titles of the chapters that were not seen."""
        return [chapter.title for chapter in CHAPTERS if chapter.title not in self.told]

    def _look(self) -> None:
        for chapter in CHAPTERS:
            if chapter.title in self.told:
                continue
            sentence = chapter.tell(self.seen, self._servers)
            # A chapter is no chapter before the one before it.
            if not sentence:
                return
            self.told[chapter.title] = sentence


def _serves(seen: Seen, servers: int) -> str:
    decision = seen.decision(1, "APPLY")
    count = seen.requests.get("champion requests", 0)
    if decision is None or decision.weights.get("champion") != ALL_BP or not count:
        return ""
    return "the champion answers everybody; hasty answers too, and nobody sees it"


def _hasty_canary(seen: Seen, servers: int) -> str:
    decision = seen.decision(1, "ADVANCE")
    return _share(decision, "hasty")


def _caught(seen: Seen, servers: int) -> str:
    decision = seen.decision(1, "ROLLBACK", "hasty")
    if decision is None or decision.control_id is not None or decision.verdict != "FAIL":
        return ""
    return f"nobody asked for it: {decision.reason}"


def _confirmed(seen: Seen, servers: int) -> str:
    clients = list(seen.clients.values())
    if len(clients) < servers or not all("hasty" in each.rolled_back for each in clients):
        return ""
    return f"all {len(clients)} live clients say that hasty is out"


def _careful_shadow(seen: Seen, servers: int) -> str:
    decision = seen.decision(2, "APPLY")
    if decision is None or decision.weights.get("champion") != ALL_BP:
        return ""
    return "a new generation: its statistics start anew, and careful starts unseen"


def _careful_canary(seen: Seen, servers: int) -> str:
    return _share(seen.decision(2, "ADVANCE"), "careful")


def _bandit(seen: Seen, servers: int) -> str:
    steps = [each for each in seen.decisions if each.generation == 2 and each.action == "ADVANCE"]
    if len(steps) < 2:
        return ""
    return f"weights follow the evidence from here: {_shares(steps[1])}"


def _promoted(seen: Seen, servers: int) -> str:
    decision = seen.decision(2, "PROMOTE", "careful")
    if decision is None or decision.weights.get("careful") != ALL_BP:
        return ""
    return decision.reason


def _served_by_all(seen: Seen, servers: int) -> str:
    decision = seen.decision(2, "PROMOTE", "careful")
    clients = list(seen.clients.values())
    if decision is None or len(clients) < servers:
        return ""
    if not all(each.key >= (decision.epoch, decision.version) for each in clients):
        return ""
    return f"all {len(clients)} live clients serve careful"


def _verified(seen: Seen, servers: int) -> str:
    return seen.verified


def _share(decision: Decision | None, variant: str) -> str:
    if decision is None or not 0 < decision.weights.get(variant, 0) < ALL_BP:
        return ""
    return f"its answers were close enough; now real users see it: {_shares(decision)}"


def _shares(decision: Decision) -> str:
    parts = sorted(decision.weights.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {weight / 100:g} %" for name, weight in parts)


HASTY_SHADOW = "a champion serves; a challenger in a hurry enters at shadow"
ROLLED_BACK = "every serving process confirms the rollback"
PROMOTED = "every serving process serves the winner"
CHAPTERS = (
    Chapter(HASTY_SHADOW, _serves),
    Chapter("the challenger goes on to a canary", _hasty_canary),
    Chapter("a guardrail catches it and rolls it back", _caught),
    Chapter(ROLLED_BACK, _confirmed),
    Chapter("a careful challenger enters at shadow", _careful_shadow),
    Chapter("it goes on to a canary", _careful_canary),
    Chapter("a bandit takes over", _bandit),
    Chapter("the bandit finds the better one and it is promoted", _promoted),
    Chapter(PROMOTED, _served_by_all),
    Chapter("the log is replayed and every decision comes out the same", _verified),
)
