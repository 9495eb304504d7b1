"""The login session of a browser: one for each login, however many requests there are at once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import time_machine
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib import auth
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest
from django.test import Client, RequestFactory
from django.utils import timezone

from oauth_binding.authorization_server.revocation.login_sessions import end_session
from oauth_binding.devices import sign_out_everywhere
from oauth_binding.devices.registry import device_id_of
from oauth_binding.models import LoginSession, RevokeOnLogout, TerminationReason
from oauth_binding.sessions.browser import LoggedOutError, begin_or_continue
from tests.helpers.client import PASSWORD, Site
from tests.helpers.login_sessions import login, signed_in_for
from tests.helpers.provider import provider
from tests.helpers.rows import access_token_row

pytestmark = pytest.mark.django_db

#: How long the browsers are signed in, in seconds.
SESSION_SECONDS = 30

#: Views may be asynchronous.
LOGOUTS = {"logout": auth.logout, "alogout": async_to_sync(auth.alogout)}

each_logout = pytest.mark.parametrize("log_out", LOGOUTS.values(), ids=LOGOUTS)


def sign_in() -> Client:
    return signed_in_for(User.objects.get(username="alice"), SESSION_SECONDS)


def _request(key: str | None, user: User) -> HttpRequest:
    """Return a request of a browser, which reads its session now and has saved nothing yet."""
    request = RequestFactory().get("/oauth2/authorize/")
    request.session = SessionStore(key)
    request.session.load()
    request.user = user
    return request


@pytest.fixture
def key(user: User) -> str:
    """Return the key of Django's session of a browser that has just been signed in."""
    request = _request(None, user)
    auth.login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    request.session.save()
    return str(request.session.session_key)


def test_tabs_that_authorize_at_once_begin_one_session(key: str, user: User) -> None:
    one, other = _request(key, user), _request(key, user)
    assert begin_or_continue(one) == begin_or_continue(other)
    assert LoginSession.objects.count() == 1


def test_also_where_the_one_before_was_ended_by_a_password_change(key: str, user: User) -> None:
    first = _request(key, user)
    before = begin_or_continue(first)
    assert before is not None
    first.session.save()
    end_session(before, TerminationReason.PASSWORD_CHANGE)
    one, other = _request(key, user), _request(key, user)
    after = begin_or_continue(one)
    assert after == begin_or_continue(other)
    assert after != before


@each_logout
def test_a_logout_ends_what_another_tab_has_just_begun(
    key: str, user: User, log_out: Callable[[HttpRequest], None]
) -> None:
    authorizing, leaving = _request(key, user), _request(key, user)
    begun = begin_or_continue(authorizing)
    assert begun is not None
    log_out(leaving)
    begun.refresh_from_db()
    assert begun.termination_reason == TerminationReason.LOGOUT
    with pytest.raises(LoggedOutError):
        begin_or_continue(authorizing)


@each_logout
def test_also_one_that_begins_just_before_djangos_session_is_gone(
    key: str, user: User, monkeypatch: pytest.MonkeyPatch, log_out: Callable[[HttpRequest], None]
) -> None:
    authorizing, leaving = _request(key, user), _request(key, user)
    delete, adelete = SessionStore.delete, SessionStore.adelete

    def begin() -> None:
        begin_or_continue(authorizing)
        authorizing.session.save()

    def begin_and_delete(store: SessionStore, session_key: str | None = None) -> None:
        begin()
        delete(store, session_key)

    async def begin_and_adelete(store: SessionStore, session_key: str | None = None) -> None:
        await sync_to_async(begin)()
        await adelete(store, session_key)

    monkeypatch.setattr(SessionStore, "delete", begin_and_delete)
    monkeypatch.setattr(SessionStore, "adelete", begin_and_adelete)
    log_out(leaving)

    assert LoginSession.objects.get().termination_reason == TerminationReason.LOGOUT


def test_the_next_login_is_another_session(key: str, user: User) -> None:
    request = _request(key, user)
    begun = begin_or_continue(request)
    auth.logout(request)
    auth.login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    assert begin_or_continue(request) != begun


def test_a_login_from_before_the_app_was_there_begins_one(key: str, user: User) -> None:
    request = _request(key, user)
    del request.session["_oauth_binding_first_sid"]
    del request.session["_oauth_binding_authenticated"]
    begun = begin_or_continue(request)
    assert begun is not None
    assert isinstance(begun.sid, UUID)
    assert begin_or_continue(request) == begun


