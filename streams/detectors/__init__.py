"""Drift detectors, one algorithm a file; each is fed raw observations scaled to 0..1.

A detector belongs to one variant and metric: rewards of all variants together drift whenever the
weights move. Batch means are never fed: ADWIN misses changes in them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from tidegate.streams.detectors.adwin import Adwin
from tidegate.streams.detectors.detector import Detector
from tidegate.streams.detectors.page_hinkley import PageHinkley

DETECTORS: Final[Mapping[str, Callable[[], Detector]]] = {
    "adwin": Adwin,
    "page_hinkley": PageHinkley,
}

__all__ = ["DETECTORS", "Adwin", "Detector", "PageHinkley"]
