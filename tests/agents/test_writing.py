"""Records that must be there before anything else is done."""

from __future__ import annotations

from tidegate.agents.kafka import read_topic
from tidegate.agents.settings import Settings
from tidegate.agents.writing import write_acknowledged

NOBODY = Settings(kafka={"bootstrap.servers": "127.0.0.1:1", "log_level": "0"})


def test_what_is_acknowledged_is_there(embedded_settings: Settings) -> None:
    """Nothing to complain of, and every record can be read."""
    topic = embedded_settings.topic("control")
    records = [{"topic": topic, "value": b"%d" % number, "partition": 1} for number in range(3)]
    assert write_acknowledged(embedded_settings, records) == ""
    found = read_topic(embedded_settings, "control", [1])
    assert [record.value for record in found] == [b"0", b"1", b"2"]


def test_silence_and_refusals_are_told() -> None:
    """No answer in time, or what the broker or the client said."""
    record = {"topic": NOBODY.topic("control"), "value": b"x"}
    assert write_acknowledged(NOBODY, [record], 0.1) == "no answer within 0.1 s"
    impatient = Settings(kafka={**NOBODY.kafka, "message.timeout.ms": "50"})
    assert "Message timed out" in write_acknowledged(impatient, [record], 10.0)
