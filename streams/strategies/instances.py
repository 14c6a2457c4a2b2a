"""Instances as a strategy sees them, and what it may ask of them.

An instance is a place that runs model servers: processes, each with one version of a model loaded.
Nothing is believed that its own word on `applied` does not say; so a strategy looks at what runs,
never at what it asked for, and asking twice for the same does no harm.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tidegate.schemas.canonical import canonical_json
from tidegate.schemas.manifest.spec import VariantSpec
from tidegate.streams.wording import listing

Artifact = tuple[str, str]
"""(model, version)."""

OK = "OK"
DEGRADED = "DEGRADED"
FAILED = "FAILED"
PASSED = "PASSED"
NAMED_MAX = 8


@dataclass(frozen=True, slots=True)
class Instance:
    """What an instance last said; `live` when heard lately in log time.

    `servers` maps what it runs to the health: STARTING, OK, DEGRADED or ENDING. `answered` is the
    last command that it carried out, `outcome` and `detail` what came of it.
    """

    name: str
    heard_at_ms: int
    live: bool
    servers: Mapping[Artifact, str] = field(default_factory=dict)
    answered: str = ""
    outcome: str = ""
    detail: str = ""

    def health(self, artifact: Artifact) -> str:
        """Health of a version that runs here, empty when it does not."""
        return self.servers.get(artifact, "")

    def serves(self, artifact: Artifact) -> bool:
        """Whether the version runs here and is well."""
        return self.live and self.health(artifact) == OK


@dataclass(frozen=True, slots=True)
class Instruction:
    """A command to one instance, or to all when `instance` is empty.

    DEPLOY runs a version beside what runs already, or instead of what `replaces_model` and
    `replaces_version` name; START runs it; RETIRE and STOP end it; SMOKE asks it. It expires
    `patience_ms` of log time after the decision.
    """

    kind: Literal["DEPLOY", "RETIRE", "START", "STOP", "SMOKE"]
    arguments: Mapping[str, str]
    patience_ms: int
    instance: str = ""


def instruction(
    kind: Literal["DEPLOY", "RETIRE", "START", "STOP", "SMOKE"],
    variant: str,
    version: VariantSpec,
    patience_ms: int,
    instance: str = "",
    replaces: Artifact | None = None,
    cases: Sequence[Mapping[str, Any]] = (),
) -> Instruction:
    """A command about one variant; `cases` are the requests of SMOKE, `case.0`, `case.1`, …"""
    arguments = {"variant": variant, "model": version.model, "version": version.version}
    if version.artifact is not None:
        arguments["artifact"] = version.artifact
    if replaces is not None:
        arguments["replaces_model"], arguments["replaces_version"] = replaces
    for number, case in enumerate(cases):
        arguments[f"case.{number}"] = canonical_json(case)
    return Instruction(kind, arguments, patience_ms, instance)


def artifact_of(version: VariantSpec) -> Artifact:
    """What of a variant runs on an instance."""
    return version.model, version.version


def live(fleet: Iterable[Instance]) -> list[Instance]:
    """Those heard lately, in the order of their names."""
    return [item for item in fleet if item.live]


def named(instances: Sequence[Instance] | Sequence[str]) -> str:
    """Names in a sentence, the first few of many."""
    names = [item if isinstance(item, str) else item.name for item in instances]
    if len(names) > NAMED_MAX:
        return listing([*names[:NAMED_MAX], f"{len(names) - NAMED_MAX} more"])
    return listing(names)


def runs(fleet: Iterable[Instance], artifact: Artifact) -> list[Instance]:
    """Those whose last word says that the version runs there, however well."""
    return [item for item in fleet if item.health(artifact)]


def evidence_of(fleet: Iterable[Instance]) -> list[dict[str, Any]]:
    """Instances as a decision's evidence tells of them."""
    return [
        {
            "instance": item.name,
            "live": item.live,
            "servers": [
                {"model": model, "version": version, "health": health}
                for (model, version), health in sorted(item.servers.items())
            ],
            "outcome": item.outcome,
            "detail": item.detail,
        }
        for item in fleet
    ]
