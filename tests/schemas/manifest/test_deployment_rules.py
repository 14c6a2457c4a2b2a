"""Steps that command instances: what is refused, with line and remedy, and what is read."""

from __future__ import annotations

import json

import pytest

from tests.schemas.manifest.test_reading import faults_of
from tidegate.schemas.manifest import ExperimentSpec, read_manifest
from tidegate.schemas.manifest.reading import manifest_json_schema

HEAD = """\
apiVersion: tidegate.dev/v1
kind: Experiment
metadata: {name: ranker}
spec:
  unit: {key: user}
  control: blue
  variants:
    blue:  {model: ranker, version: v1}
    green: {model: ranker, version: v2}
  metrics:
    errors: {field: status, type: rate, goal: decrease}
"""
COMPARE = """\
  guardrails:
    - {metric: errors, compare: control, worse_by: 1pp, min_samples: 200, on_breach: rollback}
"""
SOLD = """\
    sold: {type: binary, aggregate: first, window: 30m, default: 0, goal: increase}
  guardrails:
    - {metric: sold, compare: control, worse_by: 1pp, min_samples: 200, on_breach: rollback}
"""
RELEASE = "  release:\n"
CANARY = "canary: {rolling: {}, weights: [10%, 25%], hold: 1h}"
SMOKE = "blue_green: {smoke: [{request: {x: 1}, expect: 2}]}"
RINGS = "{rings: [{name: staff, when: {a: b}}, {name: others}], hold: 1h, on_breach: ring}"
LONG = "x" * 7_900

# The step or steps, what stands before them, line of the fault, and words of its text.
FAULTS = [
    ("blue_green: {}", "", 13, "smoke is missing; add smoke: [{request: {...}, expect: ...}]"),
    ("blue_green: {smoke: []}", "", 13, "the new version would meet users unasked"),
    ("blue_green: {smoke: [{request: {x: 1}}]}", "", 13, "expect is missing; add expect"),
    ("blue_green: {smoke: [{expect: 1}]}", "", 13, "request is missing; add request"),
    ("blue_green: {smoke: [{request: 7, expect: 1}]}", "", 13, "7 (a number) stands where a map"),
    ("blue_green: {smoke: [{request: {}, expect: 1}]}", "", 13, "it is empty; add at least one"),
    ("blue_green: {smoke: [{request: {x: 1}, expect: }]}", "", 13, "there is no value"),
    ("blue_green: {smoke: [{request: {x: 1}, expect: 1, tolerance: -1}]}", "", 13,
     "-1 is out of bounds; write a value at least 0"),
    ("blue_green: {smoke: [{request: {x: 1}, expct: 1, expect: 1}]}", "", 13,
     "did you mean expect?"),
    (f"blue_green: {{smoke: [{{request: {{x: {LONG}y{LONG}}}, expect: 1}}]}}", "", 13,
     "bytes are no smoke test; write a request below 8,000 bytes"),
    ("blue_green: {smoke: [" + f"{{request: {{x: {LONG}}}, expect: 1}}, " * 6 + "]}", "", 13,
     "bytes of smoke requests are more than a command takes"),
    (SMOKE[:-1] + ", keep_previous: 1}", "", 13, "1 is not a duration; write 500ms"),
    (SMOKE[:-1] + ", timeout: 0s}", "", 13, "0s is out of bounds"),
    (SMOKE[:-1] + ", instances: 0}", "", 13, "0 is out of bounds; write a value at least 1"),
    (SMOKE, COMPARE, 13, "blue_green gives everything to one variant"),
    ("recreate: {}", COMPARE, 13, "write max or min, or put a canary step before it"),
    (f"{SMOKE}\n    - full: {{}}", "", 13, "blue_green is not the last step; move it to the end"),
    ("rolling: {}\n    - rolling: {}", "", 13, "rolling is not the last step"),
    ("rolling: {batch: 0}", "", 13, "0 is no number of instances; write 1 or 25%"),
    ("rolling: {batch: 0%}", "", 13, "0% is no number of instances"),
    ("rolling: {batch: half}", "", 13, "half is no number of instances"),
    ("rolling: {batch: 120%}", "", 13, "120% is above 100 %"),
    ("rolling: {batch: 1.5}", "", 13, "1.5 is no number of instances"),
    ("rolling: {batch: 3, max_unavailable: 2}", "", 13, "write 2 or less, or raise max"),
    ("rolling: {batch: 100%}", COMPARE, 15, "no instance is left with control"),
    ("rolling: {}", SOLD, 14, "would wait for sold for ever"),
    ("rolling: {max_unavailable: 0}", "", 13, "0 is out of bounds"),
    ("rolling: {health_timeout: 9s}", "", 13, "9s is out of bounds"),
    ("rolling: {bach: 1}", "", 13, "did you mean batch?"),
    ("rolling: {hold: 5}", "", 13, "5 is not a duration"),
    (CANARY, COMPARE, 15, "put a rolling step directly after it, at the end"),
    (f"{CANARY}\n    - pause: {{}}\n    - rolling: {{}}", COMPARE, 15, "nothing takes on the"),
    (f"{CANARY}\n    - rolling: {{}}", "", 13, "no guardrail compares the patched instances"),
    (f"{CANARY[:-1]}, min_samples: 9}}\n    - rolling: {{}}", COMPARE, 15,
     "write min_samples in each guardrail instead"),
    ("canary: {rolling: {instances: 1}, weight: 10%, hold: 1h}\n    - rolling: {}", COMPARE, 15,
     "1 is out of bounds; write a value at least 2"),
    (f"{CANARY}\n    - canary: {{rolling: {{}}, weight: 20%, hold: 1h}}\n    - rolling: {{}}",
     COMPARE, 16, "20 % is not above the 25 % before it"),
    ("recreate: {timeout: soon}", "", 13, "soon is not a duration"),
    ("recreate: {keep_previous: 1h}", "", 13, "keep_previous is not known here"),
    (SMOKE, "  inclusion: 50%\n", 12, "remove inclusion, or end the release with full"),
    (SMOKE, "  holdout: {share: 5%}\n", 12, "whoever holdout keeps out would be served it"),
    ("rolling: {}", "  targeting: {region: de}\n", 12, "remove targeting"),
    ("recreate: {}", "  layer: {name: shop, share: 50%}\n", 12, "remove layer"),
    (f"rings: {RINGS}\n    - recreate: {{}}", "", 13, "remove on_breach: ring, or end the"),
    ("recreate", "", 13, "a step has settings; write recreate: {}"),
]  # fmt: skip


