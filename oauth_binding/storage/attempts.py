"""Transactions that are tried again when the database has given them up for others.

It does so after a deadlock, a serialization failure, a lock that was not granted in time, and, in a cluster
that certifies transactions when they commit (Galera), because a transaction on another node was first.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final, TypeVar

from django.contrib.auth import get_user_model
from django.db import OperationalError, transaction
from oauth2_provider.models import get_access_token_model

from oauth_binding.core.databases import write_alias
from oauth_binding.core.settings import binding_settings

_Result = TypeVar("_Result")

#: The longest first pause, and the longest pause at all, in seconds. Each may be twice as long as the one
#: before.
FIRST_PAUSE: Final = 0.005
LONGEST_PAUSE: Final = 0.5

#: Of PostgreSQL: serialization_failure, deadlock_detected, lock_not_available.
_SQLSTATES: Final = {"40001", "40P01", "55P03"}

#: Of MariaDB and MySQL: ER_CHECKREAD, ER_LOCK_WAIT_TIMEOUT, ER_LOCK_DEADLOCK.
_MYSQL_CODES: Final = {1020, 1205, 1213}

#: Of SQLite: SQLITE_BUSY, SQLITE_LOCKED.
_SQLITE_CODES: Final = {5, 6}


class OutdatedError(Exception):
    """What was read before a transaction has changed: everything has to be read and decided again."""


def is_given_up(error: Exception) -> bool:
    """Return whether an error says that the database has given a transaction up for another one."""
    cause: Any = error.__cause__
    if not isinstance(error, OperationalError) or cause is None:
        return False
    sqlite_code = getattr(cause, "sqlite_errorcode", None)
    if sqlite_code is not None:
        return (sqlite_code & 0xFF) in _SQLITE_CODES
    return getattr(cause, "sqlstate", None) in _SQLSTATES or cause.args[:1] in {(c,) for c in _MYSQL_CODES}


def repeat(work: Callable[[], _Result], is_transient: Callable[[Exception], bool] = is_given_up) -> _Result:
    """Do some work, and repeat it as long as it fails because of others, with growing random pauses.

    :param work: what to do; it begins its own transaction.
    :param is_transient: whether an error is one after which to try again.
    :raises Exception: the one of the last try that began before ``RETRY_SECONDS`` were over; or if the
        transaction that was given up is the caller's, in which nothing can be tried again.
    """
    deadline = time.monotonic() + binding_settings.retry_seconds
    pause = FIRST_PAUSE
    while True:
        try:
            return work()
        except Exception as error:
            is_lost = isinstance(error, OperationalError) and _is_in_transaction()
            if is_lost or not is_transient(error) or time.monotonic() > deadline:
                raise
        time.sleep(random.uniform(0, pause))  # noqa: S311
        pause = min(2 * pause, LONGEST_PAUSE)


def in_transaction(work: Callable[[], _Result]) -> _Result:
    """Do some work in a transaction of the tokens and users, and return what it returns.

    :param work: what to do; it is done again where the database gives the transaction up for another one.
    :raises OperationalError: as ``repeat`` says.
    """

    def once() -> _Result:
        with tokens_transaction():
            return work()

    return repeat(once)


@contextmanager
def tokens_transaction() -> Iterator[None]:
    """Begin a transaction where tokens are written, and one where users are, if that is elsewhere."""
    with ExitStack() as stack:
        for alias in _databases():
            stack.enter_context(transaction.atomic(using=alias))
        yield


def _databases() -> set[str]:
    return {write_alias(get_access_token_model()), write_alias(get_user_model())}


def _is_in_transaction() -> bool:
    return any(transaction.get_connection(alias).in_atomic_block for alias in _databases())
