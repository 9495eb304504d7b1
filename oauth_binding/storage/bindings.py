"""The rows of bindings: made, locked and marked as used while tokens are issued."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connections
from django.db.models import F, Q
from django.utils import timezone

from oauth_binding.core.databases import write_alias, written
from oauth_binding.core.signals import binding_created, send_after_commit
from oauth_binding.models import TokenBinding
from oauth_binding.storage import prepared_sql
from oauth_binding.storage.chunks import in_chunks

#: ``TokenBinding.last_used`` is at most this much behind, so that reuse seldom writes.
LAST_USED_RESOLUTION: Final = timedelta(minutes=1)


def lock(binding: TokenBinding, *, is_expected: bool) -> bool:
    """Lock the row of a binding, which is made if it is not there, and note that it is used.

    The lock is a write: a cluster that certifies transactions when they commit knows no other.

    Return whether that could be done: a binding that was read before may have been deleted meanwhile.

    :param binding: one that was read, or one of :meth:`TokenBinding.identify`, which gets its primary key.
    :param is_expected: whether the row of the latter is most likely there.
    """
    if not binding._state.adding:
        return _write("pk", binding.pk) is not None
    if is_expected:
        pk = _write("key", binding.key)
        if pk is not None:
            binding.pk = pk
            return True
    _insert_locked(binding)
    return True


def lock_all(pks: Iterable[Any]) -> None:
    """Lock the rows of bindings whose tokens are about to end.

    Whoever calls it has locked the user, where they have one: nobody else holds two of them then.

    :param pks: their primary keys.
    """
    for chunk in in_chunks(pks):
        written(TokenBinding).filter(pk__in=chunk).update(revision=F("revision") + 1)


def touch(binding_key: str, last_used: datetime | None) -> None:
    """Note that a binding is used, unless that was noted a moment ago.

    :param binding_key: the binding_key().
    :param last_used: what was read.
    """
    now = timezone.now()
    if last_used is None or now - last_used > LAST_USED_RESOLUTION:
        written(TokenBinding).filter(key=binding_key).update(last_used=now)


def note_proof_missed(binding_key: str) -> None:
    """Note that a token request of a binding had no proof, unless that was noted a moment ago.

    :param binding_key: the binding_key().
    """
    now = timezone.now()
    long_ago = Q(proof_missed__isnull=True) | Q(proof_missed__lt=now - LAST_USED_RESOLUTION)
    written(TokenBinding).filter(long_ago, key=binding_key).update(proof_missed=now)


def _write(field: str, value: Any) -> Any:
    """Write the row of a binding, which locks it, and return its primary key; None where it is not there."""
    using = write_alias(TokenBinding)
    connection = connections[using]
    now = connection.ops.adapt_datetimefield_value(timezone.now())
    with connection.cursor() as cursor:
        cursor.execute(_statement(using, field), [now, value])
        if _returns_rows(connection):
            row = cursor.fetchone()
            return None if row is None else row[0]
        count = cursor.rowcount
    if not count:
        return None
    if field == "pk":
        return value
    found = prepared_sql.fetch(using, TokenBinding, field, value, ("pk",))
    return None if found is None else found[0]


@functools.cache
def _statement(using: str, field: str) -> str:
    connection = connections[using]
    options: Any = TokenBinding._meta
    quote = connection.ops.quote_name
    column = options.pk.column if field == "pk" else options.get_field(field).column
    revision = quote(options.get_field("revision").column)
    statement = (
        f"UPDATE {quote(options.db_table)} SET {revision} = {revision} + 1,"  # noqa: S608
        f" {quote(options.get_field('last_used').column)} = %s WHERE {quote(column)} = %s"
    )
    return f"{statement} RETURNING {quote(options.pk.column)}" if _returns_rows(connection) else statement


def _returns_rows(connection: Any) -> bool:
    """Return whether a database returns the primary key of a row that it updates."""
    # SQLite can as of the same release for INSERT, which is what Django knows of.
    is_able: bool = connection.features.can_return_columns_from_insert
    return is_able and connection.vendor in {"postgresql", "sqlite"}


def _insert_locked(binding: TokenBinding) -> None:
    using = write_alias(TokenBinding)
    features = connections[using].features
    bindings = written(TokenBinding)
    # In one statement: those that wait for who inserts the row would deadlock on MariaDB, if they then locked
    # it in another.
    bindings.bulk_create(
        [binding],
        update_conflicts=True,
        unique_fields=["key"] if features.supports_update_conflicts_with_target else None,
        update_fields=["last_used"],
    )
    if not features.can_return_rows_from_bulk_insert:
        binding.pk = bindings.values_list("pk", flat=True).get(key=binding.key)
    if binding_created.has_listeners(TokenBinding):
        # What was there before was made at another time.
        made = bindings.filter(key=binding.key, created=binding.created)
        if made.exists():
            send_after_commit(binding_created, TokenBinding, using, binding=binding)
