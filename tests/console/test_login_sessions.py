"""The console's list of login sessions: what operators see of them, and ending them."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import path
from django.utils import timezone

from oauth_binding.console.login_sessions import LoginSessionAdmin
from oauth_binding.models import LoginSession, TerminationReason
from tests.helpers.client import PASSWORD, Site
from tests.helpers.login_sessions import login, signed_in
from tests.helpers.rows import access_token_row
from tests.helpers.staff import staff

SESSIONS = "/admin/oauth_binding/loginsession/"


@pytest.fixture
def mail(make_site: Callable[..., Site]) -> Site:
    return make_site("authorization_code", name="Mail", revoke_on_logout="session")


def session_of(answer: Any) -> LoginSession:
    session: LoginSession = access_token_row(answer.access).binding_session
    return session


def make_session(user: User, **fields: Any) -> LoginSession:
    now = timezone.now()
    return LoginSession.objects.create(
        user=user, authenticated_at=now, **{"expires": now + timedelta(days=1), **fields}
    )


def ending(*sessions: LoginSession, **extra: str) -> dict[str, Any]:
    """Return what the action posts."""
    return {"action": "end", "_selected_action": [session.pk for session in sessions], **extra}


def shown(page: Any) -> list[LoginSession]:
    return list(page.context["cl"].result_list)


# Looking


def test_the_list_says_who_is_signed_in_and_what_became_of_it(operator: Client, user: User) -> None:
    make_session(user)
    make_session(user, expires=timezone.now() - timedelta(seconds=1))
    make_session(user, terminated_at=timezone.now(), termination_reason=TerminationReason.PASSWORD_CHANGE)

    page = operator.get(SESSIONS).content.decode()

    columns = ("User", "Browser", "Status", "Last seen")
    for column in columns:
        assert f">{column}</span>" in page
    for status in ("live", "expired", "ended"):
        assert re.search(f'<td class="field-what_became">{status}<', page)
    assert "The password was changed" in page


def test_a_session_id_is_on_no_page(operator: Client, mail: Site, user: User) -> None:
    browser = signed_in(user)
    session = session_of(login(mail, browser))

    pages = [operator.get(SESSIONS), operator.post(SESSIONS, ending(session))]
    detail = operator.get(f"{SESSIONS}{session.pk}/change/").content.decode()

    for text in (detail, *(page.content.decode() for page in pages)):
        assert session.label in text
        assert str(session.sid) not in text
        assert str(browser.session.session_key) not in text


@pytest.mark.parametrize("term", ["alice", "alice@example.com"])
def test_search(operator: Client, user: User, term: str) -> None:
    session = make_session(user)
    make_session(User.objects.create_user("bob", "bob@example.com", PASSWORD))

    assert shown(operator.get(SESSIONS, {"q": term})) == [session]
    assert shown(operator.get(SESSIONS, {"q": term[:3]})) == []
    assert shown(operator.get(SESSIONS, {"q": str(session.sid)[:8]})) == []


def test_filters(operator: Client, user: User) -> None:
    sessions = {
        "live": make_session(user),
        "expired": make_session(user, expires=timezone.now() - timedelta(seconds=1)),
        "ended": make_session(user, terminated_at=timezone.now(), termination_reason="logout"),
    }

    for status, session in sessions.items():
        assert shown(operator.get(SESSIONS, {"status": status})) == [session]
    assert len(shown(operator.get(SESSIONS))) == 3


def test_the_list_takes_the_same_number_of_queries_however_long_it_is(operator: Client, user: User) -> None:
    def number_of_queries() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert operator.get(SESSIONS).status_code == 200
        counts = [query["sql"] for query in queries if "COUNT(*)" in query["sql"].upper()]
        assert all("LIMIT" in sql.upper() for sql in counts)
        return len(queries)

    make_session(user)
    few = number_of_queries()
    for number in range(15):
        make_session(User.objects.create_user(f"user {number}"))

    assert number_of_queries() == few


# Ending


def test_ending_asks_and_logs_that_browser_out(operator: Client, mail: Site, user: User) -> None:
    laptop, phone = signed_in(user), signed_in(user)
    on_laptop, on_phone = login(mail, laptop), login(mail, phone)
    session = session_of(on_laptop)

    question = operator.post(SESSIONS, ending(session)).content.decode()
    assert "Yes, end" in question
    assert f"alice: {session.label}" in question
    assert mail.active(on_laptop.access)

    done = operator.post(SESSIONS, ending(session, confirmed="1"), follow=True)
    assert "1 login session was ended." in done.content.decode()
    assert (mail.active(on_laptop.access), mail.active(on_phone.access)) == (False, True)
    assert [browser.get("/oauth2/devices/").status_code for browser in (laptop, phone)] == [302, 200]
    assert session_of(on_laptop).termination_reason == TerminationReason.OPERATOR
    noted = f"Ended: alice: {session.label}."
    assert noted in operator.get(f"{SESSIONS}{session.pk}/history/").content.decode()
    entries = LogEntry.objects.values_list("object_repr", "change_message")
    assert str(session.sid) not in str(list(entries))


def test_what_has_ended_before_is_left_as_it_is(operator: Client, user: User) -> None:
    before = make_session(user, terminated_at=timezone.now(), termination_reason=TerminationReason.LOGOUT)
    sessions = [before, make_session(user), make_session(user)]

    done = operator.post(SESSIONS, ending(*sessions, confirmed="1"), follow=True)

    assert "2 login sessions were ended." in done.content.decode()
    before.refresh_from_db()
    assert before.termination_reason == TerminationReason.LOGOUT
    assert LogEntry.objects.filter(content_type__model="loginsession").count() == 2
    # Nobody is asked about nothing.
    again = operator.post(SESSIONS, ending(*sessions), follow=True)
    assert "0 login sessions were ended." in again.content.decode()
    assert LogEntry.objects.filter(content_type__model="loginsession").count() == 2


def test_a_great_many_are_not_ended_at_once(
    operator: Client, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oauth_binding.console.read_only.MAX_REVOKED", 1)
    sessions = [make_session(user), make_session(user)]

    page = operator.post(SESSIONS, ending(*sessions, confirmed="1"), follow=True).content.decode()

    assert "Select at most 1 login sessions." in page
    assert LoginSession.objects.filter(terminated_at__isnull=True).count() == 2


def test_a_button_of_one_login_session_ends_it(operator: Client, mail: Site, user: User) -> None:
    laptop, phone = signed_in(user), signed_in(user)
    on_laptop, on_phone = login(mail, laptop), login(mail, phone)
    page = f"{SESSIONS}{session_of(on_laptop).pk}/"

    assert f'href="{page}end/"' in operator.get(f"{page}change/").content.decode()
    question = operator.get(f"{page}end/").content.decode()
    assert f"alice: {session_of(on_laptop).label}" in question
    assert mail.active(on_laptop.access)

    done = operator.post(f"{page}end/", follow=True)
    assert "1 login session was ended." in done.content.decode()
    assert (mail.active(on_laptop.access), mail.active(on_phone.access)) == (False, True)
    # What has ended has no such button, and whoever presses one that is old is told so.
    assert f'href="{page}end/"' not in operator.get(f"{page}change/").content.decode()
    assert "0 login sessions were ended." in operator.post(f"{page}end/", follow=True).content.decode()
    assert operator.get(f"{SESSIONS}0/end/").status_code == 404


# From the page of a user


def test_the_page_of_a_user_leads_to_the_live_ones(operator: Client, user: User) -> None:
    live = [make_session(user), make_session(user)]
    make_session(user, expires=timezone.now() - timedelta(seconds=1))
    make_session(user, terminated_at=timezone.now(), termination_reason=TerminationReason.LOGOUT)
    make_session(User.objects.create_user("bob", "bob@example.com", PASSWORD))

    page = operator.get(f"/admin/auth/user/{user.pk}/change/").content.decode()

    link = re.search(rf'<a href="({SESSIONS}[^"]*)">2 live</a>', page)
    assert link is not None
    assert shown(operator.get(unescape(link[1]))) == live[::-1]


@pytest.mark.parametrize(
    ("permissions", "sees"),
    [([], False), (["view_loginsession"], True), (["end_loginsession"], True)],
)
def test_who_may_look_at_them_is_led_there(user: User, permissions: list[str], sees: bool) -> None:
    page = staff("view_user", *permissions).get(f"/admin/auth/user/{user.pk}/change/").content.decode()

    assert (f'<a href="{SESSIONS}?' in page) is sees


# Who may


def test_who_may_view_may_not_end(user: User) -> None:
    session = make_session(user)
    viewer = staff("view_loginsession")

    assert "alice" in viewer.get(SESSIONS).content.decode()
    assert "End selected" not in viewer.get(SESSIONS).content.decode()
    assert "/end/" not in viewer.get(f"{SESSIONS}{session.pk}/change/").content.decode()
    viewer.post(SESSIONS, ending(session, confirmed="1"))
    for method in (viewer.get, viewer.post):
        assert method(f"{SESSIONS}{session.pk}/end/").status_code == 403

    session.refresh_from_db()
    assert session.is_live


def test_who_may_end_needs_no_more(user: User) -> None:
    session = make_session(user)

    staff("end_loginsession").post(SESSIONS, ending(session, confirmed="1"))

    session.refresh_from_db()
    assert session.termination_reason == TerminationReason.OPERATOR


def test_a_stranger_sees_nothing(user: User) -> None:
    session = make_session(user)
    nobody = staff()

    for address in ("", f"{session.pk}/change/"):
        assert nobody.get(SESSIONS + address).status_code == 403


@pytest.mark.parametrize("address", ["add/", "{pk}/delete/", "{pk}/change/"])
def test_nothing_can_be_written(operator: Client, user: User, address: str) -> None:
    session = make_session(user)

    answer = operator.post(SESSIONS + address.format(pk=session.pk), {"post": "yes", "issuer": "changed"})

    assert answer.status_code == 403
    assert LoginSession.objects.get().issuer == ""


def test_a_user_with_login_sessions_can_be_deleted(operator: Client, user: User) -> None:
    make_session(user)

    assert operator.post(f"/admin/auth/user/{user.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not LoginSession.objects.exists()


# At a site of one's own

backoffice = admin.AdminSite("backoffice")
backoffice.register(LoginSession, LoginSessionAdmin)
urlpatterns = [path("backoffice/", backoffice.urls), path("admin/", admin.site.urls)]


@override_settings(ROOT_URLCONF=__name__)
def test_an_admin_site_of_ones_own(operator: Client, user: User) -> None:
    session = make_session(user)
    sessions = "/backoffice/oauth_binding/loginsession/"

    assert operator.get(f"{sessions}{session.pk}/change/").status_code == 200
    question = operator.post(sessions, ending(session)).content.decode()
    assert f"{sessions}{session.pk}/change/" in question
    assert 'href="/admin/' not in question
    operator.post(sessions, ending(session, confirmed="1"))

    session.refresh_from_db()
    assert not session.is_live
