"""Running models: candidates against the clock, shadows unseen and only when there is room."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from typing import Any

from tidegate.schemas import limits

_log = logging.getLogger(__name__)

Model = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Ran:
    """One call of a model. `status` is OK, ERROR or TIMEOUT; `error` is what it raised."""

    value: Any
    status: str
    latency_ms: float
    error: Exception | None = None


class Runner:
    """Two bounded pools of threads, made when they are first needed."""

    def __init__(self, model_workers: int, shadow_workers: int, shadow_waiting: int) -> None:
        self._model_workers = model_workers
        self._shadow_workers = shadow_workers
        self._room = threading.BoundedSemaphore(model_workers)
        self._shadow_room = threading.BoundedSemaphore(shadow_waiting)
        self._models: ThreadPoolExecutor | None = None
        self._shadows: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    def run(self, model: Model, features: Any, seconds: float | None = None) -> Ran:
        """Calls a model; with `seconds`, gives it up after that time.

        A model that was given up still occupies its thread until it returns; when all are
        occupied, further calls count as timed out at once instead of queueing behind them.
        """
        if seconds is None:
            return _call(model, features)
        began = time.perf_counter()
        if not self._room.acquire(blocking=False):
            return Ran(None, "TIMEOUT", 0.0)

        def call() -> Ran:
            try:
                return _call(model, features)
            finally:
                self._room.release()

        try:
            return self._model_pool().submit(call).result(seconds)
        except FutureTimeout:
            return Ran(None, "TIMEOUT", 1_000.0 * (time.perf_counter() - began))

    def shadow(self, model: Model, features: Any, then: Callable[[Ran], None]) -> bool:
        """Calls a model when a thread is free; False, and nothing is called, when too many wait."""
        if not self._shadow_room.acquire(blocking=False):
            return False

        def call() -> None:
            try:
                then(_call(model, features))
            except Exception:
                _log.exception("a shadow prediction could not be told")
            finally:
                self._shadow_room.release()

        self._shadow_pool().submit(call)
        return True

    def close(self) -> None:
        """Takes nothing more; shadows that wait are dropped, those that run end by themselves."""
        for pool in (self._models, self._shadows):
            if pool is not None:
                pool.shutdown(wait=False, cancel_futures=True)

    def _model_pool(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._models is None:
                self._models = ThreadPoolExecutor(self._model_workers, "tidegate-model")
            return self._models

    def _shadow_pool(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._shadows is None:
                self._shadows = ThreadPoolExecutor(self._shadow_workers, "tidegate-shadow")
            return self._shadows


def _call(model: Model, features: Any) -> Ran:
    began = time.perf_counter()
    try:
        value = model(features)
    except Exception as error:
        return Ran(None, "ERROR", 1_000.0 * (time.perf_counter() - began), error)
    return Ran(value, "OK", 1_000.0 * (time.perf_counter() - began))


def told(value: Any) -> tuple[float | None, str | None]:
    """(score, label) of a model's answer: a finite number is a score, a text a label.

    Whatever its conversion raises, the model has answered: then there is nothing to tell.

    >>> told(0.25), told("cat"), told([1, 2])
    ((0.25, None), (None, 'cat'), (None, None))
    """
    try:
        if isinstance(value, str):
            return None, value if 0 < len(value.encode()) <= limits.NAME_BYTES_MAX else None
        score = float(value)
    except Exception:
        return None, None
    return (score, None) if math.isfinite(score) else (None, None)


def numeric(features: Any) -> dict[str, float] | None:
    """Features as they can be logged: a map of at most 64 finite numbers, else None."""
    try:
        if not isinstance(features, Mapping) or not 0 < len(features) <= limits.FEATURES_MAX:
            return None
        found = {str(name): float(value) for name, value in features.items()}
    except Exception:
        return None  # a service is answered whatever its features are
    return found if all(map(math.isfinite, found.values())) else None
