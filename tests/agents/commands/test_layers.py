"""Layers by command: declared, allotted by `apply`, listed, released when nobody serves in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.agents.commands.live import NAME, LiveDecider
from tests.agents.commands.recorded import run
from tests.schemas.manifest.samples import MANIFEST
from tests.streams.deciding.world import CANARY, spec_of
from tidegate.agents.commands import layers
from tidegate.agents.commands.lint import run_lint
from tidegate.agents.commands.logs import experiment_partition, table_of
from tidegate.agents.commands.options import Output
from tidegate.agents.settings import Settings
from tidegate.schemas.errors import DefinitionError
from tidegate.schemas.manifest.layer import LayerShare
from tidegate.schemas.manifest.layer_reading import is_layer, read_layer
from tidegate.streams.deciding.experiment import ExperimentState
from tidegate.streams.deciding.tables import table_of as unsent
from tidegate.streams.routing import allocate

Captured = pytest.CaptureFixture[str]

LAYER = """\
apiVersion: tidegate.dev/v1
kind: Layer
metadata: {name: shop, owner: search}
spec: {salt: s}
"""


def written(folder: Path, name: str, text: str) -> str:
    """A manifest file."""
    file = folder / f"{name}.yaml"
    file.write_text(text)
    return str(file)


def test_a_layer_from_its_manifest_to_its_release(
    embedded_settings: Settings, capsys: Captured, tmp_path: Path
) -> None:
    """`apply` declares it, asks it for slots and copies them; they come back when it has ended."""
    here = experiment_partition(embedded_settings, NAME)
    # The live decider has one partition: a layer that lives in it, too.
    names = (f"shop-{number}" for number in range(100))
    layer = next(name for name in names if experiment_partition(embedded_settings, name) == here)
    declared = written(tmp_path, "layer", LAYER.replace("shop", layer))
    text = MANIFEST.replace("name: click-ranker", f"name: {NAME}")
    experiment = written(tmp_path, "one", f"{text}  layer: {{name: {layer}, share: 20%}}\n")

    def tidegate(*words: str) -> int:
        return run(embedded_settings, capsys, *words).code

    with LiveDecider(embedded_settings):
        refused = run(embedded_settings, capsys, "apply", "-f", experiment)
        assert refused.code == 2
        assert f"No layer {layer} has been declared" in refused.err
        assert tidegate("apply", "-f", declared) == 0
        assert tidegate("apply", "-f", experiment) == 0
        again = run(embedded_settings, capsys, "apply", "-f", experiment, "--dry-run")
        assert again.out == f"{NAME}: nothing differs from what runs\n"
        rules = json.loads(table_of(embedded_settings, NAME).rules or "")
        assert rules["layer"] == {"name": layer, "salt": "s", "slots": [[0, 2_000]]}
        listed = run(embedded_settings, capsys, "layers", "list", "-o", "json")
        assert [each["shares"] for each in listed.json] == [{NAME: 2_000}]
        words = ("layers", "release", layer, NAME, "--reason", "over")
        running = run(embedded_settings, capsys, *words)
        assert running.code == 1
        assert "serves in its slots" in running.err
        assert tidegate("promote", NAME, "--reason", "good") == 0
        won = run(embedded_settings, capsys, *words)
        assert (won.code, "serves in its slots" in won.err) == (1, True)
        assert tidegate("abort", NAME, "--reason", "over") == 0
        assert tidegate(*words) == 0
        table = run(embedded_settings, capsys, "layers", "list").out
        assert table.splitlines()[1].split() == [layer, "(free)", "100", "%"]


@pytest.mark.parametrize(
    ("phase", "share", "other", "serves"),
    [
        ("RUNNING", 0, "", True),
        ("PAUSED", 1_000, "", True),
        ("COMPLETED", 10_000, "", True),
        ("ROLLED_BACK", 10_000, "", True),
        ("COMPLETED", 0, "", False),
        ("ABORTED", 0, "", False),
        ("RUNNING", 1_000, "another", False),
    ],
)
def test_slots_are_in_use_while_candidates_serve_in_them(
    phase: str, share: int, other: str, serves: bool
) -> None:
    """What won serves after the end of its release; what left the layer is in no slot of it."""
    spec = spec_of({"canary": CANARY}, {"full": {}})
    slots = LayerShare.model_construct(
        name=other or "shop", share_bp=2_000, salt="s", slots=((0, 2_000),)
    )
    state = ExperimentState(NAME, spec.model_copy(update={"layer": slots}))
    state.weights = {"champion": 10_000 - share, "challenger": share}
    state.buckets = allocate(state.weights)
    assert layers._serves(unsent(state, 0), "shop", phase) is serves


def test_a_layers_manifest_is_sound(tmp_path: Path, capsys: Captured) -> None:
    """`lint` knows it; without a salt its name is one."""
    assert is_layer(LAYER)
    assert read_layer(LAYER, "f").salt == "s"
    assert read_layer(LAYER.replace("spec: {salt: s}\n", ""), "f").salt == "shop"
    assert run_lint(Path(written(tmp_path, "layer", LAYER)), Output.table) == 0
    assert capsys.readouterr().out.endswith(": layer shop is sound\n")


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("tidegate.dev/v1", "tidegate.dev/v2", 1, "did you mean tidegate.dev/v1?"),
        ("name: shop", "name: my shop", 3, "'my shop' is not a name"),
        ("name: shop, ", "", 3, "name is missing"),
        ("owner: search", "ownr: search", 3, "did you mean owner?"),
        ("salt: s", "slat: s", 4, "did you mean salt?"),
        ("salt: s", "salt: 1", 4, 'write it in quotes: "1"'),
        ("spec: {salt: s}", "spec: s", 4, "stands where a map is needed"),
        ("metadata:", "metadta:", 3, "did you mean metadata?"),
    ],
)
def test_a_fault_of_a_layer_is_told_with_its_line(
    old: str, new: str, line: int, said: str
) -> None:
    """As with experiments: place, problem, what to write instead."""
    with pytest.raises(DefinitionError) as caught:
        read_layer(LAYER.replace(old, new), "f.yaml")
    faults = caught.value.faults
    assert any(fault.startswith(f"f.yaml:{line}: ") and said in fault for fault in faults), faults
