"""What many requests share, kept once and referred to by every fact about them."""

from __future__ import annotations

from typing import NamedTuple

Attributes = tuple[tuple[str, str], ...]
"""An attribute set: (name, value) pairs, ascending by name; empty when there are none."""


class Context(NamedTuple):
    """Recorded with the prediction and never looked up again.

    `variant` is the one assigned (intention to treat), or, in the context of a shadow
    prediction, the one that ran in the shadow; `served_variant` says who answered.
    """

    experiment: str
    generation: int
    variant: str
    served_variant: str
    model: str
    model_version: str
    routing_epoch: int
    routing_version: int
    reason: str
