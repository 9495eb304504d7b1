"""What is tried again, for how long, and what is not."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, Final

import pytest
from django.db import OperationalError, transaction

from oauth_binding.storage.attempts import in_transaction, is_given_up, repeat


class DriverError(Exception):
    """What a database driver raises."""

    def __init__(self, *arguments: Any, **attributes: Any) -> None:
        super().__init__(*arguments)
        vars(self).update(attributes)


def raised(cause: Exception | None) -> OperationalError:
    error = OperationalError("text")
    error.__cause__ = cause
    return error


#: What databases say, and whether it says that a transaction was given up for another one.
ANSWERS: Final = {
    "PostgreSQL: serialization_failure": (DriverError("", sqlstate="40001"), True),
    "PostgreSQL: deadlock_detected": (DriverError("", sqlstate="40P01"), True),
    "PostgreSQL: lock_not_available": (DriverError("", sqlstate="55P03"), True),
    "PostgreSQL: admin_shutdown": (DriverError("", sqlstate="57P01"), False),
    "PostgreSQL: no connection": (DriverError("connection refused", sqlstate=None), False),
    "MariaDB: ER_CHECKREAD": (DriverError(1020, "Record has changed"), True),
    "MariaDB: ER_LOCK_WAIT_TIMEOUT": (DriverError(1205, "Lock wait timeout exceeded"), True),
    "MariaDB: ER_LOCK_DEADLOCK, also of a cluster": (DriverError(1213, "Deadlock found"), True),
    "MariaDB: server has gone away": (DriverError(2006, "gone away"), False),
    "SQLite: SQLITE_BUSY": (DriverError("database is locked", sqlite_errorcode=5), True),
    "SQLite: SQLITE_BUSY_SNAPSHOT": (DriverError("database is locked", sqlite_errorcode=517), True),
    "SQLite: SQLITE_LOCKED": (DriverError("table is locked", sqlite_errorcode=6), True),
    "SQLite: SQLITE_FULL": (DriverError("disk is full", sqlite_errorcode=13), False),
    "nobody": (None, False),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_what_is_given_up_for_another_transaction(name: str) -> None:
    cause, expected = ANSWERS[name]

    assert is_given_up(raised(cause)) is expected


def test_other_errors_are_none() -> None:
    assert not is_given_up(ValueError())


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the pauses that are made, in seconds; the longest that could be, and none is waited for."""
    made: list[float] = []
    clock = [0.0]

    def sleep(seconds: float) -> None:
        made.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(random, "uniform", lambda least, most: most)
    return made


def failing(times: int, error: Exception) -> Callable[[], str]:
    left = [times]

    def work() -> str:
        if left[0]:
            left[0] -= 1
            raise error
        return "done"

    return work


GIVEN_UP: Final = raised(DriverError(1213, "Deadlock found"))


@pytest.mark.django_db(transaction=True)
def test_it_is_tried_again_with_pauses_that_grow(pauses: list[float]) -> None:
    assert repeat(failing(10, GIVEN_UP)) == "done"

    assert pauses == [0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.5, 0.5, 0.5]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("setting", "seconds"), [({}, 10), ({"RETRY_SECONDS": 3}, 3)])
def test_patience_has_an_end(
    pauses: list[float], settings: Any, setting: dict[str, int], seconds: float
) -> None:
    settings.OAUTH_BINDING = setting

    with pytest.raises(OperationalError):
        repeat(failing(10_000, GIVEN_UP))

    assert seconds < sum(pauses) <= seconds + 0.5


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("error", [raised(DriverError(2006, "gone away")), ValueError()])
def test_other_errors_are_raised_at_once(pauses: list[float], error: Exception) -> None:
    with pytest.raises(type(error)):
        repeat(failing(1, error))

    assert pauses == []


@pytest.mark.django_db(transaction=True)
def test_in_a_transaction_of_the_site_nothing_can_be_tried_again(pauses: list[float]) -> None:
    with pytest.raises(OperationalError), transaction.atomic():
        in_transaction(failing(1, GIVEN_UP))

    assert pauses == []
