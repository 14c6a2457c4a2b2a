"""Which partition a key belongs to: Kafka's default partitioner, so that any producer agrees.

Java clients and librdkafka's `partitioner=murmur2_random` use 32-bit MurmurHash2 with the seed
0x9747b28c, its sign bit cleared, modulo the number of partitions
(org.apache.kafka.common.utils.Utils.murmur2 and toPositive).
"""

from __future__ import annotations

_SEED = 0x9747B28C
_MULTIPLIER = 0x5BD1E995
_MASK = 0xFFFFFFFF


def murmur2(key: bytes) -> int:
    """32-bit MurmurHash2 of `key`, unsigned.

    >>> murmur2(b"21") - 2**32
    -973932308
    """
    length = len(key)
    hashed = _SEED ^ length
    whole = length & ~3
    for start in range(0, whole, 4):
        word = (int.from_bytes(key[start : start + 4], "little") * _MULTIPLIER) & _MASK
        word = ((word ^ (word >> 24)) * _MULTIPLIER) & _MASK
        hashed = ((hashed * _MULTIPLIER) & _MASK) ^ word
    if whole < length:
        hashed = ((hashed ^ int.from_bytes(key[whole:], "little")) * _MULTIPLIER) & _MASK
    hashed = ((hashed ^ (hashed >> 13)) * _MULTIPLIER) & _MASK
    return hashed ^ (hashed >> 15)


def partition_of(key: bytes, count: int) -> int:
    """Partition of `key` in a topic of `count` partitions.

    Raises:
        ValueError: `count` is not positive.

    >>> partition_of(b"click-ranker", 4)
    3
    """
    if count < 1:
        raise ValueError(f"a topic has at least one partition, not {count}")
    return (murmur2(key) & 0x7FFFFFFF) % count
