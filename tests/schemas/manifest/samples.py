"""A sound manifest, one thing per line, so that tests can spoil one line at a time."""

from __future__ import annotations

MANIFEST = """\
apiVersion: tidegate.dev/v1
kind: Experiment
metadata: {name: click-ranker, owner: search}
spec:
  unit: {key: user, fallback: session}
  control: champion
  variants:
    champion: {model: ranker, version: v1}
    challenger: {model: ranker, version: v2}
  metrics:
    conversion: {type: binary, aggregate: first, window: 30m, default: 0, goal: increase}
    revenue: {type: value, range: [0, 500], aggregate: sum, window: 30m, default: 0, goal: increase}
    latency: {field: latency_ms, type: quantile, quantile: 0.99, goal: decrease}
    errors: {field: status, type: rate, goal: decrease}
  objective: revenue
  guardrails:
    - {metric: errors, compare: control, worse_by: 1pp, min_samples: 200, on_breach: rollback}
    - {metric: latency, max: 120ms, min_samples: 500, on_breach: pause}
    - {metric: conversion, compare: control, worse_by: 10%, min_samples: 200, on_breach: step_back}
  release:
    - shadow: {until: {requests: 5000}, sample: 100%, require: {disagreement: "<= 10%"}, ON}
    - canary: {weight: 5%, hold: 1h, min_samples: 1000}
    - canary: {weights: [10%, 20%, 35%], hold: 2h}
    - bandit: {policy: thompson, floor: 5%, every: 1m, until: {p_best: 95%}, max_duration: 30d}
    - full: {keep_previous: 24h}
""".replace("ON}", "on_inconclusive: hold}")

FLAG = """\
apiVersion: tidegate.dev/v1
kind: Experiment
metadata: {name: new-search}
spec:
  unit: {key: user}
  control: "off"
  variants:
    "off": {model: search, version: v1}
    "on": {model: search, version: v2}
  flag: {weights: {"off": 90%, "on": 10%}}
"""


def spoilt(old: str, new: str, text: str = MANIFEST) -> str:
    """The manifest with one place changed."""
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times"
    return text.replace(old, new)
