"""The rows of bindings: made, locked and marked as used while tokens are issued."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connections
from django.utils import timezone

from oauth_binding.core.databases import write_alias, written
from oauth_binding.core.signals import binding_created, send_after_commit
from oauth_binding.models import TokenBinding
from oauth_binding.storage import prepared_sql

#: ``TokenBinding.last_used`` is at most this much behind, so that reuse seldom writes.
LAST_USED_RESOLUTION: Final = timedelta(minutes=1)


def lock(binding: TokenBinding, *, is_expected: bool) -> bool:
    """Lock the row of a binding, which is made if it is not there, and note that it is used.

    Return whether that could be done: a binding that was read before may have been deleted meanwhile.

    :param binding: one that was read, or one of :meth:`TokenBinding.identify`, which gets its primary key.
    :param is_expected: whether the row of the latter is most likely there.
    """
    if not binding._state.adding:
        there = _fetch_locked("pk", binding.pk)
        if there is None:
            return False
        touch(binding.key, there[1])
        return True
    if is_expected:
        there = _fetch_locked("key", binding.key)
        if there is not None:
            binding.pk, last_used = there
            touch(binding.key, last_used)
            return True
    _insert_locked(binding)
    return True


def touch(binding_key: str, last_used: datetime | None) -> None:
    """Note that a binding is used, unless that was noted a moment ago.

    :param binding_key: the binding_key().
    :param last_used: what was read.
    """
    now = timezone.now()
    if last_used is None or now - last_used > LAST_USED_RESOLUTION:
        written(TokenBinding).filter(key=binding_key).update(last_used=now)


def _fetch_locked(field: str, value: Any) -> list[Any] | None:
    """Lock the row of a binding, and return its primary key and when it was last used."""
    return prepared_sql.fetch(
        write_alias(TokenBinding), TokenBinding, field, value, ("pk", "last_used"), lock=True
    )


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
