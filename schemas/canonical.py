"""One spelling for every value: canonical JSON, floats to 9 significant digits, SHA-256.

Two workers that conclude the same must write the same bytes, so everything that is published as
JSON or compared as a float goes through here.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any


def canonical_json(value: Any) -> str:
    """`value` as JSON with sorted keys, no spaces, non-ASCII letters as they are.

    Raises:
        ValueError: a float is NaN or infinite.
        TypeError: a value has no JSON form, or keys of different types stand in one map.

    >>> canonical_json({"b": 1.5, "a": [True, None, "é"]})
    '{"a":[true,null,"é"],"b":1.5}'
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def round_significant(value: float, digits: int = 9) -> float:
    """`value` rounded to `digits` significant decimal digits; -0.0 becomes 0.0.

    NaN and infinity stay what they are: `canonical_json` refuses them later, where it is known
    what they were to say.

    >>> round_significant(0.1 + 0.2), round_significant(123456789012.0), round_significant(-0.0)
    (0.3, 123456789000.0, 0.0)
    """
    # Decimal text is rounded correctly on every platform; multiplying by powers of ten is not.
    return float(f"{value:.{digits - 1}e}") + 0.0


def sha256_hex(data: bytes | str) -> str:
    """SHA-256 of bytes, or of a text's UTF-8, as 64 hexadecimal digits.

    >>> sha256_hex("")[:16]
    'e3b0c44298fc1c14'
    """
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()
