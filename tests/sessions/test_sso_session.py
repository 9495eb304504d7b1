"""The binding type sso-session: the four rules by login session, which the tokens end with."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.utils import timezone

from oauth_binding.models import LoginSession, TerminationReason, TokenBinding
from tests.helpers.client import Site
from tests.helpers.exchange import allow, exchange
from tests.helpers.login_sessions import login, signed_in


def sso(make_site: Callable[..., Site], token_type: str, **fields: Any) -> Site:
    """Return an application whose tokens are bound to login sessions, with the password grant, too."""
    return make_site(
        "authorization_code",
        token_type=token_type,
        token_binding_type="sso-session",
        additional_grant_types="password",
        **fields,
    )


def test_an_opaque_token_is_the_same_in_one_browser(make_site: Callable[..., Site], user: User) -> None:
    site, laptop, phone = sso(make_site, "opaque"), signed_in(user), signed_in(user)

    first, elsewhere, again = login(site, laptop), login(site, phone), login(site, laptop)

    assert first.access == again.access != elsewhere.access
    assert first.refresh == again.refresh
    assert {site.api(each.access) for each in (first, elsewhere)} == {200}
    reference = TokenBinding.objects.get(binding_value=LoginSession.objects.earliest("pk").sid).reference
    introspected = site.introspect(first.access)
    assert (introspected["binding_type"], introspected["binding_ref"]) == ("sso-session", reference)


def test_a_jwt_takes_the_place_of_the_one_before_in_one_browser(
    make_site: Callable[..., Site], user: User
) -> None:
    site, laptop, phone = sso(make_site, "jwt"), signed_in(user), signed_in(user)

    first, elsewhere, again = login(site, laptop), login(site, phone), login(site, laptop)

    assert [site.api(each.access) for each in (first, elsewhere, again)] == [401, 200, 200]


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_grants_without_a_browser_share_a_slot(
    make_site: Callable[..., Site], user: User, token_type: str
) -> None:
    site, browser = sso(make_site, token_type), signed_in(user)
    of_browser = login(site, browser, "read write")
    site.application.authorization_grant_type = "password"

    shared, again = site.token(), site.token()

    assert shared.access != of_browser.access
    assert (shared.access == again.access) is (token_type == "opaque")
    assert "binding_ref" not in site.introspect(again.access).data
    browser.logout()
    assert [site.api(each.access) for each in (of_browser, again)] == [401, 200]


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_it_lasts_as_long_as_the_session_in_the_browser(
    make_site: Callable[..., Site], user: User, settings: Any, token_type: str
) -> None:
    settings.SESSION_COOKIE_AGE = 600
    settings.SESSION_SAVE_EVERY_REQUEST = True
    start = timezone.now()
    with time_machine.travel(start, tick=False) as now:
        site, browser = sso(make_site, token_type), signed_in(user)
        token = login(site, browser)
        refreshed = site.refresh(token.refresh)
        assert refreshed.status == 200

        # Whatever page saves the session prolongs it.
        now.move_to(start + timedelta(seconds=500))
        browser.get("/accounts/login/")
        now.move_to(start + timedelta(seconds=601))
        assert site.api(refreshed.access) == 200

        now.move_to(start + timedelta(seconds=1101))
        assert site.api(refreshed.access) == 401
        assert not site.active(refreshed.access)
        assert site.refresh(refreshed.refresh).status == 400

        # It was prolonged where this app is not, and is seen again.
        Session.objects.update(expire_date=timezone.now() + timedelta(hours=1))
        assert browser.get("/oauth2/devices/").status_code == 200
        assert site.api(refreshed.access) == 200
        assert site.refresh(refreshed.refresh).status == 200


def test_what_has_expired_is_ended_for_good_by_clearbindings(
    make_site: Callable[..., Site], user: User, settings: Any
) -> None:
    settings.SESSION_COOKIE_AGE = 600
    start = timezone.now()
    with time_machine.travel(start, tick=False) as now:
        site, other = sso(make_site, "jwt"), make_site("authorization_code", revoke_on_logout="session")
        browser = signed_in(user)
        bound, not_bound = login(site, browser), login(other, browser)
        now.move_to(start + timedelta(seconds=601))
        call_command("clearbindings")

        session = LoginSession.objects.get()
        assert session.termination_reason == TerminationReason.EXPIRED
        assert site.refresh(bound.refresh).status == 400
        # Nobody has logged out.
        assert other.api(not_bound.access) == 200

        # It is forgotten after a while, but not as long as there is a token of it.
        now.move_to(start + timedelta(days=100))
        call_command("cleartokens")
        call_command("clearbindings")
        assert LoginSession.objects.exists()
        other.revoke(not_bound.refresh)
        call_command("cleartokens")
        call_command("clearbindings")
    assert not LoginSession.objects.exists()


def test_what_is_exchanged_ends_with_it_too(
    make_site: Callable[..., Site], user: User, settings: Any
) -> None:
    settings.SESSION_COOKIE_AGE = 600
    start = timezone.now()
    with time_machine.travel(start, tick=False) as now:
        site = sso(make_site, "jwt")
        backend = make_site("client_credentials", additional_grant_types="token-exchange")
        deeper = make_site("client_credentials", additional_grant_types="token-exchange")
        allow(backend, site, refresh_tokens=True)
        allow(deeper, backend, refresh_tokens=True)
        token = login(site, signed_in(user))
        exchanged = exchange(backend, token.access)
        chained = exchange(deeper, exchanged.access)
        assert (exchanged.status, chained.status) == (200, 200)

        now.move_to(start + timedelta(seconds=601))
        for client, each in ((backend, exchanged), (deeper, chained)):
            assert client.api(each.access) == 401
            assert client.refresh(each.refresh).status == 400
