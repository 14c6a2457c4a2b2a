"""`tidegate doctor`: the settings in force, where each came from, and whether each works."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields

from tidegate.agents.settings import Settings
from tidegate.schemas.errors import TidegateError

EXIT_UNREACHABLE = 3
_SECRET = re.compile(r"password|secret|\.key|token|jaas", re.IGNORECASE)
_TICK_AGE_MS_MAX = 1_000
_TICK_RECORDS = 200


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
    if output == "json":
        rows = [{"name": name, "value": value, "origin": origin} for name, value, origin in shown]
        answer = {"settings": rows, "findings": [asdict(finding) for finding in findings]}
        print(json.dumps(answer, indent=2))
    else:
        for name, value, origin in shown:
            print(f"{name:24} {value:34} {origin}")
        print()
        for finding in findings:
            print(f"{'ok  ' if finding.works else 'FAIL'}  {finding.name:10} {finding.detail}")
            if finding.remedy:
                print(f"                  {finding.remedy}")
    if not reached:
        return EXIT_UNREACHABLE
    return 0 if all(finding.works for finding in findings) else 1


def examine(settings: Settings) -> tuple[list[Finding], bool]:
    """Try everything the settings name; second, whether a broker answered."""
    findings = [_state_folder(settings), _web(settings)]
    broker = _guarded("broker", lambda: _broker(settings))
    findings.append(broker)
    if broker.works:
        findings.append(_guarded("topics", lambda: _topics(settings)))
        findings.append(_guarded("ticks", lambda: _ticks(settings)))
    if settings.schema_registry:
        findings.append(_registry(settings))
    return findings, broker.works


def _settings(settings: Settings) -> Iterator[tuple[str, str, str]]:
    for field in fields(Settings):
        if field.name == "origins":
            continue
        origin = settings.origins.get(field.name, "default")
        value = getattr(settings, field.name)
        if field.name in ("kafka", "schema_registry"):
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
    age_ms = tick_age_ms(settings, time.time_ns() // 1_000_000)
    remedy = "start a ticker: `tidegate worker --role ticker` (part of `tidegate up`)"
    if age_ms is None:
        return Finding("ticks", False, "nobody ticks: time stands still for all agents", remedy)
    detail = f"the last tick on control is {max(0, age_ms) / 1_000:.1f} s old"
    if age_ms > _TICK_AGE_MS_MAX:
        return Finding("ticks", False, detail, remedy)
    return Finding("ticks", True, detail)


def tick_age_ms(settings: Settings, now_ms: int) -> int | None:
    """Age of the latest tick in the first partition of `control`; None when there is none.

    Raises:
        Unreachable: no broker answers.
    """
    from tidegate.agents.kafka import new_consumer, read_topic, watermarks
    from tidegate.schemas.marks import Tick, read_mark

    consumer = new_consumer(settings)
    try:
        low, high = watermarks(settings, consumer, "control", [0])[0]
    finally:
        consumer.close()
    start = {0: max(low, high - _TICK_RECORDS)}
    marks = [
        read_mark(record.headers)
        for record in read_topic(settings, "control", [0], start)
        if record.value is None
    ]
    times = [mark.log_time_ms for mark in marks if isinstance(mark, Tick)]
    return now_ms - max(times) if times else None


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
