"""Schedules as manifests write them: refused with line and remedy when they are no times."""

from __future__ import annotations

import pytest

from tests.schemas.manifest.samples import MANIFEST, spoilt
from tidegate.schemas.errors import DefinitionError, EventError
from tidegate.schemas.manifest import ExperimentSpec, read_manifest

SCHEDULE = MANIFEST + """\
  schedule:
    time_zone: Europe/Berlin
    start: "2026-12-01 09:00"
    freeze:
      - {from: "2026-12-24 00:00", to: "2026-12-27 00:00"}
      - {weekly: "fri 16:00 - mon 08:00"}
"""

FAULTS = [
    ("2026-12-01 09:00", "2026-13-01 09:00", 28, "there is no 2026-13-01; write a day of"),
    ("2026-12-01 09:00", "2026-02-29 09:00", 28, "there is no 2026-02-29"),
    ("2026-12-01 09:00", "2026-12-01", 28, 'is not a local time; write "2026-12-01 09:00"'),
    ("2026-12-01 09:00", "2026-12-01 24:00", 28, "a time of day that no clock shows"),
    ('"2026-12-01 09:00"', "tomorrow", 28, "tomorrow is not a local time"),
    ("start:", "start_ms:", 28, "apply works it out from what is written; remove it"),
    ("start:", "strat:", 28, "did you mean start?"),
    ("time_zone: Europe/Berlin", "time_zone: 1", 27, "1 is a number, and text is needed"),
    ("2026-12-27", "2026-12-23", 30, "2026-12-23 00:00 is not after 2026-12-24 00:00; write a"),
    (', to: "2026-12-27 00:00"', "", 30, "a freeze is either once or weekly"),
    ('weekly: "fri', 'from: "2026-12-24 00:00", weekly: "fri', 31, "either once or weekly"),
    ("fri 16:00", "friday 16:00", 31, 'is not a weekly window; write "fri 16:00 - mon 08:00"'),
    ("mon 08:00", "fri 16:00", 31, "is empty or for ever; write when it ends"),
    ("weekly:", "daily:", 31, "daily is not known here"),
]


@pytest.mark.parametrize(("old", "new", "line", "said"), FAULTS)
def test_a_fault_is_told_with_its_line_and_remedy(old: str, new: str, line: int, said: str) -> None:
    """One fault in a manifest is one message that begins with file and line."""
    with pytest.raises(DefinitionError) as caught:
        read_manifest(spoilt(old, new, SCHEDULE), "f.yaml")
    faults = caught.value.faults
    assert any(fault.startswith(f"f.yaml:{line}: ") and said in fault for fault in faults), faults


def test_a_flag_has_no_schedule() -> None:
    """People move it, at once: a schedule would promise what nobody keeps."""
    text = SCHEDULE[: SCHEDULE.index("  release:")] + "  flag: {}\n"
    text += SCHEDULE[SCHEDULE.index("  schedule:") :]
    with pytest.raises(DefinitionError) as caught:
        read_manifest(text, "f.yaml")
    assert "a flag is moved by people, at once; remove spec.schedule" in caught.value.faults[0]


def test_the_decider_takes_only_what_was_worked_out() -> None:
    """It has no calendar: a local time on the wire is refused."""
    spec = read_manifest(SCHEDULE, "f.yaml").spec
    assert spec.schedule is not None
    assert spec.schedule.written[:2] == ("Europe/Berlin", "2026-12-01 09:00")
    with pytest.raises(EventError, match="not in UTC"):
        ExperimentSpec.from_json(spec.to_json())
