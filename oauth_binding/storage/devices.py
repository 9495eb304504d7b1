"""How many devices a user is signed in on: counted under a lock that all new ones of an application take.

The lock, the *gate*, is on the row of the shared slot, which is made if it does not exist: whoever is about
to bind tokens to a device without live ones takes it before the lock on the binding. A device with a live
token passes without it, and can't lose its tokens meanwhile: whatever ends them has an exclusive lock on the
user.

A user may have had any number of devices, and the rows of former ones stay until ``clearbindings``. So a
binding is marked when tokens are issued for it (``TokenBinding.may_be_live``). When the limit seems to be
reached, bindings without live tokens lose the mark, and only marked ones are ever looked at.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any, NamedTuple

from django.db import connections
from django.db.models import Exists, OuterRef

from oauth_binding.core.databases import write_alias, written
from oauth_binding.models import TokenBinding
from oauth_binding.storage import users
from oauth_binding.storage.chunks import in_chunks
from oauth_binding.storage.insertion import create_or_update
from oauth_binding.storage.liveness import live_access_tokens, live_refresh_tokens
from oauth_binding.storage.prepared_sql import Statement, execute_all
from oauth_binding.storage.tokens import access_tokens, refresh_tokens
from oauth_binding.storage.users import LockedUser


class MarkedDevice(NamedTuple):
    """A binding that tokens were issued for, and whether one of them is live."""

    pk: Any
    key: str
    is_live: bool


def lock_and_count(binding: TokenBinding, at_most: int) -> int:
    """Lock the gate, and return how many devices a user has that may be live, as ``count_marked`` does.

    Until the transaction ends, the same user, application and binding type get no other new device. The lock
    is a write, as that of bindings is. It does not count as a use of the shared slot.

    :param binding: one of ``TokenBinding.identify`` that has a user.
    :param at_most: where counting stops.
    """
    using = write_alias(TokenBinding)
    return _count(
        using, binding, at_most, *execute_all(using, _locking_and_counting(using, binding, at_most))
    )


def share_user_and_count(binding: TokenBinding, at_most: int) -> tuple[LockedUser | None, int]:
    """Do what ``users.share`` does with the user of a binding, and then what ``lock_and_count`` does.

    :param binding: as for ``lock_and_count``.
    :param at_most: the same.
    """
    using = write_alias(TokenBinding)
    statements = _locking_and_counting(using, binding, at_most)
    user, results = users.share_first(binding.user_id, using, statements)
    return user, _count(using, binding, at_most, *results)


def _locking_and_counting(using: str, binding: TokenBinding, at_most: int) -> list[Statement]:
    lock, count = _statements(using)
    return [(lock, [binding.shared_key]), (count, _counted(binding, at_most))]


def _count(
    using: str, binding: TokenBinding, at_most: int, locked: tuple[int, Any], counted: tuple[int, Any]
) -> int:
    """Return what was counted while the gate was locked.

    :param locked: the result of what locks the gate, which may not be there yet.
    :param counted: that of what counts.
    """
    is_there, _row = locked
    if is_there:
        number: int = counted[1][0]
        return number
    _make_gate(using, binding)
    return count_marked(binding, at_most)


def _make_gate(using: str, binding: TokenBinding) -> None:
    # Another request may make it at the same moment, and is waited for.
    create_or_update(using, binding.shared(), "key", ("revision",), "key")


def count_marked(binding: TokenBinding, at_most: int) -> int:
    """Return how many devices of a user may be live; it looks at no more rows than it counts.

    :param binding: one of them, or one to come.
    :param at_most: where it stops.
    """
    using = write_alias(TokenBinding)
    with connections[using].cursor() as cursor:
        cursor.execute(_statements(using)[1], _counted(binding, at_most))
        number: int = cursor.fetchone()[0]
    return number


def _counted(binding: TokenBinding, at_most: int) -> list[Any]:
    connection: Any = connections[write_alias(TokenBinding)]
    options: Any = TokenBinding._meta
    # Keys may be of a kind that Django has to convert, such as UUID.
    user, application = (
        options.get_field(name).get_db_prep_value(value, connection)
        for name, value in (("user", binding.user_id), ("application", binding.application_id))
    )
    return [user, application, binding.binding_type, at_most]


def marked_devices(binding: TokenBinding) -> list[MarkedDevice]:
    """Return the devices of a user that may be live, the least recently used first.

    :param binding: as for ``count_marked``.
    """
    marked = written(TokenBinding).filter(
        user=binding.user_id,
        application=binding.application_id,
        binding_type=binding.binding_type,
        may_be_live=True,
    )
    # The user is not part of the condition: while PostgreSQL's statistics are old, it would look through all
    # of the user's tokens for each binding.
    looked_at = marked.annotate(is_live=has_live_tokens()).order_by("last_used", "pk")
    return [MarkedDevice(*values) for values in looked_at.values_list("pk", "key", "is_live")]


def is_live(binding: TokenBinding) -> bool:
    """Return whether a device has a live token, which may be in any of its slots.

    :param binding: that of the device, which need not be in the database.
    """
    own = written(TokenBinding).filter(has_live_tokens(), key=binding.key, may_be_live=True)
    is_there: bool = own.exists()
    return is_there


def without_live_tokens(pks: Iterable[Any]) -> list[Any]:
    """Return which of some bindings, by primary key, are marked but have no live tokens."""
    # Not as a condition of the UPDATE: with REPEATABLE READ, MariaDB would lock the tokens that it reads.
    marked = written(TokenBinding).filter(~has_live_tokens(), may_be_live=True)
    return [pk for chunk in in_chunks(pks) for pk in marked.filter(pk__in=chunk).values_list("pk", flat=True)]


def unmark(pks: Iterable[Any]) -> None:
    """Note that bindings have no live tokens; the caller has locked their users or the bindings.

    :param pks: their primary keys.
    """
    for chunk in in_chunks(pks):
        written(TokenBinding).filter(pk__in=chunk).update(may_be_live=False)


def has_live_tokens(**conditions: Any) -> Any:
    """Return the condition of bindings that have a live token which meets some conditions."""
    conditions["binding"] = OuterRef("pk")
    access = access_tokens().filter(live_access_tokens(), **conditions)
    refresh = refresh_tokens().filter(live_refresh_tokens(), **conditions)
    return Exists(access) | Exists(refresh)


@functools.cache
def _statements(using: str) -> tuple[str, str]:
    """Return the statement that locks a gate, and the one that counts.

    The latter is ``marked[:at_most].count()`` for what ``marked_devices`` looks at.
    """
    quote = connections[using].ops.quote_name
    options: Any = TokenBinding._meta
    names = {field.name: quote(field.column) for field in options.concrete_fields}
    table = quote(options.db_table)
    lock = "UPDATE {table} SET {revision} = {revision} + 1 WHERE {key} = %s"
    count = (
        "SELECT COUNT(*) FROM (SELECT 1 FROM {table} WHERE {user} = %s AND {application} = %s"
        " AND {binding_type} = %s AND {may_be_live} = TRUE LIMIT %s) marked"
    )
    return lock.format(table=table, **names), count.format(table=table, **names)
