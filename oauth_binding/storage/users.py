"""The rows of users, locked: those who issue share the lock; what ends tokens has it exclusively.

So whatever is issued to a user is either there for an event to end, or is issued after the event and finds
what the event has changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist
from django.db import connections

from oauth_binding.core.databases import write_alias
from oauth_binding.storage import prepared_sql
from oauth_binding.storage.chunks import in_chunks
from oauth_binding.storage.prepared_sql import Statement, execute_all


@dataclass(frozen=True, slots=True)
class LockedUser:
    """What a user's row says while it is locked."""

    is_active: bool
    #: The hash of the password; None if the model has no such column.
    password: str | None


def share(pk: Any) -> LockedUser | None:
    """Take a shared lock on a user's row, and return what it says; None if it is gone.

    :param pk: the user's primary key.
    """
    return _fetch(pk, "share")


def lock(pk: Any) -> LockedUser | None:
    """Take an exclusive lock on a user's row, and return what it says; None if it is gone.

    Nothing else is issued to the user until the transaction ends.

    :param pk: the user's primary key.
    """
    return _fetch(pk, "update")


def lock_all(pks: Iterable[Any]) -> None:
    """Take exclusive locks on users' rows, in the order of their primary keys, as ``lock`` does on one."""
    model = get_user_model()
    for chunk in in_chunks(pks):
        rows = model._base_manager.using(write_alias(model)).filter(pk__in=chunk).order_by("pk")
        list(rows.select_for_update().values_list("pk"))


def inactive() -> Any:
    """Return a queryset of the users who are not active; an empty one if the model has no such column."""
    users = get_user_model()._base_manager.using(write_alias(get_user_model()))
    return users.filter(is_active=False) if _has_column(users.model, "is_active") else users.none()


def share_first(pk: Any, using: str, statements: Sequence[Statement]) -> tuple[LockedUser | None, list[Any]]:
    """Do what ``share`` does, and then execute statements: sent together where that can be done.

    Return what the row says, and the results as of ``execute_all``.

    :param pk: the user's primary key.
    :param using: the alias of the database that the statements are for.
    :param statements: what is executed.
    """
    if write_alias(get_user_model()) != using:
        return share(pk), execute_all(using, statements)
    query = _select(pk, "share")
    (_number, row), *results = execute_all(using, [query.statement, *statements])
    return _read(query, row), results


def _fetch(pk: Any, lock: prepared_sql.Lock) -> LockedUser | None:
    query = _select(pk, lock)
    ((_count, row),) = execute_all(write_alias(get_user_model()), [query.statement])
    return _read(query, row)


def _select(pk: Any, lock: prepared_sql.Lock) -> prepared_sql.Select:
    model = get_user_model()
    names = ("pk", *_names(model))
    return prepared_sql.select(write_alias(model), model, "pk", pk, names, lock=lock, manager="_base_manager")


def _read(query: prepared_sql.Select, row: Any) -> LockedUser | None:
    model = get_user_model()
    values = query.read(connections[write_alias(model)], row)
    if values is None:
        return None
    said = dict(zip(_names(model), values[1:], strict=True))
    return LockedUser(bool(said.get("is_active", True)), said.get("password"))


def _names(model: Any) -> tuple[str, ...]:
    return tuple(name for name in ("is_active", "password") if _has_column(model, name))


def _has_column(model: Any, name: str) -> bool:
    try:
        return bool(model._meta.get_field(name).concrete)
    except FieldDoesNotExist:
        return False
