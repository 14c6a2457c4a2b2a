"""What pydantic found, in words: what is wrong, and what to write instead."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from tidegate.schemas.manifest.faults import meant

Location = tuple[str | int, ...]

_NEEDED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "dict_type": "a map",
    "model_type": "a map",
    "model_attributes_type": "a map",
    "tuple_type": "a list",
    "list_type": "a list",
    "finite_number": "a finite number",
}
_FOUND: Mapping[type, str] = {
    dict: "a map", list: "a list", str: "text", type(None): "nothing", bool: "true or false",
}  # fmt: skip
_BOUNDS = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}
_EXAMPLES = {
    "apiVersion": "apiVersion: tidegate.dev/v1",
    "kind": "kind: Experiment",
    "metadata": "metadata: {name: click-ranker, owner: search}",
    "name": "name: click-ranker",
    "spec": "spec: with unit, control, variants",
    "unit": "unit: {key: user}",
    "key": "key: user",
    "control": "control: champion, the variant that serves when in doubt",
    "variants": "variants: with one entry per model version",
    "model": "model: ranker",
    "version": "version: v1",
    "type": "type: binary, value, quantile, rate or mean",
    "goal": "goal: increase or goal: decrease",
    "metric": "metric: and the name of a metric",
    "min_samples": "min_samples: 200; without it nothing and too little look alike",
    "on_breach": "on_breach: rollback, step_back, pause or alert",
    "until": "until: and what ends the step",
    "requests": "requests: 5000",
    "disagreement": 'disagreement: "<= 10%"',
    "hold": "hold: 1h",
    "every": "every: 1m",
    "p_best": "p_best: 95%",
    "mde": "mde: 2%, the smallest effect that must not be overlooked",
    "on_inconclusive": "on_inconclusive: control, pass or stop; there is no silent default",
    "by": "by: owner",
    "max_duration": "max_duration: 30d",
    "when": "when: {region: [de, fr]}",
    "share": "share: 5%",
    "variant": "variant: and the name of a variant",
    "smoke": "smoke: [{request: {...}, expect: ...}], asked before any user is",
    "request": "request: {features: {...}}",
    "expect": "expect: and what the new version must answer",
}


def explain(error: Mapping[str, Any], kind: Any, written: str | None) -> tuple[str, str]:
    """Problem and remedy of one pydantic error.

    `kind` is the type that was validated, for the words it knows; `written` the text that stands
    in the manifest, when it is a scalar.
    """
    code = error["type"]
    if code == "missing":
        word = str(error["loc"][-1])
        return f"{word} is missing", f"add {_EXAMPLES.get(word, word)}"
    if code == "extra_forbidden":
        word = str(error["loc"][-1])
        return f"{word} is not known here", meant(word, known_words(kind, error["loc"][:-1]))
    if code in _NEEDED:
        return _wrong_type(error["input"], written, _NEEDED[code])
    return _wrong_value(error, str(error["input"]) if written is None else written)


def _wrong_value(error: Mapping[str, Any], given: str) -> tuple[str, str]:
    code, context = error["type"], error.get("ctx", {})
    if code == "value_error":
        problem, _, remedy = str(context["error"]).partition("; ")
        return problem, remedy or "write another value"
    if code == "literal_error":
        known = re.findall(r"'([^']*)'", context["expected"])
        return f"{given} is not known here", meant(given, known)
    if code == "string_pattern_mismatch":
        return _unfit_name(given, context["pattern"])
    if code in _BOUNDS:
        key, words = _BOUNDS[code]
        return f"{given} is out of bounds", f"write a value {words} {context[key]:g}"
    if code in ("too_short", "string_too_short"):
        return "it is empty", "add at least one entry"
    return str(error["msg"]), "write another value"


def known_words(kind: Any, location: Location) -> tuple[str, ...]:
    """The keys that may stand at `location` in a value of type `kind`."""
    kind = plain_type(kind)
    if location and not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return known_words(get_args(kind)[-1 if get_origin(kind) is dict else 0], location[1:])
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return ()
    fields = {item.alias or name: item.annotation for name, item in kind.model_fields.items()}
    if not location:
        return tuple(fields)
    return known_words(fields[str(location[0])], location[1:])


def plain_type(kind: Any) -> Any:
    """A type without `Annotated` and without None."""
    if get_origin(kind) is Annotated:
        return plain_type(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return plain_type(next(part for part in get_args(kind) if part is not type(None)))
    return kind


def _unfit_name(given: str, pattern: str) -> tuple[str, str]:
    if "latency_ms" in pattern:
        return f"{given} is not a field of predictions", (
            "write status, latency_ms, score, disagreement or measures.NAME"
        )
    return (
        f"{given!r} is not a name",
        "begin with a letter or digit, go on with letters, digits, dot, dash or underscore",
    )


def _wrong_type(given: Any, written: str | None, needed: str) -> tuple[str, str]:
    if needed == "text" and isinstance(given, (bool, int, float)):
        kind = "a truth value" if isinstance(given, bool) else "a number"
        return f"{written} is {kind}, and text is needed", f'write it in quotes: "{written}"'
    names = {
        dict: "a map",
        list: "a list",
        str: "text",
        type(None): "nothing",
        bool: "true or false",
    }
    found = names.get(type(given), "a number")
    if written is not None:
        found = f"{written} ({found})"
    return f"{found} stands where {needed} is needed", f"write {needed}"
