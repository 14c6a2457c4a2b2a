"""`tidegate status`: which decision ends the waiting, and with which exit code."""

from __future__ import annotations

import threading
import time

import pytest

from tests.agents.commands.recorded import NAME, Recorder, run
from tests.schemas.samples import event
from tidegate.agents.commands.status import outcome_of
from tidegate.agents.settings import Settings
from tidegate.schemas.events import Decision


@pytest.mark.parametrize(
    ("phase", "action", "verdict", "step", "release", "one_step"),
    [
        ("RUNNING", "APPLY", "", 1, None, None),
        ("RUNNING", "ADVANCE", "PASS", 2, None, 0),
        ("RUNNING", "STEP_BACK", "FAIL", 0, None, 1),
        ("RUNNING", "HOLD", "NO_DATA", 1, None, None),
        ("PAUSED", "PAUSE", "", 1, None, None),
        ("PAUSED", "PAUSE", "FAIL", 1, 1, 1),
        ("PAUSED", "PAUSE", "INCONCLUSIVE", 1, 1, 1),
        ("PROMOTED", "PROMOTE", "PASS", 3, 0, 0),
        ("COMPLETED", "FINISH", "PASS", 3, 0, 0),
        ("COMPLETED", "FINISH", "FAIL", 1, 1, 1),
        ("ROLLED_BACK", "ROLLBACK", "FAIL", 1, 1, 1),
        ("ABORTED", "ABORT", "", 1, 1, 1),
    ],
)
def test_the_decision_that_ends_it(
    phase: str, action: str, verdict: str, step: int, release: int | None, one_step: int | None
) -> None:
    """0 well, 1 badly or not without a person, None: it goes on; step 1 was waited for."""
    last = event("decision", phase=phase, action=action, verdict=verdict, step=step)
    assert isinstance(last, Decision)
    assert (outcome_of(last, None), outcome_of(last, 1)) == (release, one_step)


def test_a_flag_is_not_waited_for(
    embedded_settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has no end: that is said at once, with where to look; one that was ended has."""
    recorder = Recorder(embedded_settings)
    recorder.decide(1, "REFUSED", phase="IDLE", step=-1)
    assert run(embedded_settings, capsys, "status", NAME, "--timeout", "100ms").code == 4
    recorder.decide(2, phase="RUNNING", step=-1)
    recorder.decide(3, "REFUSED", phase="RUNNING", step=-1)
    answer = run(embedded_settings, capsys, "status", NAME, "--timeout", "1h")
    assert answer.code == 2
    assert "a flag has no end" in answer.err
    assert f"`tidegate get {NAME}`" in answer.err
    recorder.decide(4, "ABORT", phase="ABORTED", step=-1)
    assert run(embedded_settings, capsys, "status", NAME).code == 1


def test_it_waits_for_a_decision_to_come(
    embedded_settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """Time out with 4 and where it stands; then the decision comes, and tells."""
    recorder = Recorder(embedded_settings)
    recorder.decide(1, phase="RUNNING", step=0)
    late = run(embedded_settings, capsys, "status", NAME, "--timeout", "500ms")
    assert late.code == 4
    assert "has not ended within" in late.err

    def promote() -> None:
        time.sleep(1.0)
        recorder.decide(2, "PROMOTE", phase="PROMOTED", step=1, verdict="PASS")

    person = threading.Thread(target=promote)
    person.start()
    answer = run(embedded_settings, capsys, "status", NAME, "-o", "json", "--timeout", "30s")
    person.join()
    assert (answer.code, answer.json["action"]) == (0, "PROMOTE")
