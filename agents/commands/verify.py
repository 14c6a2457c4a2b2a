"""`tidegate verify`: everything folded again from the topics and compared."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tidegate.agents.commands.logs import require_experiment, require_topics
from tidegate.agents.commands.options import EXIT_DONE, EXIT_NO, Output
from tidegate.agents.commands.printing import Bar, clock, print_facts
from tidegate.agents.settings import Settings
from tidegate.schemas.errors import DefinitionError
from tidegate.streams.verification.decisions import Covered
from tidegate.streams.verification.findings import Difference

_TOLD_MAX = 20


def run_verify(settings: Settings, name: str, since: str, until: str, output: Output) -> int:
    """Replay the topics and compare; 1 when something differs or nothing can be compared.

    Raises:
        DefinitionError: topics are missing, there is no such experiment, or a time cannot be read.
        Unreachable: no broker answers.
    """
    from tidegate.agents.replay import AUDITED, Replay

    since_ms = time_ms_of(since) if since else 0
    until_ms = time_ms_of(until) if until else None
    require_topics(settings, *AUDITED)
    if name:
        require_experiment(settings, name)
    with Bar("folding again") as bar:
        replay = Replay(settings, name, since_ms, until_ms, bar.advance)
        bar.expect(replay.total)
        report = replay.run()
    facts: dict[str, Any] = {
        "equal": report.equal,
        "engine": report.engine,
        "experiment": name or None,
        "records": report.records,
        "seconds": round(report.seconds, 3),
        "compared": {
            topic: {
                "recorded": tally.recorded, "copies": tally.copies, "derived": tally.derived,
                "equal": tally.equal, "unreadable": tally.unreadable,
            }
            for topic, tally in report.tallies.items()
        },
        "difference_count": len(report.differences),
        "differences": [_difference(it) for it in report.differences[:_TOLD_MAX]],
        "not_comparable": [
            {"topic": it.topic, "partition": it.partition, "why": it.why}
            for it in report.incomparable
        ],
        "accepted": [
            {
                "topic": it.topic, "partition": it.partition, "from": it.begin, "to": it.end,
                "reason": it.reason, "actor": it.actor, "accepted_at": it.accepted_at,
            }
            for it in report.accepted
        ],
        "first_observation": report.first_observation and _difference(report.first_observation),
        "first_decision": report.first_decision and _covered(report.first_decision),
    }  # fmt: skip
    print_facts(facts, output, lines_of)
    return EXIT_DONE if report.equal else EXIT_NO


def time_ms_of(text: str) -> int:
    """Milliseconds UTC of an ISO 8601 time (local when it names no zone) or of a number of ms.

    Raises:
        DefinitionError: it is neither.

    >>> time_ms_of("2026-01-01T00:00:00+00:00")
    1767225600000
    """
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1_000)
    except ValueError as error:
        raise DefinitionError(
            f"{text!r} is not a time; write 2026-11-21T14:30, with +00:00 for UTC, or milliseconds"
        ) from error


def lines_of(facts: dict[str, Any]) -> list[str]:
    """The report for people."""
    lines = []
    for topic, tally in facts["compared"].items():
        copies = f", {tally['copies']:,} copies" if tally["copies"] else ""
        unread = f", {tally['unreadable']:,} UNREADABLE" if tally["unreadable"] else ""
        lines.append(
            f"{topic:13} {tally['equal']:>9,} equal of {tally['recorded']:,} recorded"
            f"{copies}{unread}"
        )
    lines += [f"DIFFERS       {_sentence(it)}" for it in facts["differences"]]
    told = len(facts["differences"])
    if facts["difference_count"] > told:
        lines.append(f"              and {facts['difference_count'] - told} more")
    for it in facts["accepted"]:
        lines.append(
            f"ACCEPTED      {it['topic']}-{it['partition']} has nothing at offsets {it['from']} to"
            f" {it['to'] - 1}: {it['reason']} ({it['actor']}, {clock(it['accepted_at'])})"
        )
    for it in facts["not_comparable"]:
        where = it["topic"] if it["partition"] < 0 else f"{it['topic']}-{it['partition']}"
        lines.append(f"NOT COMPARED  {where}: {it['why']}")
    first, decision = facts["first_observation"], facts["first_decision"]
    if first:
        lines.append(f"The first observation that differs is {_sentence(first)}.")
        lines.append(
            f"The first decision whose evidence covers it is {decision['decision_id']}"
            f" at {clock(decision['log_time'])}."
            if decision
            else "No recorded decision rests on it."
        )
    if not any(tally["recorded"] for tally in facts["compared"].values()):
        lines.append(
            "There is nothing to verify: no agent's record is in these topics. Check --bootstrap"
            " and --prefix, or run `tidegate worker` first."
        )
        return lines
    rate = facts["records"] / max(facts["seconds"], 0.001)
    verdict = (
        "Every record follows from the logs, byte for byte"
        if facts["equal"]
        else "The logs do not give what was recorded"
    )
    lines.append(
        f"{verdict}: {facts['records']:,} records folded again by engine {facts['engine']}"
        f" in {facts['seconds']:.1f} s ({rate:,.0f} a second)."
    )
    return lines


def _sentence(difference: dict[str, Any]) -> str:
    place = f"{difference['topic']}-{difference['partition']}"
    if difference["offset"] >= 0:
        place += f" offset {difference['offset']}"
    when = f", log time {clock(difference['log_time'])}" if difference["log_time"] else ""
    return f"{difference['name']} ({place}{when}): {difference['what']}"


def _difference(difference: Difference) -> dict[str, Any]:
    return {
        "topic": difference.topic, "partition": difference.partition, "name": difference.name,
        "what": difference.what, "offset": difference.offset,
        "log_time": difference.log_time_ms,
    }  # fmt: skip


def _covered(decision: Covered) -> dict[str, Any]:
    return {
        "decision_id": decision.decision_id, "experiment": decision.experiment,
        "offset": decision.offset, "log_time": decision.log_time_ms,
    }  # fmt: skip
