"""Rows in chunks: the parameters of a statement, and the rows of a short transaction, are limited."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

#: How many values a statement names. SQLite may take no more than 999, PostgreSQL and MariaDB some 65,000.
CHUNK_SIZE: Final = 250


def in_chunks(values: Iterable[Any]) -> Iterator[list[Any]]:
    """Yield values in lists of at most ``CHUNK_SIZE``, in order, so that rows are locked in that order.

    :param values: values that can be sorted; none is yielded twice.
    """
    ordered = sorted(set(values))
    for start in range(0, len(ordered), CHUNK_SIZE):
        yield ordered[start : start + CHUNK_SIZE]


def in_pages(rows: Any, size: int, *, newest_first: bool = False) -> Iterator[list[Any]]:
    """Yield the rows of a queryset in lists, by their primary keys, of whatever type these are.

    Each list is read when it is asked for, and no row comes twice, even if rows go or change meanwhile. A
    cursor of the database would not do: MariaDB's client reads all rows at once, and a connection pooler does
    not support any.

    :param rows: a queryset that has not been sliced, of rows or only of their primary keys.
    :param size: the length of a list, in rows.
    """
    order, beyond = ("-pk", "pk__lt") if newest_first else ("pk", "pk__gt")
    ordered = rows.order_by(order)
    page = list(ordered[:size])
    while page:
        yield page
        last = getattr(page[-1], "pk", page[-1])
        page = list(ordered.filter(**{beyond: last})[:size]) if len(page) == size else []
