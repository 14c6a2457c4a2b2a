"""What readers of the outputs count, held against the logs: in facts, and request by request."""

from __future__ import annotations

from collections import Counter, defaultdict

from tests.faults.rows import Row
from tests.integration.world import Identity, identify, reference
from tidegate.agents.kafka import read_topic
from tidegate.agents.settings import Settings
from tidegate.schemas.codec import decode_as
from tidegate.schemas.decoding.hashes import digests
from tidegate.schemas.errors import EventError
from tidegate.schemas.events import Prediction
from tidegate.schemas.observation_reading import decode_observation

_COUNTED = ("exposure", "shadow", "matched", "closed", "irregular")


class Judge:
    """Knows what the logs must give; the logs must not grow any more."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._expected = reference(settings)
        self._requests = requests(settings)

    def judge(self, row: Row) -> bool:
        """Fill in what readers lost and doubled by now; whether nothing is missing.

        Readers drop copies of equal bytes. What then differs from the calm fold of the same logs
        is lost or doubled, fact by fact; and each request must be told as closed exactly once,
        which is counted without any fold.
        """
        seen: dict[Identity, set[bytes]] = defaultdict(set)
        row.copies = 0
        for name in ("observations", "dead-letters"):
            for record in read_topic(self._settings, name):
                if record.value is not None:
                    values = seen[identify(name, record.partition, record.value)]
                    row.copies += record.value in values
                    values.add(record.value)
        closed = Counter(
            int(request)
            for (name, _, _), values in seen.items()
            if name == "observations"
            for value in values
            for request in decode_observation(value).tables["closed"]["request"]
        )
        never = len(self._requests - closed.keys())
        twice = sum(closed.values()) - len(self._requests & closed.keys())
        row.requests = len(self._requests)
        row.facts = sum(_facts(where, value) for where, value in self._expected.items())
        missing = sum(
            _facts(where, value)
            for where, value in self._expected.items()
            if value not in seen.get(where, ())
        )
        beyond = sum(
            _facts(where, value)
            for where, values in seen.items()
            for value in values
            if value != self._expected.get(where)
        )
        # An empty batch holds no fact, but readers wait for its number.
        gaps = sum(where not in seen for where in self._expected)
        row.lost = max(missing, never, gaps)
        row.doubled = max(beyond, twice)
        return not row.lost


def _facts(where: Identity, value: bytes) -> int:
    if where[0] != "observations":
        return 1
    batch = decode_observation(value)
    return sum(batch.count(kind) for kind in _COUNTED)


def requests(settings: Settings) -> set[int]:
    """First 8 bytes of the digests of all request ids that were predicted, once each."""
    ids = set()
    for record in read_topic(settings, "predictions"):
        if record.value is not None:
            try:
                ids.add(decode_as(Prediction, record.value).request_id.encode())
            except EventError:
                continue
    return {int.from_bytes(each[:8], "little") for each in digests(sorted(ids))}
