"""Rows in chunks: a statement has so many parameters at most, a short transaction so many rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

#: How many values a statement names. SQLite may take no more than 999, PostgreSQL and MariaDB some 65,000.
CHUNK_SIZE: Final = 250


def in_chunks(values: Iterable[Any]) -> Iterator[list[Any]]:
    """Yield values in lists of at most ``CHUNK_SIZE``, in order: who locks rows by them does so in order.

    :param values: what can be sorted; no value is yielded twice.
    """
    ordered = sorted(set(values))
    for start in range(0, len(ordered), CHUNK_SIZE):
        yield ordered[start : start + CHUNK_SIZE]


def in_pages(rows: Any, size: int, *, newest_first: bool = False) -> Iterator[list[Any]]:
    """Yield the rows of a queryset in lists, by their primary keys, of whatever type these are.

    Each list is read when it is asked for, and no row comes twice, also where rows go or change meanwhile.
    Not by a cursor of the database: MariaDB's client has all rows at once, and a pooler of connections knows
    none.

    :param rows: a queryset, not in slices, of rows or of their primary keys alone.
    :param size: of a list, in rows.
    """
    order, beyond = ("-pk", "pk__lt") if newest_first else ("pk", "pk__gt")
    ordered = rows.order_by(order)
    page = list(ordered[:size])
    while page:
        yield page
        last = getattr(page[-1], "pk", page[-1])
        page = list(ordered.filter(**{beyond: last})[:size]) if len(page) == size else []
