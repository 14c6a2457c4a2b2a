"""One experiment on one screen: what `get` and `watch` show, as styled lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.text import Text

from tidegate.streams.wording import basis_points, count, listing, percent, signed

BAR_CELLS = 20
_COLOURS = {
    "PASS": "green", "FAIL": "bold red", "NO_DATA": "yellow", "INCONCLUSIVE": "yellow",
    "RUNNING": "green", "PROMOTED": "green", "COMPLETED": "green", "FLAG": "cyan",
    "PAUSED": "yellow", "ROLLED_BACK": "bold red", "ABORTED": "bold red",
}  # fmt: skip
_ALL_BP = 10_000


def screen(view: Mapping[str, Any], now_ms: int) -> list[Text]:
    """The lines of a view; `now_ms` is wall time, to say how old it is."""
    lines = [_head(view)]
    parts = [part for part in _parts(view, now_ms) if part[1]]
    for place, (label, rows) in enumerate(parts):
        last = place == len(parts) - 1
        for number, row in enumerate(rows):
            rail = ("└─ " if last else "├─ ") if number == 0 else ("   " if last else "│  ")
            text = label if number == 0 else ""
            lines.append(Text.assemble((rail, "dim"), f"{text:{_width(view)}}  ", row))
    return lines


def _head(view: Mapping[str, Any]) -> Text:
    words = [view["experiment"], f"g{view['generation']}", _strategy(view)]
    if view.get("steps"):
        words.append(f"step {view['step'] + 1} of {view['steps']}")
    if view.get("progress"):
        words.append(view["progress"])
    phase = view["phase"]
    return Text.assemble(
        (words[0], "bold"), "   ", "   ".join(words[1:]), "   ", (phase, _COLOURS.get(phase, ""))
    )


def _strategy(view: Mapping[str, Any]) -> str:
    served = sum(item["weight"] for item in view["variants"][1:])
    if view["strategy"] == "rings":
        opened = [ring["name"] for ring in view.get("rings", ()) if ring["state"] == "open"]
        return f"rings {', '.join(opened) or 'none open'} {basis_points(served)}"
    if view["strategy"] != "canary" or not served:
        return str(view["strategy"])
    return f"canary {basis_points(served)}"


def _width(view: Mapping[str, Any]) -> int:
    return max(10, *(len(item["name"]) for item in view["variants"]))


def _parts(
    view: Mapping[str, Any], now_ms: int
) -> Iterator[tuple[str, Sequence[Text]]]:
    models = [f"{item['model']} {item['model_version']}" for item in view["variants"]]
    wide = max(map(len, models))
    for model, item in zip(models, view["variants"], strict=True):
        yield item["name"], [_variant(item, f"{model:{wide}}")]
    yield "guardrails", [_guardrail(item, view) for item in view["guardrails"]]
    yield "objective", _objective(view["objective"], view)
    yield "counts", [_counts(item, _width(view)) for item in view["variants"]]
    yield "health", [_health(view, now_ms)]
    yield "next", [Text(view["next"])] if view["next"] else []
    yield "applied", [_applied(view["applied"])]
    yield "instances", _instances(view.get("instances"))


def _variant(item: Mapping[str, Any], model: str) -> Text:
    share = item["weight"] / _ALL_BP
    filled = round(share * BAR_CELLS)
    bar = ("█" * filled, "cyan"), ("░" * (BAR_CELLS - filled), "dim")
    line = Text.assemble(
        f"{model}  {percent(share):>8}  ", *bar,
        f"  {count(item['requests']):>10} requests",
    )  # fmt: skip
    if item["rolled_back"]:
        line.append("   rolled back", style="bold red")
    if item["shadow"]:
        line.append(f"   shadow {basis_points(item['shadow'])}")
    if item["compared"]:
        line.append(f", {percent(item['disagreed'] / item['compared'])} disagree")
    if (missed := item.get("squared_error")) is not None:
        line.append(f", squared error {_apart(missed)} on {count(missed['n'])}")
    return line


def _apart(missed: Mapping[str, Any]) -> str:
    """A shadow's squared error minus the answer's, with bounds where there are any."""
    said = f"{missed['estimate']:+.3g}"
    if missed["lower"] is None:
        return said
    return f"{said} ({missed['lower']:+.3g} to {missed['upper']:+.3g})"


def _guardrail(item: Mapping[str, Any], view: Mapping[str, Any]) -> Text:
    several = len(view["variants"]) > 2
    name = f"{item['candidate']}: " if several else ""
    said = item["sentence"] or (
        f"{item['metric']} {count(item['n'])} of {count(item['min_samples'])} requests"
    )
    verdict = item["verdict"]
    shown = verdict.lower().replace("_", " ") or "waiting"
    return Text.assemble(f"{name}{said}   ", (shown, _COLOURS.get(verdict, "")))


def _objective(objective: Mapping[str, Any] | None, view: Mapping[str, Any]) -> list[Text]:
    if objective is None:
        return []
    control, *candidates = view["variants"]
    several = len(candidates) > 1
    told = {item["candidate"]: item for item in objective["effects"]}
    return [
        _effect(objective, told[item["name"]], several)
        if item["name"] in told
        else _no_effect(objective, control, item, several)
        for item in candidates
    ]


def _no_effect(
    objective: Mapping[str, Any], control: Mapping[str, Any], item: Mapping[str, Any], several: bool
) -> Text:
    name = f"{item['name']}: " if several else ""
    without = [each["name"] for each in (control, item) if not each["closed"]]
    if without:
        said = f"no closed request of {listing(without)} yet"
    else:
        said = "nothing to compare yet: no table has both, or control's mean is 0"
    return Text(f"{name}{objective['metric']}   {said}")


def _effect(objective: Mapping[str, Any], item: Mapping[str, Any], several: bool) -> Text:
    name = f"{item['candidate']}: " if several else ""
    line = Text(f"{name}{objective['metric']}")
    if item["estimate"] is None:
        return line.append("   nothing can be said yet", style="yellow")
    line.append(f"   {signed(item['estimate'] * 100)} %")
    low, high = item["lower"], item["upper"]
    if low is None or high is None:
        return line.append("   inconclusive", style="yellow")
    line.append(f"  ({signed(low * 100)} to {signed(high * 100)})   ")
    better = low > 0 if objective["goal"] == "increase" else high < 0
    worse = high < 0 if objective["goal"] == "increase" else low > 0
    word = "better" if better else "worse" if worse else "inconclusive"
    colours = {"better": "green", "worse": "bold red", "inconclusive": "yellow"}
    return line.append(word, style=colours[word])


def _counts(item: Mapping[str, Any], width: int) -> Text:
    """What became of a variant's records: requests = closed + open + expired."""
    counts = item["counts"]
    requests = counts["prediction"]
    words = [
        f"{count(requests['counted'])} closed + {count(requests['pending'])} open",
        f"{count(counts['outcome']['counted'])} outcomes",
    ]
    words += [
        f"{stream} {kind} {count(number)}"
        for stream, classes in counts.items()
        for kind, number in classes.items()
        if kind not in ("input", "counted", "pending")
    ]
    return Text(f"{item['name']:{width}}  {' · '.join(words)}")


