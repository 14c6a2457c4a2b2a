"""Manifests: what is sound is read as written, what is not is refused with line and remedy."""

from __future__ import annotations

import pytest

from tests.schemas.manifest.samples import FLAG, MANIFEST, spoilt
from tidegate.schemas.errors import DefinitionError
from tidegate.schemas.manifest import ExperimentSpec, read_manifest

ERRORS = "compare: control, worse_by: 1pp, min_samples: 200, on_breach: rollback"
FULL = "    - full: {keep_previous: 24h}\n"
SHADOW = (
    '    - shadow: {until: {requests: 5000}, sample: 100%, require: {disagreement: "<= 10%"},'
    " on_inconclusive: hold}\n"
)
CHECKED = "compare: control, worse_by: 1pp, min_samples: 200, on_breach: pause"
REVENUE = "type: value, range: [0, 500]"

# What is written, what is written instead, line of the fault, and words of its text.
CANARY = "canary: {weight: 5%, hold: 1h, min_samples: 1000}"
FAULTS = [
    # the document
    ("tidegate.dev/v1", "tidegate.dev/v2", 1, "did you mean tidegate.dev/v1?"),
    ("kind: Experiment\n", "", 1, "kind is missing; add kind: Experiment"),
    ("kind: Experiment", "kind: Deployment", 2, "write one of Experiment"),
    ("kind: Experiment", "kind: Experiment\nkind: Experiment", 3, "given twice, first in line 2"),
    ("kind: Experiment", "kind: &a Experiment", 2, "anchors and aliases are not read"),
    ("kind: Experiment", "kind: !!binary Experiment", 2, "tag:yaml.org,2002:binary is not read"),
    ("kind: Experiment", "kind:", 2, "there is no value"),
    ("kind: Experiment", "kind: Experiment\n---\na: 1", 1, "it holds several documents"),
    ("kind: Experiment", "kind: [Experiment", 3, "it is not YAML"),
    ("kind: Experiment", "kind: Experiment\n<<: {a: 1}", 3, "a key is not plain text"),
    ("metadata: {name", "metadta: {name", 3, "did you mean metadata?"),
    ("name: click-ranker", "name: click ranker", 3, "'click ranker' is not a name"),
    ("name: click-ranker", "name: 7", 3, '7 is a number, and text is needed; write it in quotes'),
    ("name: click-ranker", "name: no", 3, 'read differently by different parsers'),
    ("name: click-ranker, ", "", 3, "name is missing"),
    ("owner: search", "ownr: search", 3, "did you mean owner?"),
    # unit, control, variants
    ("unit: {key: user, fallback: session}", "unit: user", 5, "text) stands where a map is needed"),
    ("key: user, ", "", 5, "key is missing; add key: user"),
    ("control: champion\n", "control: champon\n", 6, "champon is not a variant; did you mean"),
    ("  control: champion\n", "", 4, "control is missing"),
    ("version: v1", "version: 1.10", 8, 'write it in quotes: "1.10"'),
    ("version: v1", "version: 010", 8, 'or in quotes: "010"'),
    ("version: v1", "version: 1_0", 8, 'or in quotes: "1_0"'),
    ("version: v1", "version: 1:30", 8, 'or in quotes: "1:30"'),
    ("version: v1", "version: true", 8, "true is a truth value, and text is needed"),
    ("version: v1", "version: {a: b}", 8, "a map stands where text is needed"),
    ("version: v1", "verion: v1", 8, "did you mean version?"),
    ("    challenger:", "    champion:", 9, "champion is given twice, first in line 8"),
    ("    challenger: {model: ranker, version: v2}\n", "", 7, "nothing to compare control with"),
    ("    challenger:", "    -challenger:", 9, "is not a name; begin with a letter or digit"),
    # metrics
    ("type: binary", "type: boolean", 11, "boolean is not known here"),
    ("type: binary", "type: quantile", 11, "quantile describes a field of predictions"),
    ("type: binary, aggregate: first", "type: binary, aggregate: sum", 11, "is not 0 or 1"),
    ("type: binary, aggregate: first,", "type: binary,", 11, "need an aggregate"),
    ("first, window: 30m", "first, window: 30", 11, "30 is not a duration; write 500ms"),
    ("first, window: 30m", "first, window: 20m", 12, "differs from the window of conversion"),
    ("first, window: 30m,", "first,", 11, "outcomes need a window; add window: 30m"),
    ("first, window: 30m", "first, window: 0s", 11, "nothing could arrive in no time"),
    ("first, window: 30m", "first, window: 25d", 11, "waited for 24 days at most"),
    ("hold: 1h", "hold: 3661d", 22, "longer than 3660 days; write 3660d or less"),
    ("version: v1", f"version: {'é' * 128}", 8, "takes 256 bytes; write 255 bytes or less"),
    ("first, window: 30m", "first, window: 0.5ms", 11, "not a whole number of milliseconds"),
    ("first, window: 30m, default: 0", "first, window: 30m, default: 0.5", 11, "is 0 or 1"),
    ("default: 0, goal: increase}\n    revenue", "default: .nan, goal: increase}\n    revenue", 11,
     "read differently by different parsers"),
    ("default: 0, goal: increase}\n    revenue", "default: 0}\n    revenue", 11,
     "goal is missing; add goal: increase"),
    (REVENUE, "type: value, range: [500, 0]", 12, "the range is empty"),
    (REVENUE, "type: value, range: [1, 500]", 12, "0 is outside the range; write a value from 1"),
    (REVENUE, "type: value, range: [0]", 12, "range"),
    (REVENUE, "type: value, rnge: [0, 500]", 12, "did you mean range?"),
    ("field: latency_ms", "field: latency", 13, "write status, latency_ms, score, disagreement or"),
    ("quantile, quantile: 0.99", "quantile", 13, "which quantile is unknown; add quantile: 0.99"),
    ("quantile: 0.99", "quantile: 99", 13, "99 is out of bounds; write a value below 1"),
    ("type: quantile, quantile: 0.99", "type: rate", 13, "rate does not fit latency_ms"),
    ("quantile: 0.99", "quantile: 0.99, window: 30m", 13, "window belongs to outcomes"),
    ("type: rate", "type: mean", 14, "status is counted as a rate of failures"),
    ("type: binary, aggregate: first", "type: binary, range: [0, 2], aggregate: first", 11,
     "a binary metric is 0 or 1; remove range"),
    (REVENUE, "type: value, quantile: 0.5, range: [0, 500]", 12, "outcomes have no quantile"),
    # objective and guardrails
    ("objective: revenue", "objective: revenu", 15, "did you mean revenue?"),
    ("objective: revenue", "objective: latency", 15, "is a field of predictions, not an outcome"),
    ("  objective: revenue\n", "", 23, "bandit needs an objective"),
    ("metric: errors", "metric: error", 17, "error is not a metric; did you mean errors?"),
    (ERRORS, "min_samples: 200, on_breach: rollback", 17, "errors has no condition"),
    (ERRORS, "compare: control, min_samples: 200, on_breach: pause", 17, "add worse_by"),
    (ERRORS, "worse_by: 1pp, min_samples: 200, on_breach: pause", 17, "add compare: control"),
    (ERRORS, f"max: 1%, {ERRORS}", 17, "write two guardrails"),
    ("worse_by: 1pp", "worse_by: 1bp", 17, "1bp is not a margin; write 1pp"),
    ("worse_by: 1pp, min_samples: 200", "worse_by: 1pp", 17, "min_samples is missing"),
    ("worse_by: 1pp", "worse_by: -1", 17, "-1 is not a margin"),
    ("worse_by: 1pp", "worse_by: {by: 1}", 17, "a map is not a margin"),
    ("on_breach: rollback", "on_breach: explode", 17, "one of alert, pause, rollback, step_back"),
    ("on_breach: rollback", "on_breech: rollback", 17, "did you mean on_breach?"),
    ("max: 120ms", "max: 120", 18, "a latency needs a unit of time; write it as 120ms"),
    ("max: 120ms", "min: 120ms", 18, "bounds the good side of a metric whose goal is decrease"),
    ("max: 120ms", "max: fast", 18, "fast is not a quantity; write a number, 1% or 120ms"),
    ("max: 120ms", "max: 1%", 18, "a latency needs a unit of time"),
    ("max: 120ms", "compare: control, worse_by: 1pp", 18, "it has no percentage points"),
    ("worse_by: 1pp", "worse_by: 20ms", 17, "the metric is not a time; write 1pp, 10% or"),
    (ERRORS, f"checks: {{every: 5m}}, {CHECKED}", 17, "add failures: 3, or consecutive: 2"),
    (ERRORS, f"checks: {{every: 5m, failures: 2, consecutive: 3}}, {CHECKED}", 17,
     "3 in a row are never reached, since 2 in all come first; write 2 or less"),
    (ERRORS, f"checks: {{every: 0s, failures: 2}}, {CHECKED}", 17, "write a value at least 1000"),
    (ERRORS, f"checks: {{evry: 5m, failures: 2}}, {CHECKED}", 17, "did you mean every?"),
    (ERRORS, f"checks: {{every: 5m, failures: 2}}, {ERRORS}", 17, "waits for no second measure"),
    (ERRORS, f"on_no_data: fail, {ERRORS}", 17, "add no_data_after: 30m"),
    (ERRORS, f"no_data_after: 30m, {ERRORS}", 17, "add on_no_data: fail, or remove"),
    (ERRORS, f"on_no_data: never, {ERRORS}", 17, "write one of fail, wait"),
    ("status, type: rate", "status, statuses: [TIMEOUTS], type: rate", 14, "mean TIMEOUT?"),
    ("status, type: rate", "status, statuses: [], type: rate", 14, "add at least one entry"),
    ("status, type: rate", "status, statuses: TIMEOUT, type: rate", 14, "where a list is needed"),
    ("latency_ms, type", "latency_ms, statuses: [TIMEOUT], type", 13, "belong to field: status"),
    ("field: status, type: rate", "field: disagreement, type: mean", 14, "answers agree or do not"),
    ("status, type: rate, goal: decrease", "disagreement, type: rate, goal: increase", 14,
     "more disagreement is no goal"),
    ("field: status", "field: disagreement", 17, "disagreement is with control already"),
    ("min_samples: 500", "min_samples: 0", 18, "0 is out of bounds; write a value at least 1"),
    ("min_samples: 500", "min_samples: 1e3", 18, "stands where a whole number is needed"),
    ("compare: control, worse_by: 10%", "min: 3s", 19, "the metric is not a time"),
    ("compare: control, worse_by: 10%", "min: 3", 19, "a share is between 0 and 1"),
    # release
    ("sample: 100%", "sample: 101%", 21, "101% is above 100 %; write 100% or less"),
    ("sample: 100%", "sample: 100", 21, "100 is not a share; write it in percent"),
    ('"<= 10%"', "10%", 21, '10% is not a condition; write it as "<= 10%"'),
    ("until: {requests: 5000}, ", "", 21, "until is missing; add until"),
    ("disagreement:", "disagrement:", 21, "did you mean disagreement?"),
    ("weight: 5%", "weight: 60%", 22, "60 % is above 50 %; write 50% or less"),
    ("floor: 5%", "floor: 5%, min_change: 5%, max_change: 2%", 24, "2 % at most and 5 % at least"),
    ("floor: 5%", "floor: 5%, max_change: 0%", 24, "write a value above 0"),
    ("weight: 5%", "weight: 0.001%", 22, "finer than 0.01 %"),
    ("weight: 5%", "weight: 40%", 22, "40 % is above the cap of 35 %; write 35 % or less, or say"),
    ("weight: 5%", "weight: 5%, cap: 60%", 22, "60 % is above 50 %: more than half"),
    ("weight: 5%", "weight: 5%, max_duration: 2h", 22, "add on_inconclusive: hold (wait on)"),
    ("weight: 5%", "weight: 5%, on_inconclusive: pass", 22, "add max_duration, or remove"),
    ("weight: 5%", "weight: 5%, max_duration: 1m, on_inconclusive: fail", 22, "before the share"),
    (", on_inconclusive: hold", "", 21, "neither surely kept nor broken is not said"),
    (", on_inconclusive: hold", ", on_inconclusive: maybe", 21, "write one of fail, hold, pass"),
    ('require: {disagreement: "<= 10%"}, ', "", 21, "nothing is required"),
    ('{disagreement: "<= 10%"}', "{}", 21, 'it is empty; add disagreement: "<= 10%"'),
    ('disagreement: "<= 10%"', 'latency: "<= 20"', 21, "a latency needs a unit of time"),
    ('disagreement: "<= 10%"', 'latency: ">= 20ms"', 21, "less of it is better"),
    ('disagreement: "<= 10%"', 'errors: "<= 20ms"', 21, "a share is between 0 and 1"),
    ('disagreement: "<= 10%"', 'score_shift: "<= 1%"', 21, "scores are plain numbers"),
    ('disagreement: "<= 10%"', 'squared_error: "<= 1%"', 21, "squared errors are plain numbers"),
    ('disagreement: "<= 10%"', 'squared_error: ">= 0"', 21, "less of it is better"),
    ('disagreement: "<= 10%"', 'squared_eror: "<= 0"', 21, "did you mean squared_error?"),
    ("weight: 5%, ", "", 22, "either weight or weights"),
    ("weight: 5%, hold: 1h", "weight: 5%", 22, "hold is missing; add hold: 1h"),
    ("- canary: {weight: 5%", "- canery: {weight: 5%", 22, "did you mean canary?"),
    ("- canary: {weight: 5%", "- interleave: {weight: 5%", 22, "interleave is not in this version"),
    (CANARY, "ab: {mde: 2%, max_duration: 14d}", 22, "on_inconclusive: control, pass or stop"),
    (CANARY, "ab: {mde: 0%, max_duration: 1d, on_inconclusive: stop}", 22, "an effect of nothing"),
    (CANARY, "ab: {mde: 1pp, max_duration: 1d, on_inconclusive: stop, power: 5%}", 22,
     "no better than chance"),
    (CANARY, "ab: {mde: 1pp, max_duration: 1d, on_inconclusive: stop, weights: {champion: 50%}}",
     22, "challenger has no share"),
    (CANARY, "ab: {mde: 1pp, max_duration: 1d, on_inconclusive: stop, weights: {champion: 50%,"
     " challenger: 40%}}", 22, "the shares sum to 90 %"),
    ("full: {keep_previous: 24h}", "ab: {mde: 2%, max_duration: 1d, on_inconclusive: pass}", 25,
     "nothing follows that it could pass to"),
    (CANARY, "pause: {duration: 0s}", 22, "write a value above 0"),
    (CANARY, "approve: {}", 22, "by is missing; add by: owner"),
    (CANARY, "approve: {by: []}", 22, "add at least one entry"),
    (CANARY, "approve: {by: the boss}", 22, "'the boss' is not a name"),
    (CANARY, "approve: {by: owner, approvals: 0}", 22, "write a value at least 1"),
    ("10%, 20%, 35%", "10%, 5%, 35%", 23, "5 % is not above the 10 % before it"),
    ("10%, 20%, 35%", "5%, 20%, 35%", 23, "5 % is not above the 5 % before it"),
    ("[10%, 20%, 35%]", "20%", 23, "stands where a list is needed"),
    ("policy: thompson", "policy: exp3", 24, "write one of thompson"),
    ("floor: 5%", "floor: 50%", 24, "for each of 2 variants leaves nothing to move"),
    ("p_best: 95%", "p_best: sure", 24, "sure is not a probability; write 95% or 0.95"),
    ("p_best: 95%", "p_best: 100%", 24, "not between 0 and 1; write 95% or 0.95"),
    ("every: 1m", "every: 31d", 24, "the first update would come after max_duration"),
    (SHADOW + "    - canary: {weight: 5%", FULL + "    - canary: {weight: 5%", 21, "not the last"),
    (FULL, FULL + SHADOW, 26, "shadow comes after a step that already serves candidates"),
    (FULL, "    - full\n", 25, "a step has settings; write full: {}"),
    (FULL, "    - {full: {}, canary: {}}\n", 25, "one strategy, and here are 2"),
    (FULL, FULL + "  inclusion: 0%\n", 26, "nobody would take part"),
    (FULL, FULL + "  flag: {}\n", 26, "a flag is moved by people and has no release list"),
]  # fmt: skip


