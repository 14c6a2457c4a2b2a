"""Several byte strings in one."""

from __future__ import annotations

from collections.abc import Sequence


def join(sections: Sequence[bytes | memoryview]) -> bytes:
    """Sections behind their number and sizes, 8 bytes each; views are of octets."""
    sizes = b"".join(len(section).to_bytes(8, "little") for section in sections)
    return b"".join([len(sections).to_bytes(8, "little"), sizes, *sections])


def split(data: bytes) -> list[bytes]:
    """The sections again.

    >>> split(join([b"a", b"", b"bc"]))
    [b'a', b'', b'bc']
    """
    count = int.from_bytes(data[:8], "little")
    start = 8 + 8 * count
    sections = []
    for place in range(count):
        size = int.from_bytes(data[8 + 8 * place : 16 + 8 * place], "little")
        sections.append(data[start : start + size])
        start += size
    return sections
