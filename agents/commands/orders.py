"""A person's order: written to `control`, answered by the decider with exactly one decision."""

from __future__ import annotations

import getpass
import os
import time
import uuid
from collections.abc import Mapping

from tidegate.agents.cloudevents import cloudevent_headers
from tidegate.agents.commands.logs import event_in, experiment_partition, require_topics
from tidegate.agents.commands.options import Refused, TimeRanOut
from tidegate.agents.kafka import Tail
from tidegate.agents.settings import Settings
from tidegate.agents.writing import write_acknowledged
from tidegate.schemas.codec import encode
from tidegate.schemas.errors import DefinitionError, EventError, Unreachable
from tidegate.schemas.events import Control, Decision

OPERATOR_ROLE = "operator"
SOURCE = "/tidegate/commands"
ANSWER_SECONDS = 30.0


def new_order(
    experiment: str, action: str, actor: str, reason: str,
    arguments: Mapping[str, str] | None = None, spec: str | None = None,
    parent: str | None = None, generation: int = 0, role: str = "",
) -> Control:
    """The record of an order issued now; it never expires, since log time says when it came."""
    return Control(
        control_id=uuid.uuid4().hex, experiment=experiment, generation=generation, action=action,
        spec=spec, parent=parent, arguments=dict(arguments or {}), actor=actor or user_name(),
        role=role or OPERATOR_ROLE, reason=reason, issued_at=time.time_ns() // 1_000_000,
    )  # fmt: skip


def user_name() -> str:
    """Name of whoever runs the command, where nobody says another."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may know no name for its user
        return f"user {os.getuid()}"


def write_order(settings: Settings, order: Control) -> None:
    """Writes an order; returns when the broker has it.

    Raises:
        DefinitionError: it says something that no reader would take.
        Unreachable: the broker did not confirm it.
    """
    try:
        value = encode(order)
    except EventError as error:
        raise DefinitionError(f"The order cannot be sent: {error.detail}.") from error
    key = order.experiment.encode()
    record = {
        "topic": settings.topic("control"), "value": value, "key": key,
        "partition": experiment_partition(settings, order.experiment),
        "headers": cloudevent_headers("control", key, value, SOURCE),
    }  # fmt: skip
    why = write_acknowledged(settings, [record])
    if why:
        raise Unreachable(
            f"It is not known whether the order {order.control_id} was written to"
            f" {settings.topic('control')}: {why}. If it was, it stands and is obeyed. Check the"
            f" broker at {settings.bootstrap} with `tidegate doctor`, and look at `tidegate events"
            f" {order.experiment}` before you give it again: what was written is answered there."
        )


def give_order(settings: Settings, order: Control, seconds: float = ANSWER_SECONDS) -> Decision:
    """Writes an order and waits for the decision that answers it.

    Raises:
        Refused: the decider refuses; the message is its reason.
        TimeRanOut: it did not answer in time; the order stands in the log.
        Unreachable: the broker did not take it.
    """
    require_topics(settings, "control", "decisions")
    with Tail(settings, ["decisions"]) as tail:
        write_order(settings, order)
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            for record in tail.poll(left):
                decision = event_in(Decision, record)
                if decision is not None and decision.control_id == order.control_id:
                    return _accepted(decision)
    raise TimeRanOut(
        f"No decider answered {order.action} of {order.experiment} within {seconds:.0f} s. The"
        f" order {order.control_id} stands in the log and will be answered when a decider and a"
        " ticker run. Start them with `tidegate worker`, look at `tidegate doctor`, and watch"
        f" `tidegate events {order.experiment} -f`."
    )


def _accepted(decision: Decision) -> Decision:
    if decision.action == "REFUSED":
        raise Refused(decision.reason)
    return decision
