"""Three versions of an image tagger, trained with River on a data set that River brings.

The data are the 2,310 image segments of the UCI repository (Image Segmentation, 1990): 18 features
of 3x3 pixels of outdoor images and what is in them (sky, grass, brick, ...). Models are trained on
the first part and serve the rest, which they have never seen.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Features = Mapping[str, float]
Model = Callable[[Features], str]

EXPERIMENT = "image-tagger"
TRAINING_SEGMENTS = 900
_CHAMPION_SEGMENTS = 120
_CAREFUL_EPOCHS = 4
_ROW = "region-centroid-row"
_EXPORTED_ROWS = 110


def segments() -> list[tuple[dict[str, float], str]]:
    """All image segments: features and label, in the order of the data set."""
    from river.datasets import ImageSegments

    return [(dict(features), str(label)) for features, label in ImageSegments()]


def train() -> dict[str, Any]:
    """River models by variant, trained on the first part of the data.

    `champion` saw little, some time ago. `hasty` was trained on an export that ends in the middle
    of the images: it has never seen the ground. `careful` saw everything several times.
    """
    from river import linear_model, multiclass, optim, preprocessing

    known = segments()[:TRAINING_SEGMENTS]
    champion = preprocessing.StandardScaler() | linear_model.SoftmaxRegression()
    for features, label in known[:_CHAMPION_SEGMENTS]:
        champion.learn_one(features, label)
    hasty = preprocessing.StandardScaler() | linear_model.SoftmaxRegression()
    for features, label in known:
        if features[_ROW] < _EXPORTED_ROWS:
            hasty.learn_one(features, label)
    learner = multiclass.OneVsRestClassifier(linear_model.LogisticRegression(optim.SGD(0.1)))
    careful = preprocessing.StandardScaler() | learner
    for features, label in known * _CAREFUL_EPOCHS:
        careful.learn_one(features, label)
    return {"champion": champion, "hasty": hasty, "careful": careful}


def save(models: Mapping[str, Any], path: Path) -> None:
    """Write models as an artifact for the serving processes."""
    path.write_bytes(pickle.dumps(dict(models)))


def load(path: Path) -> dict[str, Model]:
    """Callables by variant from an artifact that `save` wrote in this same run."""
    models = pickle.loads(path.read_bytes())

    def answering(name: str) -> Model:
        return lambda features: str(models[name].predict_one(dict(features)))

    return {name: answering(name) for name in models}
