"""Who takes part, as manifests say it: read as written, or refused with line and remedy."""

from __future__ import annotations

from typing import Any

import pytest

from tests.schemas.manifest.samples import spoilt
from tidegate.schemas.errors import DefinitionError, EventError
from tidegate.schemas.manifest import ExperimentSpec, read_manifest
from tidegate.schemas.manifest.segments import parse_segment

POPULATION = """\
apiVersion: tidegate.dev/v1
kind: Experiment
metadata: {name: click-ranker}
spec:
  unit: {key: user, fallback: session}
  control: champion
  variants:
    champion: {model: ranker, version: v1}
    challenger: {model: ranker, version: v2}
  inclusion: 50%
  targeting: {region: [de, fr], risk: "< 0.3"}
  holdout: {share: 5%}
  overrides:
    - {when: {x-variant: challenger}, variant: challenger}
  layer: {name: shop, share: 20%}
  flag: {}
"""

FAULTS = [
    ("fallback: session", "fallback: user", 5, "user cannot stand in for itself; name another"),
    ('"< 0.3"', '"< low"', 11, "< low compares risk with no number; write it as risk:"),
    ('"< 0.3"', '{"<": "0.3"}', 11, "< of risk needs a number"),
    ('"< 0.3"', "0.3", 11, '0.3 of risk is not text, as attributes are; write it in quotes: "0.3"'),
    ('"< 0.3"', "true", 11, "true of risk is not text, as attributes are; write it in quotes"),
    ('"< 0.3"', "[]", 11, "in of risk needs a list of texts; write risk: [de, fr]"),
    ('"< 0.3"', "[[a]]", 11, "a list of risk is not text"),
    ('"< 0.3"', "{in: de}", 11, "in of risk needs a list of texts"),
    ('"< 0.3"', "{matches: d.*}", 11, "matches of risk is not a test; write one of equals, prefix"),
    ('{region: [de, fr], risk: "< 0.3"}', "all", 11, "text) stands where a list is needed"),
    ('{region: [de, fr], risk: "< 0.3"}', "[]", 11, "it is empty; add at least one entry"),
    ('{region: [de, fr], risk: "< 0.3"}', "[all]", 11, "all is no condition on attributes; write"),
    ("targeting:", "targetting:", 11, "did you mean targeting?"),
    ("{share: 5%}", "5%", 12, "stands where a map is needed"),
    ("{share: 5%}", "{salt: x}", 12, "share is missing; add share: 5%"),
    ("share: 5%", "share: 100%", 12, "nobody would take part; write a share below 100%"),
    ("share: 5%", "share: 0%", 12, "out of bounds"),
    ("challenger}, variant: challenger", "b}, variant: champ", 14, "did you mean champion?"),
    ("when: {x-variant: challenger}, ", "", 14, "when is missing; add when: {region: [de, fr]}"),
    ("when:", "wen:", 14, "did you mean when?"),
    ("name: shop, ", "", 15, "name is missing"),
    ("share: 20%", "share: 0%", 15, "out of bounds"),
    ("{name: shop, share: 20%}", "shop", 15, "stands where a map is needed"),
    ("share: 20%", "slots: [[0, 5]], share: 20%", 15, "apply works it out from what is written"),
    ("share: 20%", "share: 20%, salt: s", 15, "apply works it out from what is written; remove it"),
    ("inclusion: 50%", "inclusion: half", 10, "half is not a share"),
]


def with_slots(spec: ExperimentSpec) -> ExperimentSpec:
    """The spec as `apply` writes it."""
    assert spec.layer is not None
    layer = spec.layer.model_copy(update={"salt": "s", "slots": ((0, 2_000),)})
    return spec.model_copy(update={"layer": layer})


def faults_of(text: str) -> tuple[str, ...]:
    """All faults of a manifest."""
    with pytest.raises(DefinitionError) as caught:
        read_manifest(text, "f.yaml")
    return caught.value.faults


@pytest.mark.parametrize(("old", "new", "line", "said"), FAULTS)
def test_a_fault_is_told_with_its_line_and_remedy(old: str, new: str, line: int, said: str) -> None:
    """One fault in a manifest is one message that begins with file and line."""
    faults = faults_of(spoilt(old, new, POPULATION))
    assert any(fault.startswith(f"f.yaml:{line}: ") and said in fault for fault in faults), faults

