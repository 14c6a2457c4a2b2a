"""The demo's models: real, different, and one of them wrong in the way the story needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidegate.agents.demo.models import (
    TRAINING_SEGMENTS,
    Features,
    Model,
    load,
    save,
    segments,
    train,
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    """The models as serving processes get them."""
    artifact = tmp_path_factory.mktemp("models") / "models.pickle"
    save(train(), artifact)
    return load(artifact)


@pytest.fixture(scope="module")
def unseen() -> list[tuple[Features, str]]:
    """Images that no model was trained on."""
    return [(features, label) for features, label in segments()[TRAINING_SEGMENTS:]]


def accuracy(model: Model, images: list[tuple[Features, str]]) -> float:
    """Share of right answers."""
    return sum(model(features) == label for features, label in images) / len(images)


def test_the_careful_model_is_better(
    models: dict[str, Model], unseen: list[tuple[Features, str]]
) -> None:
    """On images they never saw, careful beats the champion by more than ten points."""
    assert 0.65 < accuracy(models["champion"], unseen) < 0.78
    assert accuracy(models["careful"], unseen) > 0.85


def test_the_hasty_model_harms_and_shadow_cannot_tell(
    models: dict[str, Model], unseen: list[tuple[Features, str]]
) -> None:
    """It is right far less often than the champion, yet agrees often enough to pass the shadow."""
    champion, hasty = models["champion"], models["hasty"]
    assert accuracy(hasty, unseen) < accuracy(champion, unseen) - 0.15
    differing = sum(champion(features) != hasty(features) for features, _ in unseen)
    assert differing / len(unseen) < 0.55


def test_artifacts_are_the_same_everywhere(tmp_path: Path) -> None:
    """Training has no hidden chance: two trainings give models that answer alike."""
    save(train(), tmp_path / "one")
    save(train(), tmp_path / "two")
    one, two = load(tmp_path / "one")["careful"], load(tmp_path / "two")["careful"]
    images = segments()[TRAINING_SEGMENTS : TRAINING_SEGMENTS + 100]
    assert [one(features) for features, _ in images] == [two(features) for features, _ in images]