def manifest(steps: str, before: str = "") -> str:
    """A manifest with these steps."""
    return f"{HEAD}{before}{RELEASE}    - {steps}\n"


@pytest.mark.parametrize(("steps", "before", "line", "words"), FAULTS)
def test_what_is_wrong_is_said_with_its_line(
    steps: str, before: str, line: int, words: str
) -> None:
    """One fault each, where it is, with what to write instead."""
    faults = faults_of(manifest(steps, before))
    assert len(faults) == 1, faults
    assert faults[0].startswith(f"f.yaml:{line}: ")
    assert words in faults[0]


def test_variants_must_differ_in_what_instances_see() -> None:
    """Instances tell versions apart by model and version; an artifact alone is not seen."""
    text = manifest("recreate: {}").replace("version: v2", "version: v1, artifact: other")
    assert "the same model and version" in faults_of(text)[0]


def test_one_candidate_is_brought_to_instances() -> None:
    """With two nobody knows which."""
    other = "    green: {model: ranker, version: v2}\n    red: {model: ranker, version: v3}\n"
    text = manifest("rolling: {}").replace("    green: {model: ranker, version: v2}\n", other)
    assert "which of 2 candidates the instances are to get is unknown" in faults_of(text)[0]


@pytest.mark.parametrize(
    "steps",
    [
        SMOKE,
        "blue_green: {smoke: [{request: {a: [1, {b: x}]}, expect: {c: [true]}, tolerance: 0.1}]}",
        "rolling: {}",
        "rolling: {batch: 25%, max_unavailable: 3, health_timeout: 1m, hold: 5m, instances: 4}",
        "recreate: {timeout: 1m, instances: 2}",
    ],
)
def test_what_is_sound_survives_the_wire(steps: str) -> None:
    """Every default is written out, and reading it gives the same spec."""
    spec = read_manifest(manifest(steps), "f.yaml").spec
    assert ExperimentSpec.from_json(spec.to_json()) == spec
    assert json.loads(spec.to_json())["release"][0][spec.release[0].strategy]


def test_a_canary_before_it_gives_something_to_compare() -> None:
    """Both served at some time, so the guardrail has its data."""
    steps = f"canary: {{weight: 5%, hold: 1h}}\n    - {SMOKE}"
    assert read_manifest(manifest(steps, COMPARE), "f.yaml").spec.guardrails


def test_a_canary_of_instances_says_every_default_on_the_wire() -> None:
    """Shares of requests and of instances grow by themselves; a plain canary stays as it was."""
    steps = f"canary: {{weight: 30%, hold: 1h}}\n    - {CANARY}\n    - rolling: {{}}"
    spec = read_manifest(manifest(steps, COMPARE), "f.yaml").spec
    assert ExperimentSpec.from_json(spec.to_json()) == spec
    plain, patching, _ = json.loads(spec.to_json())["release"]
    assert "rolling" not in plain["canary"]
    assert patching["canary"]["rolling"] == {
        "health_timeout_ms": 120_000, "instances": 2, "max_unavailable": 1
    }  # fmt: skip


def test_editors_know_the_steps() -> None:
    """The exported JSON Schema has their words, not our names."""
    known = manifest_json_schema()["$defs"]
    words = {"smoke", "keep_previous", "timeout", "instances"}
    assert set(known["BlueGreen"]["properties"]) == words
    assert "health_timeout" in known["Rolling"]["properties"]
    assert known["BlueGreen"]["required"] == ["smoke"]
