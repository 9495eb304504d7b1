"""The rows of bindings: made, locked and marked as used while tokens are issued."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connections
from django.db.models import F
from django.utils import timezone
from oauth2_provider.models import get_access_token_model

from oauth_binding.core.databases import write_alias, written
from oauth_binding.core.device_facts import DeviceFacts
from oauth_binding.core.signals import binding_created, is_wanted, send_after_commit
from oauth_binding.models import TokenBinding, sighting
from oauth_binding.storage import prepared_sql, users
from oauth_binding.storage.chunks import in_chunks
from oauth_binding.storage.insertion import create_or_update
from oauth_binding.storage.liveness import is_live
from oauth_binding.storage.prepared_sql import Statement, execute_all
from oauth_binding.storage.users import LockedUser

#: ``TokenBinding.last_used`` is behind by at most this much, so that reuse seldom writes.
LAST_USED_RESOLUTION: Final = timedelta(minutes=1)


def lock(binding: TokenBinding, facts: DeviceFacts | None, *, is_expected: bool, name: str) -> bool:
    """Lock the row of a binding, which is made if it does not exist, and note that it is used.

    The lock is a write: a cluster that certifies transactions when they commit knows no other.

    Return whether that could be done: a binding that was read before may have been deleted meanwhile.

    :param binding: one that was read, or one of ``TokenBinding.identify``, which gets its primary key.
    :param facts: what is seen of the device now; None for nothing new.
    :param is_expected: whether a row of the latter most likely exists.
    :param name: its name if it is made and can have one.
    """
    if not binding._state.adding:
        return _write("pk", binding.pk, facts) is not None
    if is_expected:
        pk = _write("key", binding.key, facts)
        if pk is not None:
            binding.pk = pk
            return True
    make_or_lock(binding, facts, name)
    return True


def lock_occupied(binding: TokenBinding, slot: str, facts: DeviceFacts | None) -> bool:
    """Lock the row of a binding one of whose slots has a live access token, and note that it is used.

    Return whether it has; nothing is locked if it has not.

    :param binding: one of ``TokenBinding.identify``, which gets its primary key.
    :param slot: the slot_key() of the slot.
    :param facts: as for ``lock``.
    """
    using = write_alias(TokenBinding)
    if _returns_rows(connections[using]):
        ((_count, row),) = execute_all(using, [_locking_occupied(using, slot, facts)])
        return _take_key(binding, row)
    # In one statement it would lock the token before the binding.
    found = prepared_sql.fetch(using, get_access_token_model(), "slot", slot, ("binding_id", "expires"))
    if found is None or not is_live(found[1]):
        return False
    binding.pk = _write("pk", found[0], facts)
    return binding.pk is not None


def share_user_and_lock_occupied(
    binding: TokenBinding, slot: str, facts: DeviceFacts | None
) -> tuple[LockedUser | None, bool]:
    """Do what ``users.share`` does with the user of a binding, and then what ``lock_occupied`` does.

    :param binding: as for ``lock_occupied``.
    :param slot: the same.
    :param facts: the same.
    """
    using = write_alias(TokenBinding)
    if not _returns_rows(connections[using]):
        return users.share(binding.user_id), lock_occupied(binding, slot, facts)
    user, results = users.share_first(binding.user_id, using, [_locking_occupied(using, slot, facts)])
    ((_count, row),) = results
    return user, _take_key(binding, row)


def _locking_occupied(using: str, slot: str, facts: DeviceFacts | None) -> Statement:
    connection = connections[using]
    now = connection.ops.adapt_datetimefield_value(timezone.now())
    return _statement(using, "slot", facts is not None), [now, *_adapted(connection, facts), slot, now]


def _take_key(binding: TokenBinding, row: Any) -> bool:
    binding.pk = None if row is None else row[0]
    return row is not None


def lock_all(pks: Iterable[Any]) -> None:
    """Lock the rows of bindings whose tokens are about to end.

    The caller has locked the user, if the bindings have one: so nobody else holds two of them.

    :param pks: their primary keys.
    """
    for chunk in in_chunks(pks):
        written(TokenBinding).filter(pk__in=chunk).update(revision=F("revision") + 1)


def touch(binding_key: str, last_used: datetime | None, facts: DeviceFacts | None) -> None:
    """Note that a binding is used, unless that was noted a moment ago.

    :param binding_key: the binding_key().
    :param last_used: what was read.
    :param facts: as for ``lock``.
    """
    now = timezone.now()
    if last_used is None or now - last_used > LAST_USED_RESOLUTION:
        seen = {} if facts is None else sighting("last", facts)
        written(TokenBinding).filter(key=binding_key).update(last_used=now, **seen)


def _write(field: str, value: Any, facts: DeviceFacts | None) -> Any:
    """Write the row of a binding, which locks it, and return its primary key; None if it does not exist."""
    using = write_alias(TokenBinding)
    connection = connections[using]
    now = connection.ops.adapt_datetimefield_value(timezone.now())
    with connection.cursor() as cursor:
        cursor.execute(
            _statement(using, field, facts is not None), [now, *_adapted(connection, facts), value]
        )
        if _returns_rows(connection):
            row = cursor.fetchone()
            return None if row is None else row[0]
        count = cursor.rowcount
    if not count:
        return None
    if field == "pk":
        return value
    found = prepared_sql.fetch(using, TokenBinding, field, value, ("pk",), manager="_base_manager")
    return None if found is None else found[0]


def _adapted(connection: Any, facts: DeviceFacts | None) -> list[Any]:
    """Return the values of the columns of the last sighting in the form that a database takes."""
    if facts is None:
        return []
    address = connection.ops.adapt_ipaddressfield_value(facts.address or None)
    return [*{**sighting("last", facts), "last_address": address}.values()]


@functools.cache
def _statement(using: str, field: str, has_facts: bool) -> str:
    connection = connections[using]
    options: Any = TokenBinding._meta
    quote = connection.ops.quote_name
    names = {each.name: quote(each.column) for each in options.concrete_fields}
    names |= {"pk": quote(options.pk.column), "table": quote(options.db_table)}
    written_columns = ["last_used", *(sighting("last", DeviceFacts()) if has_facts else ())]
    values = "".join(f", {names[name]} = %s" for name in written_columns)
    statement = "UPDATE {table} SET {revision} = {revision} + 1, {may_be_live} = TRUE".format_map(names)
    statement += f"{values} WHERE "
    if field == "slot":
        access: Any = get_access_token_model()._meta
        binding, slot, expires = (
            quote(access.get_field(name).column) for name in ("binding", "slot", "expires")
        )
        statement += (
            f"{names['pk']} = (SELECT {binding} FROM {quote(access.db_table)}"  # noqa: S608
            f" WHERE {slot} = %s AND {expires} > %s)"
        )
    else:
        statement += f"{names[field]} = %s"
    return f"{statement} RETURNING {quote(options.pk.column)}" if _returns_rows(connection) else statement


def _returns_rows(connection: Any) -> bool:
    """Return whether a database returns the primary key of a row that it updates."""
    # SQLite can since the same release as for INSERT, which is what Django knows about.
    is_able: bool = connection.features.can_return_columns_from_insert
    return is_able and connection.vendor in {"postgresql", "sqlite"}


def make_or_lock(binding: TokenBinding, facts: DeviceFacts | None, name: str) -> bool:
    """Make the row of a binding, or lock the one that there is, and note that it is used.

    Return whether it was made now.

    :param binding: one of ``TokenBinding.identify``, which gets its primary key.
    :param facts: as for ``lock``.
    :param name: as for ``lock``.
    """
    using = write_alias(TokenBinding)
    # That of a transaction that was rolled back is nobody's.
    binding.pk = None
    first = {} if facts is None else sighting("first", facts)
    last = {} if facts is None else sighting("last", facts)
    for column, value in {**first, **last}.items():
        setattr(binding, column, value)
    if not binding.is_shared:
        binding.name = name
    else:
        # Until now, it may only have been the gate of devices (see storage/devices.py).
        gate = TokenBinding._base_manager.using(using).filter(key=binding.key, may_be_live=None)
        gate.update(created=binding.created, **first)
    # In one statement: those that wait for who inserts the row would deadlock on MariaDB, if they then locked
    # it in another.
    created = create_or_update(using, binding, "key", ("last_used", "may_be_live", *last), "created")
    # What was there before was made at another time.
    is_new: bool = created == binding.created
    if is_new and is_wanted(binding_created, TokenBinding):
        send_after_commit(binding_created, TokenBinding, using, binding=binding, facts=facts)
    return is_new