def faults_of(text: str) -> tuple[str, ...]:
    """All faults of a manifest."""
    with pytest.raises(DefinitionError) as caught:
        read_manifest(text, "f.yaml")
    return caught.value.faults


@pytest.mark.parametrize(("old", "new", "line", "said"), FAULTS)
def test_a_fault_is_told_with_its_line_and_remedy(old: str, new: str, line: int, said: str) -> None:
    """One fault in a manifest is one message that begins with file and line."""
    faults = faults_of(spoilt(old, new))
    assert any(fault.startswith(f"f.yaml:{line}: ") and said in fault for fault in faults), faults
    assert all("; " in fault for fault in faults)


def test_the_table_is_long_enough() -> None:
    """At least 60 ways to write a manifest wrong are held."""
    assert len(FAULTS) >= 60


@pytest.mark.parametrize("word", ["contextual", "interleave"])
def test_steps_of_later_versions_are_known_and_refused(word: str) -> None:
    """They are named as such, and their settings are not blamed."""
    faults = faults_of(spoilt("- full: {keep_previous: 24h}", f"- {word}: {{whatever: [1, x]}}"))
    assert len(faults) == 1
    assert faults[0].startswith(f"f.yaml:25: spec.release[4].{word}: {word} is not in this version")


def test_all_faults_come_at_once_in_the_order_of_their_lines() -> None:
    """Faults of shape, of values and between parts are told together, none hiding another."""
    text = spoilt("version: v1", "version: 1.10")
    text = spoilt("weight: 5%", "weight: 60%", text)
    text = spoilt("metric: errors", "metric: erors", text)
    text = spoilt("owner: search", "ownr: search", text)
    lines = [int(fault.split(":")[1]) for fault in faults_of(text)]
    assert lines == [3, 8, 17, 22, 23, 23, 23]


