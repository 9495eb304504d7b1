"""What a demand would have refused, had it been more than a report: signalled, and noted at the binding."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any, Final

from django.db import Error, connections, transaction
from django.db.models import Q
from django.utils import timezone

from oauth_binding.core.databases import write_alias, written
from oauth_binding.core.device_facts import DeviceFacts
from oauth_binding.core.log_lines import one_line
from oauth_binding.core.signals import demand_reported, send_after_commit
from oauth_binding.models import MISSED, TokenBinding

logger = logging.getLogger(__name__)

#: The least time between two notes at a binding.
RESOLUTION: Final = timedelta(minutes=1)


def report(
    demand: str, application: Any, user: Any, binding: TokenBinding | None, facts: DeviceFacts | None
) -> None:
    """Report a request that is let through but will be refused once a demand is more than a report.

    :param demand: the name of the field of the token policy.
    :param application: whose policy it is.
    :param user: whose token it is; None where the client acts for itself.
    :param binding: that of the token, if it has one.
    :param facts: what the request says about the device that it comes from; None if the request is not known.
    """
    logger.info(
        "A request of client %s would have been refused by %s", one_line(application.client_id), demand
    )
    using = write_alias(TokenBinding)
    send_after_commit(
        demand_reported,
        type(application),
        using,
        application=application,
        user=user,
        binding=binding,
        demand=demand,
        facts=facts,
    )
    if binding is not None:
        # Not in the request's own transaction, which may be long, and would keep the binding locked.
        transaction.on_commit(partial(_note, MISSED[demand], binding.key), using=using)


def was_reported_just_now(demand: str, binding: TokenBinding | None) -> bool:
    """Return whether a binding need not be reported again, by what was read of it.

    :param demand: as for ``report``.
    """
    last = None if binding is None else getattr(binding, MISSED[demand])
    return last is not None and timezone.now() - last < RESOLUTION


def _note(field: str, binding_key: str) -> None:
    """Note it at a binding, unless that was done a moment ago; failing to note it is not an error."""
    now = timezone.now()
    long_ago = Q(**{f"{field}__isnull": True}) | Q(**{f"{field}__lte": now - RESOLUTION})
    try:
        with _without_waiting(write_alias(TokenBinding)):
            written(TokenBinding).filter(long_ago, key=binding_key).update(**{field: now})
    except Error as error:
        logger.info("A report could not be noted: %s", type(error).__name__)


@contextmanager
def _without_waiting(using: str) -> Iterator[None]:
    """Have SQLite refuse at once instead of waiting: there, all who write wait for each other."""
    connection = connections[using]
    if connection.vendor != "sqlite":
        yield
        return
    with connection.cursor() as cursor:
        (timeout,) = cursor.execute("PRAGMA busy_timeout").fetchone()
        cursor.execute("PRAGMA busy_timeout = 0")
        try:
            yield
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {timeout}")
