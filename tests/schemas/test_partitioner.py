"""Keys fall into the partitions Kafka's own clients choose."""

from __future__ import annotations

import pytest
from aiokafka.partitioner import murmur2 as peer_murmur2
from hypothesis import given
from hypothesis import strategies as st

from tidegate.schemas.partitioner import murmur2, partition_of


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_has_the_values_of_kafkas_own_test(key: bytes, expected: int) -> None:
    """Vectors of org.apache.kafka.common.utils.UtilsTest.testMurmur2, as signed 32-bit numbers."""
    assert murmur2(key) == expected % 2**32


@given(st.binary(max_size=70))
def test_murmur2_agrees_with_an_independent_client(key: bytes) -> None:
    """aiokafka's implementation is the oracle."""
    assert murmur2(key) == peer_murmur2(key) % 2**32


@given(st.binary(max_size=40), st.integers(1, 1000))
def test_partition_exists(key: bytes, count: int) -> None:
    """Every key has a partition of the topic."""
    assert partition_of(key, count) == (peer_murmur2(key) & 0x7FFFFFFF) % count


def test_a_topic_without_partitions_is_refused() -> None:
    """No partition is a mistake of the caller, not partition 0."""
    with pytest.raises(ValueError, match="at least one partition"):
        partition_of(b"key", 0)