FAULTY = """\
apiVersion: tidegate.dev/v1
kind: Experiment
metadata: {name: click-ranker}
spec:
  unit: {key: user}
  control: champion
  variants:
    champion: {model: ranker, version: v1}
    challenger: {model: ranker}
  metrics:
    conversion: {type: binary, agregate: first, window: 30m, goal: increase}
    errors: {field: status, type: mean, goal: down}
  objective: conversion
  guardrails:
    - {metric: errors, min_samples: 200, on_breach: explode}
    - {metric: speed, max: 1%, min_samples: many, on_breach: pause}
    - {metric: conversion, min: 1%, max: lots, compare: control, min_samples: 0, on_breach: pause}
  release:
    - canary: {weights: [60%, 20%], hold: soon}
    - bandit: {floor: 60%, every: 1h, max_duration: 1m, until: {p_best: 200%}}
"""


def test_a_refused_field_hides_no_rule_about_the_others() -> None:
    """A wrong value and a broken rule in one entry are told together: one round of mending."""
    with pytest.raises(DefinitionError) as caught:
        read_manifest(FAULTY, "f.yaml")
    told = [(int(text.split(":")[1]), text.split(": ")[1]) for text in caught.value.faults]
    assert sorted(told) == [
        (9, "spec.variants.challenger"),
        (11, "spec.metrics.conversion.agregate"),
        (12, "spec.metrics.errors.goal"),
        (12, "spec.metrics.errors.type"),
        (15, "spec.guardrails[0]"),
        (15, "spec.guardrails[0].on_breach"),
        (16, "spec.guardrails[1].metric"),
        (16, "spec.guardrails[1].min_samples"),
        (17, "spec.guardrails[2]"),
        (17, "spec.guardrails[2]"),
        (17, "spec.guardrails[2].max"),
        (17, "spec.guardrails[2].min_samples"),
        (19, "spec.release[0].canary.hold"),
        (19, "spec.release[0].canary.weights[0]"),
        (19, "spec.release[0].canary.weights[1]"),
        (20, "spec.release[1].bandit.every"),
        (20, "spec.release[1].bandit.floor"),
        (20, "spec.release[1].bandit.until.p_best"),
    ]


