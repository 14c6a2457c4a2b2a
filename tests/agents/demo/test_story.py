"""The story: a chapter is seen when records say so, in order, and never otherwise."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tidegate.agents.demo.story import CHAPTERS, Story
from tidegate.schemas.events import Applied, Decision, Event

A_DECISION = Decision(
    decision_id="image-tagger/0/1",
    control_id="order",
    experiment="image-tagger",
    epoch=0,
    version=1,
    generation=1,
    decided_at=0,
    watermark=0,
    step=0,
    phase="RUNNING",
    verdict="",
    action="APPLY",
    variant="",
    reason="because",
    evidence="{}",
    weights={"champion": 10_000, "hasty": 0},
    covers={},
    engine="",
    previous="",
)
ADVANCE = replace(
    A_DECISION, version=2, action="ADVANCE", weights={"champion": 8_000, "hasty": 2_000}
)
ROLLBACK = replace(
    A_DECISION, version=3, action="ROLLBACK", variant="hasty", verdict="FAIL", control_id=None
)
SECOND = replace(A_DECISION, version=4, generation=2, weights={"champion": 10_000})
CANARY = replace(SECOND, version=5, action="ADVANCE", weights={"champion": 8_000, "careful": 2_000})
BANDIT = replace(CANARY, version=6, weights={"champion": 5_000, "careful": 5_000})
PROMOTE = replace(
    BANDIT, version=7, action="PROMOTE", variant="careful", weights={"careful": 10_000}
)


def applied(client: str, version: int, *rolled_back: str, kind: str = "CHANGE") -> Applied:
    """What a client says."""
    return Applied(
        client_id=client,
        instance=client,
        experiment="image-tagger",
        epoch=0,
        version=version,
        generation=1,
        rolled_back=rolled_back,
        applied_at=0,
        kind=kind,
    )


WHOLE: list[Event | str] = [
    A_DECISION,
    ADVANCE,
    ROLLBACK,
    applied("one", 3, "hasty"),
    applied("two", 3, "hasty"),
    SECOND,
    CANARY,
    BANDIT,
    PROMOTE,
    applied("one", 7),
    applied("two", 7),
    "verified",
]


def played(events: list[Event | str]) -> Story:
    """A story that was told these events, on a stage where users are served."""
    story = Story(servers=2)
    story.served({"champion requests": 1})
    for event in events:
        if isinstance(event, Decision):
            story.decision(event)
        elif isinstance(event, Applied):
            story.applied(event)
        else:
            story.verified(str(event))
    return story


def test_the_whole_story_is_seen() -> None:
    """With every record in place each chapter is seen, in order, and nothing is missing."""
    story = played(WHOLE)
    assert list(story.told) == [chapter.title for chapter in CHAPTERS]
    assert story.missing == []


@pytest.mark.parametrize("left_out", range(len(WHOLE)))
def test_without_any_one_record_something_is_missing(left_out: int) -> None:
    """There is no record the demo could do without and still claim success."""
    story = played([event for index, event in enumerate(WHOLE) if index != left_out])
    assert story.missing


def test_a_rollback_by_a_person_is_not_the_guardrails() -> None:
    """Only a rollback that nobody ordered shows that the guardrail works."""
    story = played([*WHOLE[:2], replace(ROLLBACK, control_id="order"), *WHOLE[3:]])
    assert "a guardrail catches it and rolls it back" in story.missing


def test_every_live_client_must_confirm() -> None:
    """A third client that is live and has not said so leaves the rollback unconfirmed."""
    silent = applied("three", 2)
    story = played([*WHOLE[:3], silent, *WHOLE[3:5]])
    assert "every serving process confirms the rollback" in story.missing
    story.applied(applied("three", 2, kind="GOODBYE"))
    assert "every serving process confirms the rollback" not in story.missing


def test_a_heartbeat_confirms_nothing() -> None:
    """A client that only says it is alive has not said which table it runs."""
    story = played([*WHOLE[:3], applied("one", 3, "hasty"), applied("two", 0, kind="HEARTBEAT")])
    assert "every serving process confirms the rollback" in story.missing


def test_nobody_served_is_nothing_shown() -> None:
    """Without a user's request that the champion answered, the story does not begin."""
    story = Story(servers=2)
    story.decision(A_DECISION)
    assert story.told == {}
