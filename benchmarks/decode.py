"""Decoding: microseconds per record, runs together against fastavro alone, in one run."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from fastavro import schemaless_reader

from benchmarks.report import best_of, heading, line
from benchmarks.workload import Workload
from tidegate.schemas import catalogue, codec
from tidegate.schemas.decoding.outcomes import OutcomeDecoder
from tidegate.schemas.decoding.predictions import PredictionDecoder
from tidegate.schemas.decoding.shadows import ShadowDecoder

_TOPICS: dict[str, tuple[str, Any]] = {
    "predictions": ("prediction", PredictionDecoder),
    "shadow-predictions": ("shadow-prediction", ShadowDecoder),
    "outcomes": ("outcome", OutcomeDecoder),
}
_RUNS = (50, 250, 1_000)
_REPEATS = 7


def _measure(name: str, decoder: Any, values: list[bytes]) -> None:
    newest = catalogue.latest(name)

    def fastavro_alone() -> int:
        for value in values:
            schemaless_reader(BytesIO(value[10:]), newest.parsed, None)
        return len(values)

    def one_by_one() -> int:
        for value in values[:1_000]:
            codec.decode_record(name, value)
        return 1_000

    alone, _ = best_of(3, fastavro_alone)
    single, _ = best_of(3, one_by_one)
    line(f"{name}: fastavro alone", alone * 1e6, "us")
    line(f"{name}: codec with structure check", single * 1e6, "us")
    for size in _RUNS:

        def together(size: int = size) -> int:
            for start in range(0, len(values), size):
                found = decoder.decode(values, start, min(start + size, len(values)))
                assert not found.faults
            return len(values)

        together()
        seconds, _ = best_of(_REPEATS, together)
        line(f"{name}: runs of {size}", seconds * 1e6, "us", f"{alone / seconds:.1f} x fastavro")


def main() -> None:
    """Measure the three hot records, and predictions with 16 features."""
    heading("Decoding, best of 7, guards included")
    for features in (0, 16):
        produced = list(Workload(8_000, features=features).produced())
        for topic, (name, kind) in _TOPICS.items():
            values = [item.value for item in produced if item.topic == topic]
            if not features or topic == "predictions":
                if features:
                    print(f"  -- with {features} features")
                _measure(name, kind(), values)


if __name__ == "__main__":
    main()