def test_what_refers_to_a_faulty_part_is_not_blamed() -> None:
    """A metric that cannot be read is one fault, not one for each use of it."""
    assert len(faults_of(spoilt("field: status, type: rate", "field: status, typ: rate"))) == 2
    assert len(faults_of(spoilt("  metrics:\n", "  metrisc:\n"))) == 1


def test_faults_of_a_list_are_numbered_as_it_is_written() -> None:
    """An entry that cannot be read does not shift the others."""
    text = spoilt("sample: 100%", "sample: 100")
    faults = faults_of(spoilt("weight: 5%", "weight: 60%", text))
    assert any("spec.release[1].canary.weight: 60 %" in fault for fault in faults)


def test_the_manifest_of_the_handbook_is_read() -> None:
    """Names, notations and defaults arrive as numbers with units."""
    manifest = read_manifest(MANIFEST, "f.yaml")
    spec = manifest.spec
    assert (manifest.name, manifest.owner) == ("click-ranker", "search")
    assert [step.strategy for step in spec.release] == [
        "shadow", "canary", "canary", "bandit", "full"
    ]  # fmt: skip
    assert spec.candidates == ("challenger",)
    assert spec.reward_wait_ms == 1_800_000
    assert spec.guardrails[0].worse_by is not None
    assert spec.guardrails[0].worse_by.value == 0.01
    assert spec.guardrails[1].max is not None
    assert spec.guardrails[1].max.value == 120.0


