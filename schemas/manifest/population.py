"""Who takes part in an experiment, and for whom the answer is fixed.

Aliases are the words of the manifest, as in `spec`.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, Strict

from tidegate.schemas.manifest.segments import WrittenSegment
from tidegate.schemas.manifest.types import Model, Name, ShareBp, Text

HOLDOUT_SALT = "holdout"
"""One for all experiments that name no other, so that the same units are held out of all."""


class Holdout(Model):
    """Units that never take part: `share_bp` of all by a hash of their own."""

    share_bp: Annotated[ShareBp, Field(alias="share", gt=0)]
    salt: Text = HOLDOUT_SALT


class Override(Model):
    """Requests that get `variant` whatever the draw says; they are not learnt from."""

    when: WrittenSegment
    variant: Name


def _listed(value: Any) -> Any:
    """One condition alone stands for a list of one."""
    return [value] if isinstance(value, dict) else value


Targeting = Annotated[
    tuple[WrittenSegment, ...],
    Strict(False),
    BeforeValidator(_listed),
    Field(min_length=1, max_length=100),
]
"""Requests that take part: those of which one of the conditions holds."""

Overrides = Annotated[tuple[Override, ...], Strict(False), Field(max_length=100)]