RINGS = POPULATION.replace("  flag: {}\n", """\
  release:
    - rings:
        weight: 20%
        hold: 1h
        on_breach: ring
        rings:
          - {name: staff, when: {channel: internal}}
          - {name: europe, when: {region: [de, fr]}}
          - {name: others}
    - full: {}
""")

RING_FAULTS = [
    ("weight: 20%", "weight: 60%", 18, "60 % is above 50 %; write 50% or less"),
    ("weight: 20%", "weight: 0%", 18, "out of bounds"),
    ("        hold: 1h\n", "", 17, "hold is missing; add hold: 1h"),
    ("on_breach: ring", "on_breach: some", 20, "write one of all, ring"),
    ("name: europe", "name: staff", 23, "there are two rings staff; give each a name of its own"),
    ("name: europe, when: {region: [de, fr]}", "name: europe", 23, "so nobody is in the rings"),
    ("{name: staff, when", "{when", 22, "name is missing"),
    ("{channel: internal}", "{channel: 3}", 22, "3 of channel is not text"),
    ("name: others", "name: all others", 24, "is not a name"),
    ("    - full: {}\n", "    - rings: {rings: [{name: a}], hold: 1h}\n", 25,
     "a release has rings once; put all rings into one list"),
    ("          - {name: others}\n", "          - others\n", 24, "stands where a map is needed"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line", "said"), RING_FAULTS)
def test_a_fault_of_a_ring_is_told_with_its_line(old: str, new: str, line: int, said: str) -> None:
    """Every ring can be reached, has a name of its own and risks at most half of itself."""
    faults = faults_of(spoilt(old, new, RINGS))
    assert any(fault.startswith(f"f.yaml:{line}: ") and said in fault for fault in faults), faults


def test_rings_are_read_and_survive_the_wire() -> None:
    """In their order, the last one for whoever is left."""
    spec = read_manifest(RINGS, "f.yaml").spec
    assert [(ring.name, len(ring.when.tests)) for ring in spec.rings] == [
        ("staff", 1), ("europe", 1), ("others", 0)
    ]  # fmt: skip
    allotted = with_slots(spec)
    assert ExperimentSpec.from_json(allotted.to_json()) == allotted


def test_a_population_is_read_and_survives_the_wire() -> None:
    """Conditions become tests, shares basis points; the wire form is read back the same."""
    spec = read_manifest(POPULATION, "f.yaml").spec
    assert spec.targeting is not None
    assert spec.targeting[0].to_condition() == [
        {"attribute": "region", "test": "in", "value": ["de", "fr"]},
        {"attribute": "risk", "test": "<", "value": 0.3},
    ]
    assert spec.holdout is not None
    assert (spec.holdout.share_bp, spec.holdout.salt) == (500, "holdout")
    assert spec.overrides[0].variant == "challenger"
    allotted = with_slots(spec)
    assert ExperimentSpec.from_json(allotted.to_json()) == allotted


@pytest.mark.parametrize(
    ("written", "tests"),
    [
        ({}, []),
        ({"a": "x"}, [("a", "equals", "x")]),
        ({"a": {"equals": "<3"}}, [("a", "equals", "<3")]),
        ({"a": {"prefix": "/v2"}}, [("a", "prefix", "/v2")]),
        ({"a": {"not_in": ["x"]}}, [("a", "not_in", ("x",))]),
        ({"a": {">=": 0.1, "<": 1}}, [("a", ">=", 0.1), ("a", "<", 1.0)]),
        ({"a": ">=-2e-3"}, [("a", ">=", -0.002)]),
    ],
)
def test_conditions_are_written_short_or_long(written: Any, tests: list[Any]) -> None:
    """Each notation stands for tests that must all hold."""
    found = [tuple(test.values()) for test in parse_segment(written)["tests"]]
    assert found == tests


def test_a_table_does_not_carry_a_list_of_users() -> None:
    """Rules are bounded, or clients would refuse the table."""
    users = ", ".join(f"user-{number}" for number in range(990))
    lists = ", ".join(f"a{number}: [{users}]" for number in range(4))
    (fault,) = faults_of(spoilt('{region: [de, fr], risk: "< 0.3"}', f"{{{lists}}}", POPULATION))
    assert "let the service pass an attribute that says who is meant" in fault


def test_the_wire_is_held_to_the_same() -> None:
    """A test that compares what it cannot is refused there too."""
    text = with_slots(read_manifest(POPULATION, "f.yaml").spec).to_json()
    with pytest.raises(EventError, match="cannot take"):
        ExperimentSpec.from_json(spoilt('"test":"<"', '"test":"prefix"', text))