def test_with_several_candidates_full_needs_a_winner() -> None:
    """Without a test or a bandit nobody says which of them gets everything."""
    text = spoilt(
        "    challenger: {", "    another: {model: ranker, version: v3}\n    challenger: {"
    )
    assert read_manifest(text, "f.yaml").spec.candidates == ("another", "challenger")
    bandit = next(line for line in text.splitlines(keepends=True) if "bandit:" in line)
    (fault,) = faults_of(spoilt(bandit, "", text))
    assert fault.startswith("f.yaml:25: spec.release[3].full: which of 2 candidates")
    assert fault.endswith("put an ab or bandit step before it, or keep one candidate")


def test_plain_numbers_are_read_where_their_unit_is_plain() -> None:
    """Margins in the metric's own unit, probabilities as numbers."""
    text = spoilt("worse_by: 1pp, min_samples: 200", "worse_by: 0.01, alpha: 0.1, min_samples: 9")
    guardrail = read_manifest(text, "f.yaml").spec.guardrails[0]
    assert guardrail.worse_by is not None
    assert (guardrail.worse_by.kind, guardrail.worse_by.value) == ("absolute", 0.01)
    assert guardrail.alpha == 0.1


def test_a_flag_is_read() -> None:
    """A flag has no release list; its shares are where it starts."""
    spec = read_manifest(FLAG, "f.yaml").spec
    assert spec.flag is not None
    assert spec.flag.weights_bp == {"off": 9_000, "on": 1_000}
    assert spec.release == ()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"off": 90%', '"off": 80%', "the shares sum to 90 %; write shares that sum to 100%"),
        ('"off": 90%', '"of": 90%', "of is not a variant; did you mean off?"),
        ('  flag: {weights: {"off": 90%, "on": 10%}}\n', "", "neither release nor flag is given"),
        ("  flag:", "  flags:", "did you mean flag?"),
    ],
)
def test_faulty_flags_are_refused(old: str, new: str, said: str) -> None:
    """Shares name variants and sum to 100 %."""
    assert any(said in fault for fault in faults_of(spoilt(old, new, FLAG)))


