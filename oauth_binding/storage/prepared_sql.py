"""Reading a row by a unique column, in SQL that is written once.

Django writes a query anew each time, which takes several times as long as a database takes to answer one like
these.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from django.db import connections, models

#: How a row is locked: not at all, shared (against changes only), or exclusively.
Lock = Literal["", "share", "update"]

#: What locks the rows of a query against changes only, which Django can't do. On other databases they are
#: locked exclusively.
_SHARED: Final = {"postgresql": " FOR SHARE", "mysql": " LOCK IN SHARE MODE"}


#: SQL and its parameters.
Statement = tuple[str, Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Select:
    """A query for values of a row, to be executed with its parameters."""

    sql: str
    parameters: tuple[Any, ...]
    #: Which values are converted, and how: index, converter and the expression that it is given.
    converters: list[tuple[int, Callable[..., Any], Any]]

    @property
    def statement(self) -> Statement:
        return self.sql, self.parameters

    def read(self, connection: Any, row: Any) -> list[Any] | None:
        """Return the values in a row that the database has returned, or None."""
        if row is None:
            return None
        values = list(row)
        for index, convert, expression in self.converters:
            values[index] = convert(values[index], expression, connection)
        return values


def fetch(
    using: str,
    model: Any,
    field: str,
    value: Any,
    names: tuple[str, ...],
    *,
    lock: Lock = "",
    manager: str = "objects",
) -> list[Any] | None:
    """Return values of a row, or None.

    It does what this does, of which tests/storage/ makes sure::

        rows = model.objects.using(using).filter(**{field: value}).values_list(*names)
        next(iter(rows.select_for_update() if lock == "update" else rows), None)

    :param using: alias of the database.
    :param field: a unique field of the model, or "pk".
    :param value: its value.
    :param names: the names of the values, as for ``values_list()``.
    :param lock: whether the row is locked, as by ``select_for_update()``, or with a shared lock.
    :param manager: which of the model's managers has the row.
    """
    connection = connections[using]
    query = select(using, model, field, value, names, lock=lock, manager=manager)
    with connection.cursor() as cursor:
        cursor.execute(*query.statement)
        return query.read(connection, cursor.fetchone())


def select(
    using: str,
    model: Any,
    field: str,
    value: Any,
    names: tuple[str, ...],
    *,
    lock: Lock = "",
    manager: str = "objects",
) -> Select:
    """Return the query that ``fetch`` executes, which has the same parameters."""
    if type(getattr(model, manager)).get_queryset is not models.Manager.get_queryset:
        # It may choose among the rows, and not always the same.
        return _write(using, model, manager, field, value, names, lock)
    column = model._meta.pk if field == "pk" else model._meta.get_field(field)
    prepared = _prepare(using, model, manager, field, names, lock)
    return replace(prepared, parameters=(column.get_db_prep_value(value, connections[using]),))


def find(using: str, model: Any, field: str, value: Any, related: tuple[str, ...] = ()) -> Any:
    """Return a row, or None.

    It does what this does, of which tests/storage/ makes sure::

        rows = model.objects.using(using).filter(**{field: value})
        next(iter(rows.select_related(*related) if related else rows), None)

    :param using: alias of the database.
    :param field: a field of the model, or "pk"; where it is not unique, any of the rows is returned.
    :param value: what it is.
    :param related: foreign keys of the model, or of models named before, as in ``select_related()``.
    """
    columns, names = _columns(model, related)
    values = fetch(using, model, field, value, names)
    if values is None:
        return None
    rows: dict[str, Any] = {}
    for path, (other, attributes) in zip(("", *related), columns, strict=True):
        own, values = values[: len(attributes)], values[len(attributes) :]
        # Its primary key was read from the row that refers to it, and it may be gone itself.
        key = attributes.index(other._meta.pk.attname)
        is_there = any(value is not None for index, value in enumerate(own) if index != key)
        rows[path] = other.from_db(using, attributes, own) if is_there else None
        before, _, name = path.rpartition("__")
        if path and rows[before] is not None:
            rows[before]._meta.get_field(name).set_cached_value(rows[before], rows[path])
    return rows[""]


@functools.cache
def _columns(model: Any, related: tuple[str, ...]) -> tuple[list[tuple[Any, list[str]]], tuple[str, ...]]:
    """Return the models with their columns, and the names that values_list() has for the columns."""
    models_ = [model, *(_related_model(model, path) for path in related)]
    columns = [(each, [column.attname for column in each._meta.concrete_fields]) for each in models_]
    prefixes = ["", *(f"{name}__" for name in related)]
    names = [
        prefix + attribute
        for prefix, (_model, attributes) in zip(prefixes, columns, strict=True)
        for attribute in attributes
    ]
    return columns, tuple(names)


def _related_model(model: Any, path: str) -> Any:
    for name in path.split("__"):
        model = model._meta.get_field(name).related_model
    return model


def _write(
    using: str, model: Any, manager: str, field: str, value: Any, names: tuple[str, ...], lock: Lock
) -> Select:
    shared = _SHARED.get(connections[using].vendor, "") if lock == "share" else ""
    rows = getattr(model, manager).using(using).filter(**{field: value}).values_list(*names)
    if lock and not shared:
        rows = rows.select_for_update()
    compiler = rows.query.get_compiler(using)
    sql, parameters = compiler.as_sql()
    columns = [expression for expression, _sql, _alias in compiler.select]
    return Select(sql + shared, tuple(parameters), converters_of(compiler, columns))


def converters_of(compiler: Any, columns: list[Any]) -> list[tuple[int, Callable[..., Any], Any]]:
    """Return how the values of some columns are converted, as ``Select`` has it.

    :param compiler: Django's, of the query.
    :param columns: the expressions that the query returns.
    """
    found = compiler.get_converters(columns)
    return [(index, convert, expression) for index, (chain, expression) in found.items() for convert in chain]


@functools.cache
def _prepare(using: str, model: Any, manager: str, field: str, names: tuple[str, ...], lock: Lock) -> Select:
    return _write(using, model, manager, field, 0, names, lock)


def takes_several_statements(connection: Any) -> bool:
    """Return whether statements can be sent together, which saves a round trip."""
    return connection.vendor == "postgresql" and not connection.features.uses_server_side_binding


def execute_all(using: str, statements: Sequence[Statement]) -> list[tuple[int, Any]]:
    """Execute statements one after the other, sent together where the database takes them so.

    Return of each how many rows it was about, and the first row that it has returned, or None.

    :param using: alias of the database.
    """
    connection: Any = connections[using]
    # Of several statements, psycopg2 has the result of the last alone.
    is_together = takes_several_statements(connection) and connection.Database.__name__ == "psycopg"
    if is_together:
        parameters = [parameter for _sql, parameters in statements for parameter in parameters]
        statements = [("; ".join(sql for sql, _parameters in statements), parameters)]
    results = []
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(*statement)
            goes_on = True
            while goes_on:
                row = None if cursor.description is None else cursor.fetchone()
                results.append((cursor.rowcount, row))
                goes_on = is_together and cursor.nextset()
    return results
