"""Primary keys in chunks: a statement has so many parameters at most, a short transaction so many rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

#: How many values a statement names. SQLite may take no more than 999, PostgreSQL and MariaDB some 65,000.
CHUNK_SIZE: Final = 250


def in_chunks(values: Iterable[Any]) -> Iterator[list[Any]]:
    """Yield values in lists of at most :data:`CHUNK_SIZE`, in order: who locks rows by them does so in order.

    :param values: what can be sorted; no value is yielded twice.
    """
    ordered = sorted(set(values))
    for start in range(0, len(ordered), CHUNK_SIZE):
        yield ordered[start : start + CHUNK_SIZE]
