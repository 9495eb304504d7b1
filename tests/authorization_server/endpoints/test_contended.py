"""A request that others overtake for longer than it is tried again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from oauth2_provider.models import get_access_token_model, get_application_model

from tests.helpers.client import Answer, Site

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor == "sqlite", reason="needs a database server, which locks rows"),
]

UNAVAILABLE = (503, "temporarily_unavailable")


@contextmanager
def migrating(model: Any) -> Iterator[None]:
    """Lock a table from another connection, as a change of it does."""
    other = connection.copy()
    other.ensure_connection()
    other.set_autocommit(False)
    table = connection.ops.quote_name(model._meta.db_table)
    lock = (
        "LOCK TABLES {} WRITE" if connection.vendor == "mysql" else "LOCK TABLE {} IN ACCESS EXCLUSIVE MODE"
    )
    try:
        with other.cursor() as cursor:
            cursor.execute(lock.format(table))
        yield
    finally:
        other.close()


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
    is_mysql = connection.vendor == "mysql"
    timeouts = {"innodb_lock_wait_timeout": 1, "lock_wait_timeout": 1} if is_mysql else {"lock_timeout": 200}
    with connection.cursor() as cursor:
        for name, value in timeouts.items():
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


#: Asks an endpoint, with what a login has got.
ENDPOINTS: dict[str, Callable[[Site, Answer], Answer]] = {
    "login": lambda site, login: site.bound("phone"),
    "refresh": lambda site, login: site.refresh(login.refresh),
    "introspection": lambda site, login: site.introspect(login.access),
    "revocation": lambda site, login: site.revoke(login.access),
}


@pytest.mark.parametrize("name", ENDPOINTS)
@pytest.mark.parametrize("model", [get_application_model(), get_access_token_model()])
def test_what_cannot_be_read_in_time(make_bound: Callable[..., Site], name: str, model: Any) -> None:
    """As on a node of a cluster that is far behind: the request may be sent again."""
    site = make_bound()
    login = site.bound("phone")
    with migrating(model):
        answer = ENDPOINTS[name](site, login)
        assert (answer.status, answer["error"]) == UNAVAILABLE

    assert ENDPOINTS[name](site, login).status == 200
