"""A request that others overtake for longer than it is tried again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from tests.helpers.client import Site

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor == "sqlite", reason="needs a database server, which locks rows"),
]

UNAVAILABLE = (503, "temporarily_unavailable")


@contextmanager
def locked(user: User | None) -> Iterator[None]:
    """Lock the row of a user from another connection, as what goes on there for long does."""
    assert user is not None
    other = connection.copy()
    other.ensure_connection()
    other.set_autocommit(False)
    try:
        with other.cursor() as cursor:
            cursor.execute(f"SELECT id FROM {User._meta.db_table} WHERE id = %s FOR UPDATE", [user.pk])
        yield
    finally:
        other.rollback()
        other.close()


@pytest.fixture(autouse=True)
def _impatient(settings: Any) -> Iterator[None]:
    settings.OAUTH_BINDING = {**settings.OAUTH_BINDING, "RETRY_SECONDS": 1}
    name, value = ("innodb_lock_wait_timeout", 1) if connection.vendor == "mysql" else ("lock_timeout", 200)
    with connection.cursor() as cursor:
        cursor.execute(f"SET SESSION {name} = {value}")
    yield
    connection.close()


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_a_login_that_has_used_nothing_up(make_bound: Callable[..., Site], token_type: str) -> None:
    site = make_bound(token_type)
    with locked(site.user):
        answer = site.bound("phone")
        assert (answer.status, answer["error"]) == UNAVAILABLE

    assert site.bound("phone").status == 200


def test_a_refresh_token_is_still_good(make_bound: Callable[..., Site]) -> None:
    site = make_bound()
    login = site.bound("phone")
    with locked(site.user):
        answer = site.refresh(login.refresh)
        assert (answer.status, answer["error"]) == UNAVAILABLE

    assert site.refresh(login.refresh).status == 200


def test_a_revocation_that_has_ended_nothing(make_bound: Callable[..., Site]) -> None:
    """RFC 7009 section 2.2.1: 503, and the client takes the token for valid."""
    site = make_bound()
    login = site.bound("phone")
    with locked(site.user):
        answer = site.revoke(login.access)
        assert (answer.status, answer["error"]) == UNAVAILABLE
    assert site.active(login.access)

    assert site.revoke(login.access).status == 200
    assert not site.active(login.access)
