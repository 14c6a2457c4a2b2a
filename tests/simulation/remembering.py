"""What is pure and slow is done once: a schedule asks the same again and again.

Every record is read by a worker, by the one that comes after it, by the fold that never crashed, by
two services and by the checks. All of these functions depend on their arguments alone, nobody
changes what they give, and no bug is planted in any: outputs and states are compared all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from tests.simulation.joined import batch_of
from tidegate.agents.client import subscriber
from tidegate.schemas import codec
from tidegate.schemas.errors import EventError
from tidegate.schemas.events import BucketRange, Event
from tidegate.schemas.facts import ObservationBatch
from tidegate.schemas.manifest.spec import ExperimentSpec
from tidegate.streams import routing
from tidegate.streams.deciding import counting, experiment, placement
from tidegate.streams.estimation import Summary
from tidegate.streams.estimation.strata import Arm, Pair
from tidegate.streams.inference import best, difference, share
from tidegate.streams.inference.interval import Interval
from tidegate.streams.joining import batches
from tidegate.streams.joining.contexts import Interned
from tidegate.streams.joining.tables import Rows, Shared, shared_and_tables
from tidegate.streams.policies import thompson
from tidegate.streams.verification import decisions

EventKind = TypeVar("EventKind", bound=Event)
Change = tuple[Any, str, Any]

_RECORDS_KEPT = 4_096
_NUMBERS_KEPT = 16_384
_SPECS_KEPT = 1_024
_SUMMARIES_KEPT = 512

_decode_as, _decode_record = codec.decode_as, codec.decode_record
_interval, _probabilities = difference.interval, best.probabilities
_to_json = ExperimentSpec.to_json


def decode_as(
    kind: type[EventKind], value: bytes | None, bindings: codec.Bindings | None = codec.NO_BINDINGS
) -> EventKind:
    """Stands in for `codec.decode_as`."""
    if not value or value[0] == 0:  # what bindings say concerns Confluent's framing alone
        return _decode_as(kind, value, bindings)
    name: Any = kind  # mypy does not know that classes can be hashed
    found = _event(name, value)
    if isinstance(found, tuple):
        raise EventError(*found)
    event: EventKind = found
    return event


def decode_record(
    name: str, value: bytes | None, bindings: codec.Bindings | None = codec.NO_BINDINGS
) -> dict[str, Any]:
    """Stands in for `codec.decode_record`; whoever takes the fields copies them."""
    if not value or value[0] == 0:
        return _decode_record(name, value, bindings)
    found = _fields(name, value)
    if isinstance(found, tuple):
        raise EventError(*found)
    fields: dict[str, Any] = found
    return fields


@lru_cache(_RECORDS_KEPT)
def _fields(name: str, value: bytes) -> Any:
    try:
        return _decode_record(name, value)
    except EventError as error:
        return error.reason, error.detail


@lru_cache(_RECORDS_KEPT)
def _event(kind: type[Event], value: bytes) -> Any:
    try:
        return _decode_as(kind, value)
    except EventError as error:
        return error.reason, error.detail


def _allocate(
    weights: Mapping[str, int], previous: Sequence[BucketRange] = ()
) -> tuple[BucketRange, ...]:
    return _allocated(tuple(sorted(weights.items())), tuple(previous))


@lru_cache(_RECORDS_KEPT)
def _allocated(
    weights: tuple[tuple[str, int], ...], previous: tuple[BucketRange, ...]
) -> tuple[BucketRange, ...]:
    return routing.allocate(dict(weights), previous)


def _compare(pairs: Sequence[Pair], alpha: float, relative: bool, binary: bool) -> Interval | None:
    return _compared(tuple(pairs), alpha, relative, binary)


_compared = lru_cache(_NUMBERS_KEPT)(_interval)


def _chances(arms: Sequence[Arm], goal: Any) -> Any:
    found = _chances_of(tuple(arms), goal)
    return None if found is None else dict(found)


_chances_of = lru_cache(_NUMBERS_KEPT)(_probabilities)

_summaries: dict[int, tuple[ObservationBatch, Summary]] = {}
"""By identity of the batch, which is held here as long as it is looked up."""


def _summary(batch: ObservationBatch) -> Summary:
    found = _summaries.get(id(batch))
    if found is None:
        if len(_summaries) >= _SUMMARIES_KEPT:
            _summaries.clear()
        found = _summaries[id(batch)] = (batch, Summary(batch))
    return found[1]


_tables: dict[Any, Any] = {}


def _shared_and_tables(rows: Rows, interned: Interned) -> Shared:
    """By the rows and by whatever their numbers may mean."""
    known = (interned.tails, interned.shadow_tails, interned.attributes, interned.names,
             interned.layouts)  # fmt: skip
    key = (*rows.dump(), *(tuple(interner.items) for interner in known))
    found = _tables.get(key)
    if found is None:
        if len(_tables) >= _SUMMARIES_KEPT:
            _tables.clear()
        found = _tables[key] = shared_and_tables(rows, interned)
    shared: Shared = found
    return shared


_specs: dict[int, tuple[ExperimentSpec, str]] = {}
"""By identity: a spec is frozen, and held here as long as it is looked up."""


def _spec_json(self: ExperimentSpec) -> str:
    found = _specs.get(id(self))
    if found is None:
        if len(_specs) >= _SPECS_KEPT:
            _specs.clear()
        found = _specs[id(self)] = (self, _to_json(self))
    return found[1]


def _spec_from_json() -> Any:
    right: Callable[[str], ExperimentSpec] = ExperimentSpec.from_json
    return staticmethod(lru_cache(_SPECS_KEPT)(right))


CHANGES: tuple[Change, ...] = (
    (codec, "decode_as", decode_as),
    (codec, "decode_record", decode_record),
    (subscriber, "decode_as", decode_as),
    (decisions, "decode_as", decode_as),
    (placement, "decode_observation", batch_of),
    (counting, "Summary", _summary),
    (batches, "shared_and_tables", _shared_and_tables),
    (experiment, "allocate", _allocate),
    (ExperimentSpec, "from_json", _spec_from_json()),
    (ExperimentSpec, "to_json", _spec_json),
    (difference, "interval", _compare),
    (share, "bound", lru_cache(_NUMBERS_KEPT)(share.bound)),
    (thompson, "probabilities", _chances),
)
"""To be swapped in while a schedule is played."""
