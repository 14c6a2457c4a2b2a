"""Who is live and what they run, as told on `applied`: the ground of every confirmation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tidegate.schemas.events import Applied

LIVE_MS = 15_000
"""Clients, and instances, are live when heard within this span of log time."""

REMEMBERED_MS = 600_000
CLIENTS_MAX = 10_000


@dataclass(slots=True)
class Running:
    """What a client last said about one experiment; `at_ms` is the log time since when it runs it.

    A word that only tells of its health or its breaker does not move `at_ms`.
    """

    epoch: int
    version: int
    generation: int
    rolled_back: list[str]
    at_ms: int


@dataclass(slots=True)
class ServingClient:
    """One serving process; times are log time. `breaker`: what it has cut, by experiment."""

    instance: str
    first_heard_ms: int
    heard_at_ms: int
    health: str | None = None
    breaker: dict[str, list[str]] = field(default_factory=dict)
    running: dict[str, Running] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Confirmation:
    """How far a version, or a rollback, has come.

    `slowest_ms` is the longest span of log time from the decision until a live client ran it, of
    those heard before the decision: one that started later took no time over it. None without any.
    """

    live: int
    confirmed: int
    missing: tuple[str, ...]
    slowest_ms: int | None


class Clients:
    """All clients heard in this partition of `applied`."""

    __slots__ = ("_clients",)

    def __init__(self) -> None:
        self._clients: dict[str, ServingClient] = {}

    def __len__(self) -> int:
        return len(self._clients)

    def hear(self, word: Applied, is_known: bool, log_time_ms: int) -> None:
        """Takes a client's word; its last one counts.

        GOODBYE: nobody waits for it any longer. CHANGE of a known experiment: what it runs now.
        Everything else says that it is there.
        """
        if word.kind == "GOODBYE":
            self._clients.pop(word.client_id, None)
            return
        client = self._heard(word.client_id, word.instance, log_time_ms)
        if word.kind != "CHANGE" or not is_known:
            return
        client.health, client.breaker[word.experiment] = word.health, list(word.breaker or ())
        said = Running(
            word.epoch, word.version, word.generation, list(word.rolled_back), log_time_ms
        )
        known = client.running.get(word.experiment)
        if known is not None and replace(said, at_ms=known.at_ms) == known:
            return
        client.running[word.experiment] = said

    def forget(self, log_time_ms: int) -> None:
        """Drops who was silent for `REMEMBERED_MS`."""
        due_ms = log_time_ms - REMEMBERED_MS
        # Insertion order is order of last word, so the silent ones stand in front.
        while self._clients:
            name = next(iter(self._clients))
            if self._clients[name].heard_at_ms > due_ms:
                return
            del self._clients[name]

    def applied(
        self, experiment: str, epoch: int, version: int, decided_at_ms: int, log_time_ms: int
    ) -> Confirmation:
        """Which live clients run (epoch, version) or a later one."""

        def confirms(running: Running) -> bool:
            return (running.epoch, running.version) >= (epoch, version)

        return self._confirmation(experiment, confirms, decided_at_ms, log_time_ms)

    def rolled_back(
        self,
        experiment: str,
        generation: int,
        variant: str,
        epoch: int,
        version: int,
        decided_at_ms: int,
        log_time_ms: int,
    ) -> Confirmation:
        """Which live clients hold `variant` at 0: by the ROLLBACK record or by the table."""

        def confirms(running: Running) -> bool:
            by_record = running.generation == generation and variant in running.rolled_back
            return by_record or (running.epoch, running.version) >= (epoch, version)

        return self._confirmation(experiment, confirms, decided_at_ms, log_time_ms)

    def degraded(self, experiment: str, log_time_ms: int) -> list[str]:
        """Live clients that run the experiment and are not well, or have cut a variant."""
        return sorted(
            name
            for name, client in self._clients.items()
            if experiment in client.running
            and log_time_ms - client.heard_at_ms < LIVE_MS
            and (client.health not in (None, "OK") or client.breaker.get(experiment))
        )

    def unwell(self, experiment: str, log_time_ms: int) -> list[dict[str, Any]]:
        """What ails the degraded: process, health, and variants that its breaker has cut."""
        found = [(name, self._clients[name]) for name in self.degraded(experiment, log_time_ms)]
        return [
            {
                "client": name,
                "instance": client.instance,
                "health": client.health,
                "breaker": sorted(client.breaker.get(experiment, ())),
            }
            for name, client in found
        ]

    def instances(self, names: Sequence[str]) -> list[str]:
        """What the clients of these ids call themselves."""
        return [self._clients[name].instance for name in names]

    def to_state(self) -> list[list[Any]]:
        """As JSON-able state; a list, because order of last word matters."""
        return [
            [
                name,
                client.instance,
                client.first_heard_ms,
                client.heard_at_ms,
                client.health,
                client.breaker,
                {
                    experiment: [
                        running.epoch,
                        running.version,
                        running.generation,
                        running.rolled_back,
                        running.at_ms,
                    ]
                    for experiment, running in client.running.items()
                },
            ]
            for name, client in self._clients.items()
        ]

    @classmethod
    def from_state(cls, state: list[list[Any]]) -> Clients:
        """The inverse of `to_state`."""
        clients = cls()
        for name, instance, first_heard_ms, heard_at_ms, health, breaker, running in state:
            clients._clients[name] = ServingClient(
                instance,
                first_heard_ms,
                heard_at_ms,
                health,
                breaker,
                {experiment: Running(*said) for experiment, said in running.items()},
            )
        return clients

    def _heard(self, client_id: str, instance: str, log_time_ms: int) -> ServingClient:
        client = self._clients.pop(client_id, None)
        if client is None:
            while len(self._clients) >= CLIENTS_MAX:
                del self._clients[next(iter(self._clients))]
            client = ServingClient(instance, log_time_ms, log_time_ms)
        client.instance, client.heard_at_ms = instance, log_time_ms
        self._clients[client_id] = client
        return client

    def _confirmation(
        self, experiment: str, confirms: Any, decided_at_ms: int, log_time_ms: int
    ) -> Confirmation:
        live = confirmed = 0
        spans_ms: list[int] = []
        missing: list[str] = []
        for name, client in self._clients.items():
            if log_time_ms - client.heard_at_ms >= LIVE_MS:
                continue
            live += 1
            running = client.running.get(experiment)
            if running is not None and confirms(running):
                confirmed += 1
                if client.first_heard_ms <= decided_at_ms:
                    spans_ms.append(max(0, running.at_ms - decided_at_ms))
            else:
                missing.append(name)
        slowest_ms = max(spans_ms, default=None)
        return Confirmation(live, confirmed, tuple(sorted(missing)), slowest_ms)