def _health(view: Mapping[str, Any], now_ms: int) -> Text:
    health = view["health"]
    words = []
    if health["requests"]:
        words.append(f"{percent(health['matured'] / health['requests'])} of requests closed")
    words += [
        f"{name} {count(number)}" for name, number in sorted(health["irregular"].items()) if number
    ]
    uneven = [name for name, sum_ in health["propensity"].items() if not 0.8 <= sum_ <= 1.25]
    odd = f"propensities of {', '.join(uneven)} do not add up"
    words.append(odd if uneven else "propensities ok")
    drifted = sorted({f"{item['variant']} {item['metric']}" for item in health["drift"]})
    words.append(f"drift: {', '.join(drifted)}" if drifted else "no drift")
    words += _unwell(health["unwell"])
    if view["watermark"] >= 0 and view["log_time"] - view["watermark"] > 5_000:
        behind = (view["log_time"] - view["watermark"]) / 1_000
        words.append(f"joiner {behind:.0f} s behind: waiting")
    words.append(f"told {max(0, now_ms - view['log_time']) / 1_000:.1f} s ago")
    return Text(" · ".join(words))


def _unwell(clients: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Which processes serve less than they should, by what ails them."""
    ails: dict[str, list[str]] = {}
    for client in clients:
        cut = f"breaker cut {listing(client['breaker'])}" if client["breaker"] else "degraded"
        ails.setdefault(cut, []).append(client["instance"])
    for what, instances in sorted(ails.items()):
        yield f"{what} in {listing(instances)}"


def _applied(applied: Mapping[str, Any]) -> Text:
    if not applied["live"]:
        return Text("no client is live", style="yellow")
    line = Text(f"v{applied['version']} by {applied['confirmed']} of {applied['live']} clients")
    if applied["slowest_ms"] is not None:
        line.append(f" within {applied['slowest_ms'] / 1_000:.2f} s")
    if applied["missing"]:
        line.append(f"   missing: {', '.join(applied['missing_instances'])}", style="bold red")
    return line


def _instances(found: Mapping[str, Any] | None) -> list[Text]:
    """How many instances serve which variant, and who serves nothing."""
    if found is None:
        return []
    serving = " · ".join(f"{name} on {number}" for name, number in found["serving"].items())
    line = Text(f"{serving} of {found['known']}")
    if found["unwell"]:
        line.append(f"   unwell: {listing(found['unwell'])}", style="yellow")
    if found["silent"]:
        line.append(f"   silent: {listing(found['silent'])}", style="bold red")
    return [line]
