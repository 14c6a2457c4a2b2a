"""`tidegate doctor`: the settings in force, where each came from, and whether each works."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields

from tidegate.agents.commands.options import EXIT_UNREACHABLE, Output
from tidegate.agents.commands.printing import print_facts
from tidegate.agents.commands.pulse import heartbeats, last_ticks
from tidegate.agents.settings import Settings
from tidegate.schemas.errors import TidegateError

_SECRET = re.compile(r"password|secret|\.key|token|jaas", re.IGNORECASE)
_TICK_AGE_MS_MAX = 1_000
_LOG_TIME_AGE_MS_MAX = 5_000
_AHEAD_MS_MAX = 60_000
_NAMED_MAX = 4
_SET_CLOCKS = "set the clocks of the hosts that tick (chrony, ntpd)"
_DECIDER_STANDS = (
    "is a decider running (`tidegate worker --role decider`)? If one is, see its /healthz, and the"
    " ticks: one more than 10 minutes ahead of log time moves nothing"
)
_JOINER_STANDS = (
    "is a joiner running (`tidegate worker --role joiner`)? If one is, see its /healthz, and the"
    " ticks in predictions, shadow-predictions and outcomes"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """What trying one thing gave; `remedy` is empty when it works."""

    name: str
    works: bool
    detail: str
    remedy: str = ""


def run_doctor(settings: Settings, output: str) -> int:
    """Print settings and findings; 0, 1 when something fails, 3 when no broker answers."""
    shown = list(_settings(settings))
    findings, reached = examine(settings)
    rows = [{"name": name, "value": value, "origin": origin} for name, value, origin in shown]
    answer = {"settings": rows, "findings": [asdict(finding) for finding in findings]}
    print_facts(answer, Output(output), lambda _: _lines(shown, findings))
    if not reached:
        return EXIT_UNREACHABLE
    return 0 if all(finding.works for finding in findings) else 1


def _lines(shown: list[tuple[str, str, str]], findings: list[Finding]) -> Iterator[str]:
    for name, value, origin in shown:
        yield f"{name:24} {value:34} {origin}"
    yield ""
    for finding in findings:
        yield f"{'ok  ' if finding.works else 'FAIL'}  {finding.name:10} {finding.detail}"
        if finding.remedy:
            yield f"                  {finding.remedy}"


def examine(settings: Settings) -> tuple[list[Finding], bool]:
    """Try everything the settings name; second, whether a broker answered."""
    findings = [_state_folder(settings), _web(settings)]
    broker = _guarded("broker", lambda: _broker(settings))
    findings.append(broker)
    if broker.works:
        findings.append(_guarded("topics", lambda: _topics(settings)))
        if findings[-1].works:
            findings.append(_guarded("ticks", lambda: _ticks(settings)))
            findings.append(_guarded("log time", lambda: _log_time(settings)))
    if settings.schema_registry:
        findings.append(_registry(settings))
    if settings.alerts.addresses:
        findings.append(_guarded("alerts", lambda: _alerts(settings)))
    return findings, broker.works


def _settings(settings: Settings) -> Iterator[tuple[str, str, str]]:
    for field in fields(Settings):
        if field.name == "origins":
            continue
        origin = settings.origins.get(field.name, "default")
        value = getattr(settings, field.name)
        if field.name == "alerts":
            yield field.name, settings.alerts.shown(), origin
        elif field.name in ("kafka", "schema_registry"):
            for key, text in value.items():
                yield f"{field.name}: {key}", "***" if _SECRET.search(key) else text, origin
        else:
            yield field.name, str(value), origin


def _guarded(name: str, attempt: Callable[[], Finding]) -> Finding:
    try:
        return attempt()
    except TidegateError as error:
        return Finding(name, False, str(error))


def _broker(settings: Settings) -> Finding:
    from tidegate.agents.kafka import new_admin, require_broker

    began = time.monotonic()
    require_broker(settings)
    nodes = len(new_admin(settings).list_topics(timeout=5).brokers)
    elapsed_ms = 1_000 * (time.monotonic() - began)
    return Finding(
        "broker", True, f"{settings.bootstrap} answers, nodes: {nodes}, in {elapsed_ms:.0f} ms"
    )


def _topics(settings: Settings) -> Finding:
    from tidegate.agents.topics import check_topics

    faults = check_topics(settings)
    if faults:
        return Finding(
            "topics", False, "; ".join(f"{each.topic} {each.what}" for each in faults),
            faults[0].remedy,
        )  # fmt: skip
    return Finding("topics", True, f"{settings.prefix}* are as agents need them")


def _ticks(settings: Settings) -> Finding:
    now_ms = time.time_ns() // 1_000_000
    ages_ms = {
        place: None if told is None else now_ms - told
        for place, told in last_ticks(settings).items()
    }
    remedy = "start a ticker: `tidegate worker --role ticker` (part of `tidegate up`)"
    known = [age for age in ages_ms.values() if age is not None]
    if not known:
        return Finding("ticks", False, "nobody ticks: time stands still for all agents", remedy)
    without = [place for place, age in ages_ms.items() if age is None]
    if without:
        return Finding("ticks", False, f"there is no tick in {_few(without)}", remedy)
    if min(known) < -_AHEAD_MS_MAX:
        ahead = [place for place, age in ages_ms.items() if age == min(known)]
        detail = f"the last tick is {-min(known) / 1_000:.0f} s in the future in {_few(ahead)}"
        return Finding("ticks", False, detail, _SET_CLOCKS)
    if max(known) > _TICK_AGE_MS_MAX:
        old = [place for place, age in ages_ms.items() if (age or 0) > _TICK_AGE_MS_MAX]
        detail = f"the last tick is up to {max(known) / 1_000:.1f} s old in {_few(old)}"
        return Finding("ticks", False, detail, remedy)
    youngest = f"the last tick of each of {len(known)} logs is at most"
    return Finding("ticks", True, f"{youngest} {max(0, *known) / 1_000:.1f} s old")


def _log_time(settings: Settings) -> Finding:
    """Whether time moves for agents: young ticks alone do not say so."""
    told = heartbeats(settings)
    now_ms = time.time_ns() // 1_000_000
    silent = [f"partition {each}" for each, beat in told.items() if beat is None]
    if silent:
        remedy = "start one: `tidegate worker --role decider` (part of `tidegate up`)"
        return Finding("log time", False, f"no decider was heard in {_few(silent)}", remedy)
    beats = {each: beat for each, beat in told.items() if beat is not None}
    worst = max(beats, key=lambda each: abs(now_ms - beats[each].log_time_ms))
    behind_ms = now_ms - beats[worst].log_time_ms
    where = f"for the decider of partition {worst}"
    if behind_ms < -_AHEAD_MS_MAX:
        detail = f"it is {-behind_ms / 1_000:.0f} s ahead of this clock {where}"
        remedy = f"{_SET_CLOCKS}; log time stands until the clock has come there"
        return Finding("log time", False, detail, remedy)
    if behind_ms > _LOG_TIME_AGE_MS_MAX:
        detail = f"it is {behind_ms / 1_000:.0f} s behind this clock {where}"
        return Finding("log time", False, detail, _DECIDER_STANDS)
    held = max(beats, key=lambda each: beats[each].log_time_ms - beats[each].watermark_ms)
    if beats[held].watermark_ms < 0:
        return Finding("log time", False, "no joiner has told its log time", _JOINER_STANDS)
    lag_ms = beats[held].log_time_ms - beats[held].watermark_ms
    if lag_ms > _LOG_TIME_AGE_MS_MAX:
        detail = f"a joiner is {lag_ms / 1_000:.0f} s behind the decider of partition {held}"
        return Finding("log time", False, detail, _JOINER_STANDS)
    detail = f"deciders are at most {max(0, behind_ms) / 1_000:.1f} s behind"
    return Finding("log time", True, f"{detail}, joiners {lag_ms / 1_000:.1f} s behind them")


def _few(places: list[str]) -> str:
    more = f" and {len(places) - _NAMED_MAX} more" if len(places) > _NAMED_MAX else ""
    return ", ".join(places[:_NAMED_MAX]) + more


def _state_folder(settings: Settings) -> Finding:
    probe = settings.state_dir / ".doctor"
    try:
        settings.state_dir.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        remedy = "set state_dir to a folder that can be written"
        return Finding("state_dir", False, f"cannot be written: {error}", remedy)
    return Finding("state_dir", True, f"{settings.state_dir} can be written")


def _web(settings: Settings) -> Finding:
    from tidegate.agents.web import require_loopback

    try:
        require_loopback(settings.web_host)
    except TidegateError as error:
        return Finding("web", False, str(error), "set web_host: 127.0.0.1")
    port = settings.web_port or "any free port"
    return Finding("web", True, f"health and metrics on {settings.web_host}, {port}")


def _alerts(settings: Settings) -> Finding:
    """Addresses are read, not tried: whoever stands behind them would be told of nothing."""
    from tidegate.agents.receivers import services_of

    number = len(list(services_of(settings.alerts.addresses)))
    how = 'to send one: apprise -t Tidegate -b "a test" ADDRESS'
    return Finding("alerts", True, f"addresses that Apprise knows: {number}; {how}")


def _registry(settings: Settings) -> Finding:
    try:
        from confluent_kafka.schema_registry import SchemaRegistryClient
    except ImportError:
        return Finding(
            "registry", False, "its client is not installed", 'pip install "tidegate[registry]"'
        )
    try:
        count = len(SchemaRegistryClient(dict(settings.schema_registry)).get_subjects())
    except Exception as error:
        # The client passes on whatever its HTTP library raises; there is no common root.
        return Finding("registry", False, f"does not answer: {error}", "check schema_registry: url")
    return Finding("registry", True, f"answers, subjects: {count}")
