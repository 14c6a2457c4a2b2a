"""Pinned topics: other ones of the same names, and more partitions, are noticed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.agents.hosting.bench import TOPICS
from tests.agents.hosting.fakes import Stopped, raise_stop
from tidegate.agents.hosting import pins
from tidegate.agents.hosting.pins import Pin, PinWatch, check_ids, faults_of, read_pins
from tidegate.agents.hosting.snapshots import Manifest, pack
from tidegate.agents.settings import Settings
from tidegate.schemas.errors import DefinitionError, Unreachable
from tidegate.streams.folding import Checkpoint

IDS = ("a", "b", "c")
PINNED = tuple(Pin(name, topic_id, 4) for name, topic_id in zip(TOPICS, IDS, strict=True))


def manifest(topic_ids: tuple[str, ...] = IDS) -> Manifest:
    """A checkpoint taken of topics with these ids."""
    return pack("joiner", "e", Checkpoint(0, 1, (1, 0, 0), (1, 1, 1), b"", ""), topic_ids).manifest


def test_topics_are_pinned_as_the_cluster_tells(settings: Settings) -> None:
    """In rank order, with partitions; the embedded broker gives its topics no ids."""
    found = read_pins(settings, "decider")
    assert [pin.topic for pin in found] == [
        settings.topic(name) for name in ("control", "applied", "observations")
    ]
    assert {pin.partitions for pin in found} == {4}
    ids = {pin.topic_id for pin in found}
    assert ids == {""} or len(ids - {""}) == 3
    assert read_pins(settings, "decider") == found


def test_a_topic_that_is_gone_is_said(settings: Settings) -> None:
    """By name, with what can be done."""
    with pytest.raises(DefinitionError, match=r"nothing\.predictions.*: gone; .*`prefix`"):
        read_pins(replace(settings, prefix="nothing."), "joiner")


def test_a_checkpoint_of_other_topics_is_refused() -> None:
    """One that was made anew is named; where ids are not known nothing can be said."""
    check_ids(manifest(), TOPICS, IDS)
    check_ids(manifest(), TOPICS, ("", "", ""))
    check_ids(manifest(()), TOPICS, IDS)
    with pytest.raises(DefinitionError, match="deleted and made anew") as refused:
        check_ids(manifest(), TOPICS, ("a", "b", "d"))
    assert refused.value.faults == (f"{TOPICS[2]}: its id is d, the checkpoint was taken of c",)


def test_what_became_of_a_topic_is_said() -> None:
    """Made anew, or grown; with what to do about either."""
    assert faults_of(PINNED, PINNED) == ()
    anew, grown = replace(PINNED[0], topic_id="z"), replace(PINNED[1], partitions=6)
    first, second = faults_of(PINNED, (anew, grown, PINNED[2]))
    assert "predictions was deleted and made anew" in first
    assert "has 6 partitions, it had 4" in second
    assert "`prefix`" in first
    assert "`partitions`" in second


def watching(monkeypatch: pytest.MonkeyPatch, *answers: object) -> PinWatch:
    """A watch that began with PINNED; the cluster then gives these answers, one a look."""
    told = iter([PINNED, *answers])

    def read(*_: object) -> object:
        answer = next(told)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(pins, "read_pins", read)
    return PinWatch(Settings(), "joiner", raise_stop)


GONE = DefinitionError("predictions: gone")




def test_a_change_ends_the_process_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the operator's fault: starting again would not mend it."""
    anew = (replace(PINNED[0], topic_id="z"), *PINNED[1:])
    watch = watching(monkeypatch, PINNED, anew)
    watch.look()
    with pytest.raises(Stopped) as stopped:
        watch.look()
    assert isinstance(stopped.value.__cause__, DefinitionError)


def test_a_topic_must_be_missing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that has just started may not know it yet; one that does not answer says nothing."""
    watch = watching(monkeypatch, GONE, PINNED, GONE, Unreachable("away"), GONE)
    for _ in range(4):
        watch.look()
    with pytest.raises(Stopped, match="gone"):
        watch.look()


def test_a_fetch_that_fails_for_another_topic_is_told_as_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The reason is what is behind it; when nothing is, the failure itself."""
    with pytest.raises(Stopped, match="gone"):
        watching(monkeypatch, GONE).fail("fetching failed")
    with pytest.raises(Stopped, match="fetching failed"):
        watching(monkeypatch, PINNED).fail("fetching failed")
    with pytest.raises(Stopped, match="fetching failed"):
        watching(monkeypatch, Unreachable("away")).fail("fetching failed")
