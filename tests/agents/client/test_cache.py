"""The disk cache: whole, sound, or as good as none."""

from __future__ import annotations

from pathlib import Path

from tests.agents.client.test_tables import rollback
from tests.streams.tables import routing
from tidegate.agents.client.cache import Cache
from tidegate.agents.client.tables import Tables


def filled() -> Tables:
    """Tables with a rollback of now and one of a generation to come."""
    tables = Tables()
    tables.take_routing(routing({"a": 5_000, "b": 5_000}), 3)
    tables.take_control(rollback(), 3, 0)
    tables.take_control(rollback("c", generation=9), 3, 0)
    tables.take_control(rollback("z", experiment="without-table"), 1, 0)
    tables.publish()
    return tables


def test_what_was_known_comes_back(tmp_path: Path) -> None:
    """Tables, rollbacks, those of generations to come, and the time they were heard."""
    cache = Cache(tmp_path, "tidegate.", "host:9092")
    before, after = filled(), Tables()
    assert cache.save(before, 1_234)
    assert cache.load(after) == 1_234
    after.publish()
    assert after.in_force == before.in_force
    assert after.known() == before.known()


def test_clusters_and_prefixes_do_not_mix(tmp_path: Path) -> None:
    """Another cluster's tables are no tables of ours."""
    assert Cache(tmp_path, "a.", "h:1").save(filled(), 1)
    assert Cache(tmp_path, "b.", "h:1").load(Tables()) is None
    assert Cache(tmp_path, "a.", "h:2").load(Tables()) is None


def test_a_damaged_file_is_no_file(tmp_path: Path) -> None:
    """Cut off anywhere, or with any byte changed, it gives nothing and changes nothing."""
    cache = Cache(tmp_path, "tidegate.", "host:9092")
    cache.save(filled(), 1)
    sound = cache.path.read_bytes()
    for place in range(0, len(sound), 7):
        for damaged in (sound[:place], sound[:place] + b"#" + sound[place + 1 :]):
            cache.path.write_bytes(damaged)
            tables = Tables()
            assert cache.load(tables) is None
            assert tables.known() == []
    cache.path.write_text("[]", encoding="utf-8")
    assert cache.load(Tables()) is None


def test_a_disk_that_refuses_does_no_harm(tmp_path: Path) -> None:
    """Where no folder can be made there is no cache, and no error."""
    (tmp_path / "file").write_text("x", encoding="utf-8")
    cache = Cache(tmp_path / "file", "tidegate.", "host:9092")
    assert not cache.save(filled(), 1)
    assert cache.load(Tables()) is None