@pytest.mark.parametrize(
    "text",
    ["", "- 1", "just text", "a: " + "[" * 50 + "]" * 50, "{" * 5_000, "a: \0", "x" * 1_100_000,
     "a: &x [*x]", "? [1]: 2", "a: !!python/object:os.system {}", "\t- a"],
)  # fmt: skip
def test_documents_that_are_no_manifests_are_refused(text: str) -> None:
    """Nothing crashes, nothing is executed, nothing grows."""
    assert faults_of(text)


@pytest.mark.parametrize("text", [MANIFEST, FLAG])
def test_the_wire_form_comes_back_equal(text: str) -> None:
    """What the decider reads from a Control record is what was applied, to the byte."""
    spec = read_manifest(text, "f.yaml").spec
    again = ExperimentSpec.from_json(spec.to_json())
    assert again == spec
    assert again.to_json() == spec.to_json()
    assert again.digest() == spec.digest()


def test_what_came_of_requests_needs_an_objective_of_outcomes() -> None:
    """Scores are held against the objective: without one, or with one that predictions tell
    themselves, there is nothing to hold them against."""
    wanted = spoilt('disagreement: "<= 10%"', 'squared_error: "<= 0"')
    assert read_manifest(wanted, "f.yaml").spec.objective == "revenue"
    bandit = next(line for line in wanted.splitlines(keepends=True) if "bandit:" in line)
    (fault,) = faults_of(spoilt("  objective: revenue\n", "", spoilt(bandit, "", wanted)))
    assert fault == (
        "f.yaml:20: spec.release[0].shadow.require.squared_error: what came of a request is the "
        "objective, and there is none; name one of the metrics of outcomes as spec.objective"
    )
    (fault,) = faults_of(spoilt("objective: revenue", "objective: latency", wanted))
    assert fault.startswith("f.yaml:15: spec.objective: latency is a field of predictions")


def test_an_objective_that_cannot_be_read_is_not_missed() -> None:
    """One fault is told once: nobody is asked for an objective that is there and faulty."""
    wanted = spoilt('disagreement: "<= 10%"', 'squared_error: "<= 0"')
    (fault,) = faults_of(spoilt("objective: revenue", "objective: [revenue]", wanted))
    assert fault.startswith("f.yaml:15: spec.objective")
