"""Instances that obey a decider's commands in memory, well or badly: a cluster for its tests."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from tests.streams.deciding.world import NAME, World
from tidegate.schemas import codec
from tidegate.schemas.events import Command, ModelServer

OLD = ("ranker", "v1")
NEW = ("ranker", "v2")


@dataclass
class Place:
    """One instance. `deaf` does not hear, `broken` fails every start, `sick` gets unwell, and
    `wrong` answers otherwise. A start takes a second.
    """

    servers: dict[tuple[str, str], str] = field(default_factory=lambda: {OLD: "OK"})
    deaf: bool = False
    broken: bool = False
    sick: bool = False
    wrong: bool = False
    answered: str | None = None
    outcome: str | None = None
    detail: str | None = None
    seen: set[str] = field(default_factory=set)
    obeyed: list[str] = field(default_factory=list)


class Site:
    """Places of one experiment, heard by the world's decider."""

    def __init__(self, world: World, *names: str) -> None:
        self.world = world
        self.places = {name: Place() for name in names}
        self._read = 0
        for name in names:
            self.say(name)

    def __getitem__(self, name: str) -> Place:
        return self.places[name]

    def say(self, name: str, kind: str = "CHANGE") -> None:
        """An instance tells all that runs there."""
        place = self.places[name]
        servers = tuple(
            ModelServer(model=model, version=version, health=health)
            for (model, version), health in sorted(place.servers.items())
        )
        self.world.applied(
            f"agent-{name}",
            kind,
            instance=name,
            servers=servers,
            command_id=place.answered,
            outcome=place.outcome,
            detail=place.detail,
        )

    def obey(self) -> list[Command]:
        """Everybody obeys what was commanded since the last time, and says so."""
        found = [
            codec.decode_as(Command, item.value)
            for item in self.world.outputs[self._read :]
            if item.topic == "commands" and item.value
        ]
        self._read = len(self.world.outputs)
        commands = [item for item in found if item.kind not in ("HEARTBEAT", "STATUS", "ALERT")]
        for command in commands:
            for name, place in self.places.items():
                asked = command.arguments["instance"] in ("", name)
                if asked and not place.deaf and command.command_id not in place.seen:
                    place.seen.add(command.command_id)
                    self._carry_out(place, command)
                    self.say(name)
        return commands

    def run(self, seconds: int, *silent: str) -> None:
        """Time passes: all but the silent speak and obey, the joiner tells that it is there."""
        for _ in range(seconds):
            self.world.tick(1_000)
            self.rise()
            self.obey()
            for name in self.places:
                if name not in silent:
                    self.say(name, "HEARTBEAT")
            self.world.observe()
            self.obey()

    def rise(self) -> None:
        """What was starting has started."""
        for place in self.places.values():
            for artifact in [key for key, it in place.servers.items() if it == "STARTING"]:
                sick = place.sick and artifact == NEW
                place.servers[artifact] = "DEGRADED" if sick else "OK"

    def versions(self) -> dict[str, list[str]]:
        """What runs where, unwell ones in brackets."""
        return {
            name: [
                version if health == "OK" else f"({version})"
                for (_, version), health in sorted(place.servers.items())
            ]
            for name, place in self.places.items()
        }

    def _carry_out(self, place: Place, command: Command) -> None:
        arguments = command.arguments
        artifact = (arguments["model"], arguments["version"])
        place.obeyed.append(command.kind)
        outcome, detail = "DONE", None
        if command.kind in ("DEPLOY", "START"):
            replaced = (arguments.get("replaces_model"), arguments.get("replaces_version"))
            place.servers.pop(replaced, None)  # type: ignore[arg-type]
            if place.broken and artifact == NEW:
                outcome, detail = "FAILED", "exit code 1"
            else:
                place.servers.setdefault(artifact, "STARTING")
        elif command.kind in ("RETIRE", "STOP"):
            place.servers.pop(artifact, None)
        elif artifact not in place.servers:
            return
        else:
            assert json.loads(arguments["case.0"])["request"]
            outcome = "FAILED" if place.wrong else "PASSED"
            detail = "case 0: cat, expected dog" if place.wrong else None
        place.answered, place.outcome, place.detail = command.command_id, outcome, detail


def said(world: World) -> list[str]:
    """Actions and sentences of all decisions."""
    return [f"{item.action} {item.reason}" for item in world.decisions()]


__all__ = ["NAME", "NEW", "OLD", "Place", "Site", "said"]
