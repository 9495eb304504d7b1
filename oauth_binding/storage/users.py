"""The rows of users, locked: those who issue share the lock; what ends tokens has it exclusively.

So whatever is issued to a user is either there for an event to end, or is issued after the event and finds
what the event has changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist

from oauth_binding.core.databases import write_alias
from oauth_binding.storage import prepared_sql
from oauth_binding.storage.chunks import in_chunks


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


def _fetch(pk: Any, lock: prepared_sql.Lock) -> LockedUser | None:
    model = get_user_model()
    names = tuple(name for name in ("is_active", "password") if _has_column(model, name))
    values = prepared_sql.fetch(
        write_alias(model), model, "pk", pk, ("pk", *names), lock=lock, manager="_base_manager"
    )
    if values is None:
        return None
    row = dict(zip(names, values[1:], strict=True))
    return LockedUser(bool(row.get("is_active", True)), row.get("password"))


def _has_column(model: Any, name: str) -> bool:
    try:
        return bool(model._meta.get_field(name).concrete)
    except FieldDoesNotExist:
        return False
