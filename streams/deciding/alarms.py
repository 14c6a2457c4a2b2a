"""What a person must hear of: log time has passed and something has not happened."""

from __future__ import annotations

from tidegate.streams.deciding.clients import Clients
from tidegate.streams.deciding.experiment import ExperimentState, Unconfirmed
from tidegate.streams.deciding.records import Journal
from tidegate.streams.deciding.sequences import Sequences
from tidegate.streams.wording import listing

CONFIRM_MS = 10_000
"""Log time after which an automatic rollback that is not confirmed is an alarm."""

NAMED_MAX = 5


def gaps(journal: Journal, sequences: Sequences, log_time_ms: int) -> None:
    """A missing batch that did not come again."""
    for source in sequences.overdue(log_time_ms):
        expected = sequences.expected[source]
        reason = (
            f"source partition {source}: batch {expected} has been missing for 10 s; its joiner"
            " sends it again when it starts anew. If it is lost for good: tidegate mark gap"
            f" --partition {journal.partition} --source-partition {source} --sequence N, where N"
            " is the first batch that is there"
        )
        journal.alert(f"gap/{journal.partition}/{source}", reason, log_time_ms)


def unconfirmed_rollbacks(
    journal: Journal, state: ExperimentState, clients: Clients, log_time_ms: int
) -> None:
    """An automatic rollback that live clients have not confirmed; forgotten once they have."""
    state.unconfirmed = [
        item
        for item in state.unconfirmed
        if _still_missing(journal, state, item, clients, log_time_ms)
    ]


def _still_missing(
    journal: Journal,
    state: ExperimentState,
    item: Unconfirmed,
    clients: Clients,
    log_time_ms: int,
) -> bool:
    found = clients.rolled_back(
        state.name,
        item.generation,
        item.variant,
        item.epoch,
        item.version,
        item.decided_at_ms,
        log_time_ms,
    )
    if not found.missing:
        return False
    if not item.alerted and log_time_ms - item.decided_at_ms >= CONFIRM_MS:
        item.alerted = True
        reason = (
            f"rollback of {item.variant} is confirmed by {found.confirmed} of {found.live} clients"
            f" after 10 s; missing: {listing(found.missing[:NAMED_MAX])}"
        )
        arguments = {"variant": item.variant, "missing": str(len(found.missing))}
        subject = f"rollback/{state.name}/{item.version}"
        journal.alert(subject, reason, log_time_ms, state, arguments)
    return True
