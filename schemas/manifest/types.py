"""The types of a spec's values: durations, shares, names, bounds, as written and as kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
)

from tidegate.schemas.limits import NAME_BYTES_MAX
from tidegate.schemas.manifest import notation


def _written(parse: Callable[[Any], Any]) -> BeforeValidator:
    """Notation when a manifest is read; JSON from the wire holds plain numbers already."""

    def validate(value: Any, info: ValidationInfo) -> Any:
        return value if info.mode == "json" else parse(value)

    return BeforeValidator(validate)


def _text(pattern: str, example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": [example]})


def _listed(value: Any) -> Any:
    """One word stands for a list of one."""
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


def _lasts(value: int) -> int:
    if value > DURATION_MS_MAX:
        days = DURATION_MS_MAX // 86_400_000
        raise ValueError(f"it is longer than {days} days; write {days}d or less")
    return value


def _fits(value: str) -> str:
    """Records count bytes, and a letter may take four."""
    size = len(value.encode())
    if size > NAME_BYTES_MAX:
        raise ValueError(f"{value:.20} takes {size} bytes; write {NAME_BYTES_MAX} bytes or less")
    return value


DURATION_MS_MAX: Final = 3_660 * 86_400_000
"""Ten years: what is added to a time stays a time."""

_SHARE_PATTERN = notation.PERCENT
DurationMs = Annotated[
    int,
    _written(notation.parse_duration_ms),
    Field(ge=0),
    AfterValidator(_lasts),
    _text(notation.DURATION, "30m"),
]
ShareBp = Annotated[
    int, _written(notation.parse_share_bp), Field(ge=0, le=10_000), _text(_SHARE_PATTERN, "5%")
]
Probability = Annotated[
    float,
    _written(notation.parse_probability),
    Field(gt=0, lt=1),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string", "pattern": _SHARE_PATTERN}]}),
]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
Names = Annotated[tuple[Name, ...], BeforeValidator(_listed), Field(min_length=1)]
Text = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_fits)]
Count = Annotated[int, Field(ge=1, le=10**12)]


class Model(BaseModel):
    """Strict, frozen, no unknown keys, no NaN."""

    model_config = ConfigDict(
        strict=True, frozen=True, extra="forbid", allow_inf_nan=False, regex_engine="python-re"
    )


class Quantity(Model):
    """A value with the unit it was written in: plain (""), `ms`, or `share` (0.01 is 1 %)."""

    value: float
    unit: Literal["", "ms", "share"]


class Margin(Model):
    """How much worse than control: `absolute` in the metric's unit, or `relative` to control.

    `unit` is what it was written in: percentage points, milliseconds, or nothing.
    """

    kind: Literal["absolute", "relative"]
    value: Annotated[float, Field(ge=0)]
    unit: Literal["", "pp", "ms"] = ""


class Condition(Model):
    """A bound: what is measured must satisfy `operator value`; `unit` is as in `Quantity`."""

    operator: Literal["<=", "<", ">=", ">"]
    value: float
    unit: Literal["", "ms", "share"] = ""


class Batch(Model):
    """How many instances at a time: a `count`, or a `share` of all in basis points."""

    kind: Literal["count", "share"]
    value: Annotated[int, Field(ge=1)]

    def size(self, instances: int) -> int:
        """Of so many instances; never none.

        >>> Batch(kind="share", value=2_500).size(9), Batch(kind="count", value=3).size(2)
        (2, 3)
        """
        if self.kind == "count":
            return self.value
        return max(1, instances * self.value // 10_000)


_NUMBER_OR_TEXT = WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string"}]})
WrittenQuantity = Annotated[Quantity, _written(notation.parse_quantity), _NUMBER_OR_TEXT]
WrittenMargin = Annotated[Margin, _written(notation.parse_margin), _NUMBER_OR_TEXT]
WrittenCondition = Annotated[
    Condition, _written(notation.parse_condition), _text(notation.CONDITION, "<= 10%")
]
WrittenBatch = Annotated[Batch, _written(notation.parse_batch), _NUMBER_OR_TEXT]
