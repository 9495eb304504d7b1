"""Inserting a row in SQL that is written once; prepared_sql.py has the reason."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final

from django.db import connections, models
from django.db.models.constants import OnConflict
from django.db.models.signals import post_save, pre_save
from django.db.models.sql import InsertQuery

from oauth_binding.core.databases import write_alias
from oauth_binding.storage.prepared_sql import Select, converters_of

#: What a model can replace of how its rows are saved.
_WAYS: Final = ("save", "save_base", "_save_table", "_do_insert")


@dataclass(frozen=True, slots=True)
class _Insert:
    sql: str
    fields: tuple[Any, ...]
    #: For what it returns, if it does.
    returning: Select | None


def save_new(row: Any) -> None:
    """Save a row that is not in the database yet, which gets its primary key.

    It does what this does, signals included, of which tests/storage/ makes sure. A model that has its own way
    to be saved, or columns that are more than values, is saved by just this::

        row.save()

    :param row: an instance of a model.
    """
    model = type(row)
    if not _is_plain(model):
        row.save()
        return
    using = write_alias(model)
    signal = {"sender": model, "instance": row, "raw": False, "using": using, "update_fields": None}
    pre_save.send(**signal)
    _insert(using, row)
    post_save.send(**signal, created=True)


def create_or_update(using: str, row: Any, unique: str, updated: tuple[str, ...], returned: str) -> Any:
    """Insert a row, or update the one that has its value in a unique column, and return the value of a field.

    The row gets its primary key. Otherwise it does what this does, of which tests/storage/ makes sure::

        features, objects = connections[using].features, type(row)._base_manager.using(using)
        fields = [unique] if features.supports_update_conflicts_with_target else None
        objects.bulk_create([row], update_conflicts=True, unique_fields=fields, update_fields=updated)
        objects.values_list(returned, flat=True).get(**{unique: getattr(row, unique)})

    :param using: alias of the database.
    :param row: an instance of a model of this app.
    :param unique: the field whose column is unique.
    :param updated: the fields that are updated.
    :param returned: the field whose value is asked for.
    """
    values = _insert(using, row, unique, updated, (returned,))
    if not values:
        there = type(row)._base_manager.using(using).filter(**{unique: getattr(row, unique)})
        values = there.values_list("pk", returned).get()
    row.pk, value = values
    return value


def _insert(
    using: str, row: Any, unique: str = "", updated: tuple[str, ...] = (), returned: tuple[str, ...] = ()
) -> list[Any]:
    """Insert a row, and return its primary key and values of others of its fields, if the database does."""
    connection = connections[using]
    model: Any = type(row)
    insert = _prepare(using, model, row.pk is not None, unique, updated, returned)
    values = [field.get_db_prep_save(field.pre_save(row, add=True), connection) for field in insert.fields]
    with connection.cursor() as cursor:
        cursor.execute(insert.sql, values)
        answer = [] if insert.returning is None else insert.returning.read(connection, cursor.fetchone())
        if answer:
            row.pk = answer[0]
        elif row.pk is None and not unique:
            options = row._meta
            row.pk = connection.ops.last_insert_id(cursor, options.db_table, options.pk.column)
    row._state.db, row._state.adding = using, False
    return answer or []


@functools.cache
def _prepare(
    using: str, model: Any, has_key: bool, unique: str, updated: tuple[str, ...], returned: tuple[str, ...]
) -> _Insert:
    options, features = model._meta, connections[using].features
    fields = [field for field in options.concrete_fields if has_key or field is not options.pk]
    conflict: dict[str, Any] = {}
    if unique:
        conflict["on_conflict"] = OnConflict.UPDATE
        conflict["update_fields"] = [options.get_field(name) for name in updated]
        # MariaDB is not told which.
        names = [unique] if features.supports_update_conflicts_with_target else []
        conflict["unique_fields"] = [options.get_field(name) for name in names]
    query = InsertQuery(model, **conflict)
    # What the values are makes no difference to the SQL.
    values: Any = SimpleNamespace(**{field.attname: None for field in fields})
    query.insert_values(fields, [values], raw=True)
    compiler = query.get_compiler(using)
    of_one, of_conflict = features.can_return_columns_from_insert, features.can_return_rows_from_bulk_insert
    if of_conflict if unique else of_one:
        compiler.returning_fields = [options.pk, *map(options.get_field, returned)]
    ((sql, _parameters),) = compiler.as_sql()
    columns = [field.get_col(options.db_table) for field in compiler.returning_fields or ()]
    returning = Select(sql, (), converters_of(compiler, columns)) if columns else None
    return _Insert(sql, tuple(fields), returning)


def _is_plain(model: Any) -> bool:
    """Return whether rows of a model are saved as Django does it, and their columns are just values."""
    is_own = any(getattr(model, way) is not getattr(models.Model, way) for way in _WAYS)
    return not is_own and type(model._base_manager) is models.Manager and _has_values(model)


@functools.cache
def _has_values(model: Any) -> bool:
    options = model._meta
    is_one_table = not (options.parents or options.proxy or options.order_with_respect_to)
    return is_one_table and all(
        not (field.generated or hasattr(field, "get_placeholder"))
        and (field.has_default() or not field.has_db_default())
        and (field is options.auto_field or not field.db_returning)
        for field in options.concrete_fields
    )
