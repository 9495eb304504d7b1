"""Login sessions: when they begin, what they are known by, and which browser they log out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest
import time_machine
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.test import override_settings
from oauth2_provider.models import get_grant_model

from oauth_binding.authorization_server.endpoints.authorization import AuthorizationView
from oauth_binding.authorization_server.revocation.login_sessions import end_session
from oauth_binding.models import LoginSession, TerminationReason
from oauth_binding.sessions.browser import SID_KEY, begin_or_continue
from tests.helpers.client import PASSWORD, REDIRECT_URI, Site
from tests.helpers.login_sessions import claims_of, login, signed_in

DEVICE: Final = "urn:ietf:params:oauth:grant-type:device_code"

MORNING: Final = datetime(2026, 3, 2, 8, tzinfo=UTC)
NOON: Final = MORNING + timedelta(hours=4)


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    return make_site("authorization_code")


def test_a_browser_has_one_login_session_with_all_applications(
    make_site: Callable[..., Site], user: User
) -> None:
    mail, music = make_site("authorization_code"), make_site("authorization_code")
    laptop, phone = signed_in(user), signed_in(user)

    assert not LoginSession.objects.exists()  # nobody has signed in to an application
    sids = [claims_of(login(site, browser))["sid"] for site in (mail, music) for browser in (laptop, phone)]

    assert sids[0] == sids[2] != sids[1] == sids[3]
    assert {str(session.sid) for session in LoginSession.objects.filter(user=user)} == {*sids}
    assert laptop.session.session_key not in sids
    assert [*LoginSession.objects.values_list("issuer", flat=True)] == ["http://testserver/oauth2"] * 2


def test_auth_time_is_that_of_the_browser(site: Site, user: User) -> None:
    with time_machine.travel(MORNING, tick=False):
        laptop = signed_in(user)
    with time_machine.travel(NOON, tick=False):
        signed_in(user)  # elsewhere
        first = login(site, laptop)

    assert claims_of(first)["auth_time"] == int(MORNING.timestamp())


def test_a_refresh_keeps_auth_time_or_leaves_it_out(site: Site, user: User) -> None:
    with time_machine.travel(MORNING, tick=False) as now:
        laptop = signed_in(user)
        first = login(site, laptop)
        now.move_to(MORNING + timedelta(minutes=1))
        second = site.refresh(first.refresh)
        assert claims_of(second)["auth_time"] == claims_of(first)["auth_time"]

        # The user signs in again with the same browser: a refresh stands for the login before.
        now.move_to(NOON)
        laptop.force_login(user)
        third = login(site, laptop)
        fourth = site.refresh(second.refresh)

    assert claims_of(third)["auth_time"] == int(NOON.timestamp())
    assert "auth_time" not in claims_of(fourth)
    assert {claims_of(each)["sid"] for each in (first, second, third, fourth)} == {claims_of(first)["sid"]}


@pytest.mark.parametrize("grant_type", ["password", DEVICE])
def test_what_comes_without_a_browser_has_no_login_session(
    make_site: Callable[..., Site], grant_type: str
) -> None:
    """Also a television that is approved with one."""
    site = make_site(grant_type)
    answer = site.token()

    assert site.active(answer.access)
    assert not LoginSession.objects.exists()


def test_another_users_login_in_the_browser_ends_it(site: Site, user: User) -> None:
    browser = signed_in(user)
    login(site, browser)

    browser.force_login(get_user_model().objects.create_user("bob", password=PASSWORD))

    (session,) = LoginSession.objects.all()
    assert session.termination_reason == TerminationReason.LOGOUT
    assert SID_KEY not in browser.session


def test_a_browser_goes_on_in_a_new_session_after_its_user_has_changed_the_password(
    site: Site, admin_user: User
) -> None:
    site.user = admin_user
    browser = signed_in(admin_user)
    before = claims_of(login(site, browser))["sid"]

    form = {"old_password": "password", "new_password1": PASSWORD, "new_password2": PASSWORD}
    assert browser.post("/admin/password_change/", form).status_code == 302

    assert LoginSession.objects.get(sid=before).termination_reason == TerminationReason.PASSWORD_CHANGE
    assert claims_of(login(site, browser))["sid"] != before


@pytest.mark.parametrize("is_gone", [False, True], ids=["ended", "not there"])
def test_a_browser_whose_session_has_ended_elsewhere_is_logged_out_at_the_servers_pages(
    site: Site, user: User, is_gone: bool
) -> None:
    laptop, phone = signed_in(user), signed_in(user)
    for browser in (laptop, phone):
        login(site, browser)
    session = LoginSession.objects.get(sid=laptop.session[SID_KEY])
    end_session(session, TerminationReason.USER)
    if is_gone:
        session.delete()

    pages = ("/oauth2/authorize/", "/oauth2/devices/", "/oauth2/device/", "/oauth2/authorized_tokens/")
    for page in pages:
        assert laptop.get(page)["Location"].startswith("/accounts/login/"), page
    assert "_auth_user_id" not in laptop.session
    assert phone.get("/oauth2/devices/").status_code == 200


@override_settings(
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "oauth_binding.sessions.LoginSessionMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ]
)
def test_the_middleware_logs_it_out_everywhere(site: Site, admin_user: User) -> None:
    site.user = admin_user
    laptop, phone = signed_in(admin_user), signed_in(admin_user)
    for browser in (laptop, phone):
        login(site, browser)

    end_session(LoginSession.objects.get(sid=laptop.session[SID_KEY]), TerminationReason.OPERATOR)

    assert laptop.get("/admin/").status_code == 302
    assert phone.get("/admin/").status_code == 200


def test_a_login_session_expires_when_djangos_does_as_last_seen(
    site: Site, user: User, settings: Any
) -> None:
    settings.SESSION_COOKIE_AGE = 3600
    with time_machine.travel(MORNING, tick=False) as now:
        browser = signed_in(user)
        login(site, browser)
        session = LoginSession.objects.get()
        assert session.expires == MORNING + timedelta(hours=1)

        # Not at each page.
        now.move_to(MORNING + timedelta(minutes=4))
        browser.get("/oauth2/devices/")
        session.refresh_from_db()
        assert session.last_seen == MORNING

        now.move_to(MORNING + timedelta(minutes=6))
        browser.get("/oauth2/devices/")
        session.refresh_from_db()
        assert session.last_seen == MORNING + timedelta(minutes=6)


def test_a_request_that_saves_after_the_logout_gets_no_code(
    make_site: Callable[..., Site], user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, browser = make_site("authorization_code", skip_authorization=True), signed_in(user)
    login(site, browser)

    def begin_while_it_ends(request: HttpRequest) -> LoginSession | None:
        begun = begin_or_continue(request)
        end_session(LoginSession.objects.get(), TerminationReason.USER)
        return begun

    monkeypatch.setattr(f"{AuthorizationView.__module__}.begin_or_continue", begin_while_it_ends)
    challenge = {"code_challenge": "0" * 43, "code_challenge_method": "S256"}
    query = {"response_type": "code", "client_id": site.application.client_id, "redirect_uri": REDIRECT_URI}
    answer = browser.get("/oauth2/authorize/", {**query, **challenge, "scope": "read"})

    assert parse_qs(urlsplit(answer["Location"]).query)["error"] == ["access_denied"]
    assert not get_grant_model().objects.exists()


FIREFOX: Final = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0"
SAFARI: Final = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.5 Mobile/15E148 Safari/604.1"
)


def test_a_browser_is_described_at_its_first_and_its_last_use(site: Site, user: User, settings: Any) -> None:
    settings.OAUTH_BINDING = {"DEVICE_ADDRESSES": "shortened"}
    browser = signed_in(user)
    browser.defaults |= {"HTTP_USER_AGENT": FIREFOX, "REMOTE_ADDR": "203.0.113.77"}
    login(site, browser)
    session = LoginSession.objects.get()
    assert session.description == "Firefox on Windows"
    assert session.first_address == session.last_address == "203.0.113.0"

    browser.defaults |= {"HTTP_USER_AGENT": SAFARI, "REMOTE_ADDR": "2001:db8:1:2::3"}
    login(site, browser)  # the session goes on
    session.refresh_from_db()
    assert (session.first_browser, session.first_address) == ("Firefox", "203.0.113.0")
    assert (session.description, session.last_address) == ("Safari on iPhone", "2001:db8:1::")

    browser.defaults["HTTP_USER_AGENT"] = FIREFOX
    browser.get("/oauth2/devices/")  # it was seen a moment ago
    session.refresh_from_db()
    assert session.description == "Safari on iPhone"
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=6)):
        browser.get("/oauth2/devices/")
    session.refresh_from_db()
    assert session.description == "Firefox on Windows"
