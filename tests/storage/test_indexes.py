"""However many devices a site has, a request looks at its own rows: every query has an index to go by."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone
from oauth2_provider.models import AccessToken, Application, RefreshToken

from oauth_binding.authorization_server import revoke_binding, revoke_unbound_tokens
from oauth_binding.devices import devices_of
from oauth_binding.models import TokenBinding
from tests.helpers.client import Site
from tests.helpers.exchange import allow, exchange
from tests.helpers.rows import access_token_row

pytestmark = pytest.mark.django_db(transaction=True)

ROWS = 500

TABLES = [model._meta.db_table for model in (TokenBinding, AccessToken, RefreshToken)]


@pytest.fixture(autouse=True)
def others(transactional_db: None) -> None:
    """Make a device of each of many users."""
    application = Application.objects.create(
        client_type="confidential", authorization_grant_type="password", name="another application"
    )
    users = User.objects.bulk_create(User(username=f"user {number}") for number in range(ROWS))
    TokenBinding.objects.bulk_create(
        TokenBinding(
            application_id=application.pk,
            user=user,
            binding_type="client-request",
            binding_value=user.username,
            reference=user.username,
            key=secrets.token_hex(32),
        )
        for user in users
    )
    bindings = list(TokenBinding.objects.all())
    common = [
        {"user_id": binding.user_id, "application": application, "binding": binding} for binding in bindings
    ]
    AccessToken.objects.bulk_create(
        AccessToken(
            token=secrets.token_urlsafe(22),
            slot=secrets.token_hex(32),
            expires=timezone.now() + timedelta(days=1),
            scope="read write",
            **fields,
        )
        for fields in common
    )
    RefreshToken.objects.bulk_create(
        RefreshToken(token=secrets.token_urlsafe(22), access_token=access_token, **fields)
        for access_token, fields in zip(AccessToken.objects.order_by("pk"), common, strict=True)
    )
    # SQLite takes an index for better than none if it knows nothing of it.
    if connection.vendor != "sqlite":
        with connection.cursor() as cursor:
            tables = ", ".join(TABLES)
            cursor.execute(f"ANALYZE TABLE {tables}" if connection.vendor == "mysql" else f"ANALYZE {tables}")


@contextmanager
def by_index() -> Iterator[None]:
    """Fail if a query looks through a whole table of bindings or tokens."""
    scans = []

    def explain(execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        if sql.startswith(("SELECT", "UPDATE", "DELETE")):
            prefix = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
            execute(f"{prefix} {sql}", parameters, False, context)
            for row in context["cursor"].fetchall():
                if connection.vendor == "mysql":
                    is_scan = row[2] in TABLES and row[3] in ("ALL", "index")
                else:
                    scan = "SCAN {}" if connection.vendor == "sqlite" else "Seq Scan on {} "
                    is_scan = any(scan.format(table) in row[-1] for table in TABLES)
                if is_scan:
                    scans.append(f"{sql}: {row}")
        return execute(sql, parameters, many, context)

    with connection.execute_wrapper(explain):
        yield
    assert not scans


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
@pytest.mark.parametrize("binding", ["phone", None])
def test_logins_and_refreshes(make_bound: Callable[..., Site], token_type: str, binding: str | None) -> None:
    site = make_bound(token_type)

    with by_index():
        assert site.bound(binding).status == 200
        answer = site.bound(binding)
        assert answer.status == 200
        assert site.refresh(answer.refresh).status == 200


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_checks(make_bound: Callable[..., Site], token_type: str) -> None:
    site = make_bound(token_type)
    token = site.bound("phone").access

    with by_index():
        assert site.active(token)
        assert site.api(token) == 200


@pytest.mark.parametrize("which", ["access_token", "refresh_token"])
def test_revocations(make_bound: Callable[..., Site], which: str) -> None:
    site = make_bound("jwt")
    answer = site.bound("phone")

    with by_index():
        assert site.revoke(answer[which]).status == 200
    assert not site.active(answer.access)


def test_signing_out(make_bound: Callable[..., Site], make_site: Callable[..., Site], user: User) -> None:
    site, plain = make_bound(), make_site()
    token, other = site.bound("phone").access, plain.token().access
    binding = access_token_row(token).binding

    with by_index():
        assert len(devices_of(user)) == 2
        revoke_binding(binding)
        revoke_unbound_tokens(user, plain.application)
    assert not site.active(token)
    assert not plain.active(other)


@pytest.mark.parametrize("binding_type", ["none", "client-request"])
@pytest.mark.parametrize("which", ["access_token", "refresh_token"])
def test_revoking_what_was_exchanged(make_site: Callable[..., Site], binding_type: str, which: str) -> None:
    mobile = make_site(token_binding_type=binding_type)
    backend = make_site(
        "client_credentials",
        as_user=None,
        token_binding_type=binding_type,
        additional_grant_types="token-exchange",
    )
    allow(backend, mobile)
    answer = mobile.token()
    exchanged = exchange(backend, answer.access).access

    with by_index():
        assert mobile.revoke(answer[which]).status == 200
    assert not backend.active(exchanged)
