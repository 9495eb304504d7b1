"""Who delivers logout tokens: Django's task framework, where the site has it, and ``sendlogouts``."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence

import django
from django.db import transaction
from django.utils import timezone

from oauth_binding.authorization_server.backchannel.delivery import CLAIM
from oauth_binding.core.databases import write_alias, written
from oauth_binding.models import LogoutNotification
from oauth_binding.storage.attempts import repeat


def deliver_after_commit(jtis: Sequence[uuid.UUID]) -> None:
    """Ask for the delivery of new rows once the current transaction is committed.

    Where there is nobody to ask, or asking fails, which is logged, ``sendlogouts`` finds them.
    """
    if jtis and django.VERSION >= (6, 0) and _has_workers():  # pragma: no cover - Django 5.2 has no tasks
        transaction.on_commit(lambda: _enqueue(jtis), using=write_alias(LogoutNotification), robust=True)


def send_again(rows: Iterable[LogoutNotification]) -> list[LogoutNotification]:
    """Have rows sent as if they were new, except those that are delivered or being sent.

    :returns: the rows that it is done with.
    """
    done = [row for row in rows if row.delivered_at is None and _begin_again(row)]
    deliver_after_commit([row.jti for row in done])
    return done


def _begin_again(row: LogoutNotification) -> bool:
    now = timezone.now()
    # No other pause has exactly this length, to the microsecond.
    is_claimed = row.last_attempt is not None and row.next_attempt == row.last_attempt + CLAIM
    if is_claimed and row.next_attempt is not None and row.next_attempt > now:
        return False
    # Unless a sender was quicker.
    unchanged = written(LogoutNotification).filter(
        pk=row.pk, next_attempt=row.next_attempt, delivered_at=None
    )
    return bool(repeat(lambda: unchanged.update(next_attempt=now, attempts=0)))


def _has_workers() -> bool:  # pragma: no cover - Django 5.2 has no tasks
    """Return whether the tasks of the site's default backend run elsewhere.

    Of Django's own two, one runs them in the request, which would wait for the application, and one not at
    all.
    """
    from django.tasks import DEFAULT_TASK_BACKEND_ALIAS, DEFAULT_TASK_QUEUE_NAME, task_backends
    from django.tasks.backends.dummy import DummyBackend
    from django.tasks.backends.immediate import ImmediateBackend

    backend = task_backends[DEFAULT_TASK_BACKEND_ALIAS]
    if isinstance(backend, DummyBackend | ImmediateBackend):
        return False
    # An empty set stands for any.
    return not backend.queues or DEFAULT_TASK_QUEUE_NAME in backend.queues


def _enqueue(jtis: Sequence[uuid.UUID]) -> None:  # pragma: no cover - Django 5.2 has no tasks
    # Not above: the decorator asks the backend whether it takes the task.
    from oauth_binding.authorization_server.backchannel.tasks import deliver_logout

    for jti in jtis:
        deliver_logout.enqueue(str(jti))
