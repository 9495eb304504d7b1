"""However many devices a site has, a request looks at its own rows: every query has an index to go by."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone
from oauth2_provider.models import AccessToken, Application, RefreshToken

from oauth_binding.authorization_server import revoke_binding, revoke_unbound_tokens
from oauth_binding.devices import devices_of, login_sessions_of, sign_out_browser
from oauth_binding.devices.login_sessions import applications_of
from oauth_binding.models import LoginSession, TokenBinding
from tests.helpers.client import Site
from tests.helpers.exchange import allow, exchange
from tests.helpers.login_sessions import login, signed_in
from tests.helpers.plans import TABLES, by_index
from tests.helpers.rows import access_token_row

pytestmark = pytest.mark.django_db(transaction=True)

ROWS = 500


@pytest.fixture(autouse=True)
def others(transactional_db: None) -> None:
    """Make a device and a login session of each of many users."""
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
    now = timezone.now()
    LoginSession.objects.bulk_create(
        LoginSession(user=user, authenticated_at=now, expires=now + timedelta(days=1)) for user in users
    )
    sessions: dict[Any, int] = {session.user_id: session.pk for session in LoginSession.objects.all()}
    common = [
        {
            "user_id": binding.user_id,
            "application": application,
            "binding": binding,
            "binding_session_id": sessions[binding.user_id],
        }
        for binding in bindings
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


def test_signing_a_browser_out(make_site: Callable[..., Site], user: User) -> None:
    site = make_site("authorization_code", revoke_on_logout="session")
    token = login(site, signed_in(user), "read").access

    with by_index():
        (session,) = login_sessions_of(user)
        assert applications_of([session]) == {session.pk: [site.application]}
        sign_out_browser(session)
    assert not site.active(token)


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
