"""The wire form of a spec: what is not one is refused, and nothing is guessed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.schemas.manifest.samples import MANIFEST
from tidegate.schemas.errors import EventError
from tidegate.schemas.manifest import ExperimentSpec, manifest_json_schema, read_manifest

SPEC = read_manifest(MANIFEST, "f.yaml").spec


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"control": "nobody"}, "nobody is not a variant"),
        ({"control": 1}, "valid string"),
        ({"variants": {}}, "at least 1"),
        ({"unit": {}}, "spec.unit.key"),
        ({"inclusion_bp": 20_000}, "less than or equal to 10000"),
        ({"inclusion": "100%"}, "Extra inputs"),
        ({"release": [{"canary": {"weight": "5%", "hold": "1h"}}]}, "spec.release.0.canary"),
        ({"release": [{"canary": {"weight_bp": 6_000, "hold_ms": 1}}]}, "above 50 %"),
        ({"release": [{}]}, "exactly one strategy"),
        ({"release": [{"full": {}, "canary": {"weight_bp": 1, "hold_ms": 1}}]}, "exactly one"),
        ({"surprise": 1}, "Extra inputs"),
    ],
)
def test_what_breaks_a_rule_is_refused(changes: dict[str, Any], said: str) -> None:
    """A Control record from elsewhere passes the same rules as a manifest."""
    document = {**json.loads(SPEC.to_json()), **changes}
    with pytest.raises(EventError, match=said) as caught:
        ExperimentSpec.from_json(json.dumps(document))
    assert caught.value.reason == "value"


@pytest.mark.parametrize("text", ["", "{", "null", "[]", '{"a": NaN}', '{"control": "champion"}'])
def test_what_is_no_spec_is_refused(text: str) -> None:
    """Anything that is not the wire form is the wire's fault, not a crash."""
    with pytest.raises(EventError):
        ExperimentSpec.from_json(text)


def test_the_wire_form_says_every_default() -> None:
    """A default that changes in a later version cannot change what was decided."""
    document = json.loads(SPEC.to_json())
    assert document["inclusion_bp"] == 10_000
    assert document["guardrails"][0]["alpha"] == 0.05
    assert document["release"][3]["bandit"]["min_samples"] == 100


def test_the_json_schema_describes_manifests_as_they_are_written() -> None:
    """Editors know the words of the manifest, not those of the wire."""
    schema = manifest_json_schema()
    canary = schema["$defs"]["Canary"]["properties"]
    assert {
        "weight", "weights", "hold", "min_samples", "cap", "max_duration", "on_inconclusive",
        "rolling",
    } == set(canary)  # fmt: skip
    assert canary["hold"]["pattern"]
    kinds = schema["discriminator"]["mapping"]
    assert set(kinds) == {"Experiment", "Layer"}
    experiment, layer = (
        schema["$defs"][kinds[kind].rpartition("/")[2]] for kind in ("Experiment", "Layer")
    )
    assert experiment["required"] == ["apiVersion", "kind", "metadata", "spec"]
    assert layer["required"] == ["apiVersion", "kind", "metadata"]
