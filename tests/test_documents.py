"""What the documents say is so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pictures import CANARY_PICTURE, canary_picture
from tidegate.schemas.flow import flow_diagram, topics_table

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def named(path: Path) -> str:
    """A document as test names show it."""
    return str(path.relative_to(ROOT))


def test_pictures_and_tables_are_drawn_from_the_topics() -> None:
    """The README's diagram and the operations page's table are what the topics table gives."""
    assert flow_diagram() in README
    assert topics_table() in (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def test_the_screen_in_the_readme_is_what_people_will_see() -> None:
    """Drawn again from the same seeded release it is the same: `python -m tests.pictures`."""
    assert CANARY_PICTURE.read_text(encoding="utf-8") == canary_picture()
    assert str(CANARY_PICTURE.relative_to(ROOT)) in README


def test_places_named_in_the_readme_exist() -> None:
    """Who looks where the table says finds something there."""
    places = re.findall(r"`((?:schemas|streams|agents|infra|benchmarks|examples)/[\w/.]*)`", README)
    assert len(places) > 20
    assert [place for place in places if not (ROOT / place).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    """Relative links point to files that are there."""
    links = re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", document.read_text("utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_tables_say_everything_once(document: Path) -> None:
    """No table has two rows about the same thing, of which one would be out of date."""
    tables = re.findall(r"(?:^\|.*\n)+", document.read_text("utf-8"), flags=re.MULTILINE)
    for table in tables:
        subjects = [row.split("|")[1].strip() for row in table.splitlines()[2:]]
        assert [name for name in subjects if subjects.count(name) > 1] == []


def test_promises_of_recovery_name_tests_that_are_there() -> None:
    """Every test that the page of faults says holds a promise exists."""
    page = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    table = page.split("## Merge and recovery, row by row")[1].split("## What remains")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][2:]
    assert len(rows) > 10
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row)
        assert named, row
        for file, test in named:
            assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8"), test


def test_commands_of_later_versions_are_told_to_those_who_read() -> None:
    """What `tidegate` refuses as not in this version stands in the changelog and in the manual."""
    from tidegate.agents.commands.main import LATER

    limits = (ROOT / "CHANGELOG.md").read_text("utf-8").split("### Known limits")[1]
    manual = (ROOT / "docs" / "cli.md").read_text("utf-8").split("Not in this version")[1]
    for text in (limits, manual):
        assert [name for name in LATER if f"`{name}`" not in text] == []


def test_commands_shown_in_the_readme_are_commands() -> None:
    """Every `tidegate ...` of the README is one that `tidegate --help` lists."""
    shown = set(re.findall(r"^(?:\s*)tidegate ([a-z-]+)", README, flags=re.MULTILINE))
    done = subprocess.run(
        [sys.executable, "-m", "tidegate", "--help"], capture_output=True, text=True, check=True
    )
    listed = set(re.findall(r"^  ([a-z-]+) ", done.stdout, flags=re.MULTILINE))
    assert {"apply", "watch", "rollback", "verify"} <= shown
    assert shown <= listed


def test_the_manifest_of_the_readme_is_sound() -> None:
    """The example can be copied and applied as it stands, and is the file that is shipped."""
    from tidegate.agents.commands.lint import load

    [manifest] = re.findall(r"```yaml\n(apiVersion.*?)```", README, flags=re.DOTALL)
    file = ROOT / "examples" / "click-ranker.yaml"
    assert file.read_text(encoding="utf-8") == manifest
    assert load(file).name == "click-ranker"


def test_files_and_settings_the_readme_types_are_there() -> None:
    """Commands shown can be pasted: manifests exist, and the broker's address is said first."""
    files = re.findall(r"^tidegate .* -f (\S+)", README, flags=re.MULTILINE)
    assert files
    assert [name for name in files if not (ROOT / name).exists()] == []
    assert README.index("export TIDEGATE_BOOTSTRAP=") < README.index("tidegate apply -f")