class TestExpiry:
    """A login session expires with Django's, which is prolonged only where it is saved."""

    @pytest.fixture
    def site(self, make_site: Callable[..., Site]) -> Site:
        return make_site("authorization_code", token_binding_type="sso-session")

    def _at(self, seconds: float) -> time_machine.travel:
        return time_machine.travel(timezone.now().timestamp() + seconds)

    def _is_signed_in(self, laptop: Client) -> bool:
        return laptop.get("/oauth2/devices/").status_code == 200

    def test_looking_at_pages_prolongs_neither(self, site: Site) -> None:
        laptop = sign_in()
        answer = login(site, laptop)
        with self._at(SESSION_SECONDS - 5):
            assert self._is_signed_in(laptop)
            login(site, laptop)
            assert site.active(answer.access)
        with self._at(SESSION_SECONDS + 1):
            assert not self._is_signed_in(laptop)
            assert not site.active(answer.access)

    def test_it_does_where_each_request_saves_the_session(self, site: Site, settings: Any) -> None:
        settings.SESSION_SAVE_EVERY_REQUEST = True
        laptop = sign_in()
        answer = login(site, laptop)
        with self._at(SESSION_SECONDS - 5):
            login(site, laptop)
        with self._at(SESSION_SECONDS + 1):
            assert site.active(answer.access)
            assert self._is_signed_in(laptop)

    def test_what_the_site_says_of_it_counts_at_once(self, site: Site) -> None:
        laptop = sign_in()
        answer = login(site, laptop)
        session = laptop.session
        session.set_expiry(timedelta(days=1))
        session.save()
        with self._at(SESSION_SECONDS + 1):
            assert site.active(answer.access)
        session = laptop.session
        session.set_expiry(1)
        async_to_sync(session.asave)()
        with self._at(2):
            assert not site.active(answer.access)

    def test_one_that_is_prolonged_while_clearbindings_runs_goes_on(self, site: Site) -> None:
        laptop = sign_in()
        answer = login(site, laptop)
        (session,) = LoginSession.objects.all()
        end_session(session, TerminationReason.EXPIRED)  # found a moment before
        assert site.active(answer.access)
        session.refresh_from_db()
        assert session.is_live

    def test_what_was_not_noticed_comes_back_when_the_browser_is_seen(self, site: Site) -> None:
        laptop = sign_in()
        answer = login(site, laptop)
        LoginSession.objects.update(expires=timezone.now() - timedelta(seconds=1))
        assert not site.active(answer.access)
        assert self._is_signed_in(laptop)
        assert site.active(answer.access)
        assert site.refresh(answer.refresh).status == 200


class TestAnsweredAgain:
    """An opaque token that is returned again is that of the last login in a browser."""

    @pytest.fixture
    def site(self, make_site: Callable[..., Site]) -> Site:
        return make_site(
            "authorization_code",
            additional_grant_types="password",
            token_binding_type="client-request",
            revoke_on_logout=RevokeOnLogout.SESSION,
        )

    def _redeem(self, site: Site, browser: Client, scope: str = "read") -> Any:
        code = site.authorization_code(scope, browser)
        answer = site.post("/oauth2/token/", {**code, "tokenBindingId": "app"})
        assert answer.status == 200, answer.data
        return answer

    def test_it_ends_with_that_one(self, site: Site) -> None:
        laptop, phone = sign_in(), sign_in()
        first, again = self._redeem(site, laptop), self._redeem(site, phone)
        assert again.access == first.access
        laptop.post("/accounts/logout/")
        assert site.active(again.access)
        phone.post("/accounts/logout/")
        assert not site.active(again.access)
        assert site.refresh(again.refresh).status == 400

    def test_also_after_a_refresh(self, site: Site) -> None:
        laptop, phone = sign_in(), sign_in()
        self._redeem(site, laptop)
        refreshed = site.refresh(self._redeem(site, phone).refresh)
        laptop.post("/accounts/logout/")
        assert site.active(refreshed.access)
        phone.post("/accounts/logout/")
        assert not site.active(refreshed.access)
        assert site.refresh(refreshed.refresh).status == 400

    def test_a_refresh_that_comes_again_leaves_it_there(self, site: Site) -> None:
        with provider(REFRESH_TOKEN_GRACE_PERIOD_SECONDS=60):
            laptop, phone = sign_in(), sign_in()
            first = self._redeem(site, laptop, "openid read")
            refreshed = site.refresh(first.refresh)
            assert self._redeem(site, phone, "openid read").access == refreshed.access
            assert site.refresh(first.refresh).access == refreshed.access
        laptop.post("/accounts/logout/")
        assert site.active(refreshed.access)
        phone.post("/accounts/logout/")
        assert not site.active(refreshed.access)

    def test_a_login_without_a_browser_leaves_it_there(self, site: Site) -> None:
        laptop = sign_in()
        first = self._redeem(site, laptop)
        form = {"grant_type": "password", "username": "alice", "password": PASSWORD, "scope": "read"}
        again = site.post("/oauth2/token/", {**form, "tokenBindingId": "app"})
        assert again.access == first.access
        laptop.post("/accounts/logout/")
        assert not site.active(again.access)


def test_signing_out_everywhere_else_keeps_the_browser_of_the_device_and_none_from_before(
    make_site: Callable[..., Site], user: User
) -> None:
    site = make_site("authorization_code", token_binding_type="client-request", token_type="jwt")
    laptop, phone = sign_in(), sign_in()
    for browser in (laptop, phone):
        code = site.authorization_code("read", browser)
        answer = site.post("/oauth2/token/", {**code, "tokenBindingId": "app"})

    sign_out_everywhere(user, keep=device_id_of(access_token_row(answer.access)))

    assert site.active(answer.access)
    assert site.refresh(answer.refresh).status == 200
    assert phone.get("/oauth2/devices/").status_code == 200
    assert laptop.get("/oauth2/devices/").status_code == 302
