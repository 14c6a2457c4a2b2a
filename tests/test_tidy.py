"""What a reader may rely on anywhere in the repository."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

from tidegate.schemas.topics import TOPICS

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("schemas", "streams", "agents", "infra", "tidegate", "tests", "benchmarks")
ALGORITHMS = ("detectors", "inference", "policies")
FUNCTION_LINES_MAX = 60
MODULE_LINES_MAX = 300
TEST_LINES_MAX = 600
MARKS = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" * 3, "HA" + "CK")) + r")\b")
BARE_IGNORE = re.compile(r"#\s*type:\s*ignore(?!\[)|#\s*noqa(?!: [A-Z])")


def tracked(*patterns: str) -> list[Path]:
    """Files under version control, or about to be, that match."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def sources() -> list[Path]:
    """All Python modules."""
    return tracked(*(f"{folder}/*.py" for folder in FOLDERS))


def shown(path: Path) -> str:
    """A path as a reader names it."""
    return str(path.relative_to(ROOT))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """All functions of a module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_modules_and_functions_fit_on_a_screen_or_two() -> None:
    """Modules stay within 300 lines, tests within 600, and functions within 60."""
    long = [shown(path) for path in sources() if len(lines(path)) > lines_max(path)]
    long += [
        f"{shown(path)}: {node.name}"
        for path in sources()
        for node in functions(path)
        if (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert not long, "\n".join(long)


def lines_max(path: Path) -> int:
    """How long a module may be: cases of a test stand side by side, ideas of a module do not."""
    return TEST_LINES_MAX if shown(path).startswith("tests/") else MODULE_LINES_MAX


def lines(path: Path) -> list[str]:
    """Lines of a file."""
    return path.read_text(encoding="utf-8").splitlines()


def test_no_mark_of_unfinished_work_is_left() -> None:
    """No such marks, and no exception from a check without its code."""
    faults = [
        f"{shown(path)}:{number}"
        for path in sources()
        for number, line in enumerate(lines(path), start=1)
        if MARKS.search(line) or BARE_IGNORE.search(line)
    ]
    assert not faults, "\n".join(faults)


def test_public_names_exist() -> None:
    """Every name in `__all__` is bound."""
    missing = []
    for path in tracked("schemas/*.py", "streams/*.py", "agents/*.py", "infra/*.py"):
        if "__all__" in path.read_text(encoding="utf-8"):
            dotted = ".".join(("tidegate", *path.relative_to(ROOT).with_suffix("").parts))
            module = importlib.import_module(dotted.removesuffix(".__init__"))
            missing += [f"{dotted}.{name}" for name in module.__all__ if not hasattr(module, name)]
    assert not missing, "\n".join(missing)


def test_every_test_says_the_rule_it_holds() -> None:
    """Each test function has a docstring."""
    silent = [
        f"{shown(path)}: {node.name}"
        for path in tracked("tests/*.py")
        for node in functions(path)
        if node.name.startswith("test_") and not ast.get_docstring(node)
    ]
    assert not silent, "\n".join(silent)


def test_tests_mirror_the_core() -> None:
    """streams/x.py is tested by tests/streams/test_x.py, streams/x/ by tests/streams/x/."""
    tests = ROOT / "tests" / "streams"
    missing = [
        shown(path)
        for path in tracked("streams/*.py")
        if any(functions(path))
        and not (tests / f"test_{path.name}").exists()
        and not list((tests / path.parent.name).glob("test_*.py"))
    ]
    assert not missing, "\n".join(missing)


def test_every_algorithm_names_its_source() -> None:
    """A plug-in's module gives the reference its formulas come from: a year, or an address."""
    patterns = [f"streams/{folder}/*.py" for folder in ALGORITHMS]
    silent = [
        shown(path)
        for path in tracked(*patterns)
        if path.stem not in ("__init__", path.parent.name.removesuffix("s"))
        and not re.search(r"\b(19|20)\d\d\b|https?://", path.read_text(encoding="utf-8"))
    ]
    assert not silent, "\n".join(silent)


def test_exceptions_from_the_linter_have_reasons() -> None:
    """Each ignored rule in pyproject.toml stands on a line with a comment."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lint = tomllib.loads(text)["tool"]["ruff"]["lint"]
    for code in lint["ignore"]:
        assert re.search(rf'"{code}",\s+# \w+', text), code


def test_every_contract_is_spoken_on_a_topic() -> None:
    """Each released schema belongs to a topic, and each topic's schema is there."""
    released = {path.name.split(".")[0] for path in tracked("schemas/avro/*.avsc")}
    assert released == {topic.schema for topic in TOPICS.values() if topic.schema is not None}
