"""What an installed Tidegate contains and loads, seen from outside the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LIGHT = """
import sys
import tidegate, tidegate.schemas
heavy = {"faust", "confluent_kafka", "aiokafka", "river", "numpy", "scipy", "pydantic"}
print(sorted(heavy & set(sys.modules)))
"""
# What a service imports, and what it must not cost.
CLIENT = """
import sys
import tidegate
tidegate.Client, tidegate.Assignment, tidegate.Answer
import tidegate.agents.client, tidegate.streams.assignment, tidegate.streams.routing
heavy = {"faust", "aiokafka", "river", "numpy", "scipy", "pydantic", "typer", "rich"}
print(sorted(heavy & set(sys.modules)))
"""
EVERYTHING = """
import importlib, pkgutil
import tidegate
names = [found.name for found in pkgutil.walk_packages(tidegate.__path__, "tidegate.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(len(names))
"""


def run(python: Path | str, *arguments: str, cwd: Path) -> str:
    """Output of a Python process outside the checkout; its errors fail the test."""
    environment = {key: text for key, text in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [str(python), *arguments],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as a release is: from the source distribution."""
    target = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", str(target), str(ROOT), cwd=target)
    [built] = target.glob("*.whl")
    return built


def fresh(folder: Path) -> Path:
    """Python of an empty virtual environment."""
    venv.create(folder, with_pip=True)
    return folder / "bin" / "python"


def test_importing_tidegate_is_light(tmp_path: Path) -> None:
    """`import tidegate` and the contracts load no client, no stream library, no numbers."""
    assert run(sys.executable, "-c", LIGHT, cwd=tmp_path) == "[]"


def test_the_client_is_light(tmp_path: Path) -> None:
    """A service that serves loads Kafka's client and nothing a worker needs."""
    assert run(sys.executable, "-c", CLIENT, cwd=tmp_path) == "[]"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_service_needs_the_base_install_only(wheel: Path, tmp_path: Path) -> None:
    """In an empty environment the base wheel is enough to import and make a client."""
    python = fresh(tmp_path / "base")
    run(python, "-m", "pip", "install", "-q", str(wheel), cwd=tmp_path)
    assert run(python, "-c", CLIENT, cwd=tmp_path) == "[]"
    # The command is there too and says what it lacks.
    command = subprocess.run(
        [python.parent / "tidegate"], capture_output=True, text=True, check=False
    )
    assert command.returncode == 2
    assert 'pip install "tidegate[worker]"' in command.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_module_of_the_wheel_can_be_imported(wheel: Path, tmp_path: Path) -> None:
    """With the worker's extra, nothing is missing from the wheel or from its dependencies."""
    python = fresh(tmp_path / "worker")
    run(python, "-m", "pip", "install", "-q", f"{wheel}[worker]", cwd=tmp_path)
    in_wheel = int(run(python, "-c", EVERYTHING, cwd=tmp_path))
    in_checkout = len([path for path in ROOT.glob("[!.]*/**/*.py") if _is_shipped(path)])
    assert in_wheel == in_checkout
    for file in ("infra/kafka/pom.xml", "schemas/avro/prediction.v1.avsc", "py.typed"):
        [found] = (tmp_path / "worker").glob(f"lib/*/site-packages/tidegate/{file}")
        assert found.stat().st_size or file == "py.typed"


def _is_shipped(path: Path) -> bool:
    parts = path.relative_to(ROOT).parts
    if parts[0] == "tidegate":
        return parts[1:] == ("__main__.py",)
    return parts[0] in ("schemas", "streams", "agents", "infra")
