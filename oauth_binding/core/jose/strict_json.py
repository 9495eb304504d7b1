"""JSON that somebody else has written: what could be read in two ways, or could not be kept, is refused."""

from __future__ import annotations

import json
import math
from typing import Any


def read_object(raw: bytes) -> dict[str, Any]:
    """Return a JSON object (RFC 8259 section 4) that a database can keep, and that can be written again.

    :param raw: its UTF-8.
    :raises ValueError, RecursionError: it is not JSON, not an object, has a name twice (RFC 7515 section 4),
        a NUL, half a surrogate pair, NaN or an infinite number.
    """
    value = _decoder.decode(raw.decode())
    if not isinstance(value, dict):
        raise ValueError("it is not a JSON object")
    if b"\\" in raw:  # a NUL or half a pair can only come from an escape
        written = json.dumps(value, ensure_ascii=False)
        written.encode()
        if "\\u0000" in written:
            raise ValueError("it has a NUL")
    return value


def depth(value: Any) -> int:
    """Return how deeply objects and arrays are nested in a value; 0 for any other value."""
    levels, items = 0, [value]
    while items := [item for item in items if isinstance(item, dict | list)]:
        levels += 1
        items = [each for item in items for each in (item.values() if isinstance(item, dict) else item)]
    return levels


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("it has a name twice")
    return members


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("it has a number that is not finite")
    return number


_decoder = json.JSONDecoder(
    object_pairs_hook=_without_duplicates, parse_float=_finite, parse_constant=_finite
)
