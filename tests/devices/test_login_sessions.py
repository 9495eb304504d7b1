"""The browsers on the page "Your devices": what a user sees of them, and signing them out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import F
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from oauth2_provider.models import get_access_token_model, get_refresh_token_model

from oauth_binding.binding.semantics import binding_reference
from oauth_binding.devices import devices_of, login_sessions_of, sign_out_browser, sign_out_everywhere
from oauth_binding.devices.views import BROWSERS_PAGE_SIZE
from oauth_binding.models import LoginSession, TerminationReason, TokenBinding
from tests.helpers.client import Answer, Site
from tests.helpers.devices_page import LIST, Page, UserAgent
from tests.helpers.login_sessions import login
from tests.helpers.rows import access_token_row, expire

#: A page of the site that is none of the server's.
ELSEWHERE = "/admin/password_change/"
MIDDLEWARE = "oauth_binding.sessions.LoginSessionMiddleware"


@dataclass
class Browser(UserAgent):
    """One in which a user is signed in to the site."""

    http: Client = field(default_factory=Client)

    def login(self, site: Site) -> Answer:
        """Sign in to an application, and return its tokens."""
        return login(site, self.http, "read write")

    @property
    def browsers(self) -> dict[str, list[str]]:
        """The applications of each browser on the page, by its reference."""
        return {entry.facts["Reference"]: entry.applications for entry in self.open().browsers}

    @property
    def here(self) -> list[str]:
        """The references of what is marked as this browser."""
        return [entry.facts["Reference"] for entry in self.open().browsers if entry.mark == "This browser"]

    @property
    def is_signed_in(self) -> bool:
        """Whether a page of the server knows the user, which asks no other to log in."""
        return self.http.get(LIST).status_code == 200

    @property
    def is_signed_in_elsewhere(self) -> bool:
        """Whether the other pages of the site do."""
        return self.http.get(ELSEWHERE).status_code == 200


@pytest.fixture
def user(user: User) -> User:
    """One who may look at a page elsewhere."""
    user.is_staff = True
    user.save()
    return user


@pytest.fixture
def laptop(user: User) -> Browser:
    return Browser(user)


@pytest.fixture
def phone(user: User) -> Browser:
    return Browser(user)


@pytest.fixture
def mail(make_site: Callable[..., Site]) -> Site:
    return make_site("authorization_code", name="Mail", revoke_on_logout="session")


def session_of(answer: Answer) -> LoginSession:
    session: LoginSession = access_token_row(answer.access).binding_session
    return session


def is_live(session: LoginSession) -> bool:
    return LoginSession.objects.get(pk=session.pk).is_live


def reference_of(answer: Answer) -> str:
    return session_of(answer).label


def sign_out_address(session: LoginSession) -> str:
    return reverse("oauth2_provider:login-session-sign-out", args=[session.pk])


def make_sessions(user: User, number: int, **fields: Any) -> list[LoginSession]:
    """Make login sessions of a user, each seen a second after the one before."""
    now = timezone.now()
    LoginSession.objects.bulk_create(
        LoginSession(
            user=user,
            authenticated_at=now,
            last_seen=now - timedelta(seconds=number - at),
            **{"expires": now + timedelta(days=1), **fields},
        )
        for at in range(number)
    )
    return list(LoginSession.objects.filter(user=user).order_by("pk"))


# What the user sees


def test_a_browser_is_listed_once_it_has_signed_in_to_an_application(mail: Site, laptop: Browser) -> None:
    assert laptop.browsers == {}
    assert "Browsers" not in laptop.open().text

    answer = laptop.login(mail)

    assert laptop.browsers == {reference_of(answer): ["Mail"]}
    assert ">Browsers</h2>" in laptop.open().markup


def test_a_browser_has_the_applications_that_are_signed_in_from_it(
    make_site: Callable[..., Site], mail: Site, laptop: Browser, phone: Browser
) -> None:
    news, evil = (make_site("authorization_code", name=name) for name in ("news", "<script>Chat</script>"))
    on_laptop = [laptop.login(site) for site in (evil, mail, news)]
    on_phone = phone.login(mail)
    make_site(name="Elsewhere").token()

    assert laptop.browsers == {
        reference_of(on_laptop[0]): ["<script>Chat</script>", "Mail", "news"],
        reference_of(on_phone): ["Mail"],
    }
    assert "<script>" not in laptop.open().markup

    expire(on_laptop[1].access)  # it can still be refreshed
    get_refresh_token_model().objects.filter(application=news.application).delete()
    assert laptop.browsers[reference_of(on_laptop[0])] == ["<script>Chat</script>", "Mail", "news"]
    get_access_token_model().objects.filter(application=news.application).update(expires=timezone.now())
    mail.revoke(on_laptop[1].refresh)
    assert laptop.browsers == {
        reference_of(on_laptop[0]): ["<script>Chat</script>"],
        reference_of(on_phone): ["Mail"],
    }


def test_the_browser_at_hand_is_marked_and_comes_first(mail: Site, laptop: Browser, phone: Browser) -> None:
    on_laptop, on_phone = laptop.login(mail), phone.login(mail)

    for browser, answer, other in ((laptop, on_laptop, on_phone), (phone, on_phone, on_laptop)):
        assert browser.here == [reference_of(answer)]
        assert list(browser.browsers) == [reference_of(answer), reference_of(other)]


def test_a_browser_that_has_signed_in_to_no_application_is_not_marked(
    mail: Site, laptop: Browser, phone: Browser
) -> None:
    answer = phone.login(mail)

    assert list(laptop.browsers) == [reference_of(answer)]
    assert laptop.here == []


def test_the_others_come_by_when_they_were_last_seen(user: User, laptop: Browser) -> None:
    sessions = make_sessions(user, 4)

    assert list(laptop.browsers) == [session.label for session in reversed(sessions)]
    assert list(login_sessions_of(user)) == sessions[::-1]


def test_when_the_user_signed_in_and_was_last_seen(mail: Site, laptop: Browser, user: User) -> None:
    make_sessions(user, 1)
    LoginSession.objects.update(
        authenticated_at="2024-01-02T03:04:05Z",
        last_seen="2025-02-03T14:05:06Z",
        expires="2999-01-01T00:00:00Z",
    )

    (browser,) = laptop.open().browsers
    assert 'title="Jan. 2, 2024, 3:04 a.m. UTC">2\xa0years\xa0ago' in browser.markup
    assert browser.facts["Signed in"].endswith("ago (Jan. 2, 2024, 3:04 a.m. UTC)")
    assert browser.facts["Last seen"].endswith("ago (Feb. 3, 2025, 2:05 p.m. UTC)")


def test_it_is_called_by_what_it_looks_like(user: User, laptop: Browser) -> None:
    make_sessions(user, 1)
    (browser,) = laptop.open().browsers
    assert browser.name == "Unknown browser"

    LoginSession.objects.update(
        last_browser="Firefox", last_os="Windows", last_place="Bern", last_address="192.0.2.7"
    )
    (browser,) = laptop.open().browsers
    assert browser.name == "Firefox on Windows"
    assert browser.facts["Last seen from"] == "Bern · 192.0.2.7"
    assert "Reference" not in browser.facts


@pytest.mark.parametrize(
    "fields",
    [
        {"expires": timezone.now() - timedelta(seconds=1)},
        {"terminated_at": timezone.now(), "termination_reason": TerminationReason.LOGOUT},
    ],
    ids=["expired", "ended"],
)
def test_what_does_not_go_on_is_not_listed(user: User, laptop: Browser, fields: dict[str, Any]) -> None:
    make_sessions(user, 2, **fields)

    assert laptop.browsers == {}
    assert "You are not signed in on any device." in laptop.open().text


def test_nothing_on_the_page_is_secret(mail: Site, laptop: Browser, phone: Browser) -> None:
    answers = [laptop.login(mail), phone.login(mail)]

    text = laptop.open().markup
    for answer in answers:
        assert answer.access not in text
        assert answer.refresh not in text
        assert str(session_of(answer).sid) not in text
    for browser in (laptop, phone):
        assert str(browser.http.session.session_key) not in text


def test_of_other_users_nothing_is_listed(mail: Site, laptop: Browser) -> None:
    laptop.login(mail)

    assert Browser(User.objects.create_user("mallory")).browsers == {}


def test_the_page_is_told_in_german(mail: Site, laptop: Browser, phone: Browser) -> None:
    laptop.login(mail)
    there = phone.login(mail)
    german = {"headers": {"Accept-Language": "de"}}

    shown = laptop.open(LIST, **german)
    for words in (
        "Dieser Browser",
        "Zuletzt gesehen",
        "Anwendungen",
        "gerade eben",
        "Überall sonst abmelden",
    ):
        assert words in shown.text
    question = laptop.open(sign_out_address(session_of(there)), **german)
    assert question.heading == "Unbekannter Browser abmelden?"


# What is bound to a login session


def test_what_is_bound_to_a_login_session_is_a_browser(
    make_site: Callable[..., Site], laptop: Browser, phone: Browser, user: User
) -> None:
    site = make_site("authorization_code", name="Mail", token_binding_type="sso-session")
    on_laptop, on_phone = laptop.login(site), phone.login(site)

    for browser, answer in ((laptop, on_laptop), (phone, on_phone)):
        first, second = browser.open().devices
        assert (first.name, first.mark) == ("Mail in a browser", "In this browser")
        assert first.facts["Reference"] == session_of(answer).label
        assert (second.name, second.mark) == ("Mail in a browser", "")
        assert browser.here == [reference_of(answer)]
        assert session_of(answer).label == binding_reference(str(session_of(answer).sid))[:12]

    laptop.post(laptop.open().devices[0].rename, name="My laptop")
    assert [device.name for device in devices_of(user)] == ["Mail in a browser", "My laptop"]


def test_what_has_no_browser_is_still_in_the_shared_slot(make_site: Callable[..., Site], user: User) -> None:
    make_site(name="Mail", token_binding_type="sso-session").token()

    assert [device.name for device in devices_of(user)] == ["Mail on other devices"]


# What was signed in from this browser


def test_a_device_that_was_signed_in_from_this_browser_is_marked_and_comes_first(
    make_site: Callable[..., Site], laptop: Browser, phone: Browser
) -> None:
    site = make_site("authorization_code", name="Mail", token_binding_type="client-request")
    for browser, value in ((laptop, "laptop"), (phone, "phone")):
        form = site.authorization_code("read", browser.http)
        assert site.post("/oauth2/token/", {**form, "tokenBindingId": value}).status == 200
    TokenBinding.objects.update(name=F("binding_value"))

    marks = [[(device.name, device.mark) for device in each.open().devices] for each in (laptop, phone)]

    assert marks == [
        [("laptop", "This device"), ("phone", "")],
        [("phone", "This device"), ("laptop", "")],
    ]


def test_what_is_unbound_is_marked_where_all_of_it_is_from_this_browser(
    make_site: Callable[..., Site], mail: Site, laptop: Browser, phone: Browser
) -> None:
    news = make_site("authorization_code", name="News")
    laptop.login(mail)
    laptop.login(news)
    phone.login(news)

    marks = {device.name: device.mark for device in laptop.open().devices}

    assert marks == {"Mail on unknown devices": "In this browser", "News on unknown devices": ""}


# Signing out


@pytest.mark.parametrize("binding_type", ["none", "sso-session"])
def test_signing_another_browser_out(
    make_site: Callable[..., Site], laptop: Browser, phone: Browser, binding_type: str
) -> None:
    mail = make_site("authorization_code", token_binding_type=binding_type, revoke_on_logout="session")
    here, there = laptop.login(mail), phone.login(mail)

    response = laptop.sign_out_browser(session_of(there))

    assert (response.status_code, response["Location"]) == (302, LIST)
    assert laptop.open().messages == ["Unknown browser is signed out."]
    assert list(laptop.browsers) == [reference_of(here)]
    assert session_of(there).termination_reason == TerminationReason.USER
    assert (mail.active(here.access), mail.active(there.access)) == (True, False)
    assert mail.refresh(there.refresh).status == 400
    assert (laptop.is_signed_in, phone.is_signed_in) == (True, False)


def test_the_tokens_of_an_application_that_does_not_follow_go_on(
    make_site: Callable[..., Site], laptop: Browser, phone: Browser
) -> None:
    site = make_site("authorization_code")
    there = phone.login(site)

    laptop.sign_out_browser(session_of(there))

    assert site.active(there.access)
    assert not phone.is_signed_in


@pytest.mark.parametrize("has_middleware", [False, True])
def test_where_the_browser_is_logged_out(mail: Site, user: User, has_middleware: bool) -> None:
    """Without the middleware, other pages stay open until the browser comes to one of the server's."""
    assert MIDDLEWARE not in settings.MIDDLEWARE
    middleware = [*settings.MIDDLEWARE, *([MIDDLEWARE] if has_middleware else [])]

    with override_settings(MIDDLEWARE=middleware):
        laptop, phone = Browser(user), Browser(user)
        there = phone.login(mail)
        laptop.sign_out_browser(session_of(there))

        assert phone.is_signed_in_elsewhere is not has_middleware
        assert not phone.is_signed_in
        assert not phone.is_signed_in_elsewhere
        assert laptop.is_signed_in_elsewhere


def test_signing_this_browser_out_is_a_logout(mail: Site, laptop: Browser, phone: Browser) -> None:
    here, there = laptop.login(mail), phone.login(mail)

    response = laptop.sign_out_browser(session_of(here))

    assert (response.status_code, response["Location"]) == (302, reverse(settings.LOGOUT_REDIRECT_URL))
    assert session_of(here).termination_reason == TerminationReason.LOGOUT
    assert (mail.active(here.access), mail.active(there.access)) == (False, True)
    assert (laptop.is_signed_in_elsewhere, phone.is_signed_in) == (False, True)
    assert all(entry.change_message.startswith("Signed out: ") for entry in LogEntry.objects.all())
    assert LogEntry.objects.filter(user__username="alice").exists()


@override_settings(LOGOUT_REDIRECT_URL=None)
def test_without_an_address_for_who_is_logged_out_it_is_the_login(mail: Site, laptop: Browser) -> None:
    response = laptop.sign_out_browser(session_of(laptop.login(mail)))

    assert response["Location"] == f"{reverse(settings.LOGIN_URL)}?next={LIST}"


def test_signing_a_browser_out_twice_is_no_error(mail: Site, laptop: Browser, phone: Browser) -> None:
    session = session_of(phone.login(mail))

    assert [laptop.post(sign_out_address(session)).status_code for _time in range(2)] == [302, 302]
    assert laptop.is_signed_in


def test_one_is_asked_before_a_browser_is_signed_out(mail: Site, laptop: Browser, phone: Browser) -> None:
    here, there = laptop.login(mail), phone.login(mail)
    LoginSession.objects.filter(pk=session_of(there).pk).update(last_browser="Firefox", last_os="Android")

    questions = [laptop.open(sign_out_address(session_of(answer))) for answer in (here, there)]

    assert [question.heading for question in questions] == [
        "Sign out this browser?",
        "Sign out Firefox on Android?",
    ]
    assert is_live(session_of(here))
    assert is_live(session_of(there))


def test_one_comes_back_to_where_one_was(mail: Site, laptop: Browser, phone: Browser, user: User) -> None:
    session = session_of(phone.login(mail))
    make_sessions(user, 2 * BROWSERS_PAGE_SIZE)
    shown = laptop.open(f"{LIST}?browsers=3&q=&page=x&next=//example.com")

    (address,) = [entry.sign_out for entry in laptop.open().browsers if f"/{session.pk}/" in entry.sign_out]
    assert address == sign_out_address(session)
    assert all(entry.sign_out.endswith("?browsers=3") for entry in shown.browsers)
    question = laptop.open(f"{address}?browsers=3")
    assert f'href="{LIST}?browsers=3"' in question.markup
    assert laptop.post(f"{address}?browsers=3")["Location"] == f"{LIST}?browsers=3"


def test_others_browsers_are_not_found(mail: Site, laptop: Browser) -> None:
    answer = laptop.login(mail)

    mallory = Browser(User.objects.create_user("mallory"))
    assert mallory.post(sign_out_address(session_of(answer))).status_code == 404

    assert session_of(answer).is_live
    assert mail.active(answer.access)


@pytest.mark.parametrize("session", ["0", "9" * 30, "9" * 5000, "x", "-1"])
def test_what_is_no_browser_is_not_found(mail: Site, laptop: Browser, session: str) -> None:
    laptop.login(mail)

    assert laptop.post(f"{LIST}browsers/{session}/sign-out/").status_code == 404


def test_who_is_not_signed_in_is_asked_to(mail: Site, laptop: Browser) -> None:
    session = session_of(laptop.login(mail))

    response = Client().post(sign_out_address(session))

    assert (response.status_code, response["Location"]) == (302, f"{reverse(settings.LOGIN_URL)}?next={LIST}")
    assert is_live(session)


def test_signing_out_is_a_post_of_the_page(mail: Site, laptop: Browser, phone: Browser, user: User) -> None:
    session = session_of(phone.login(mail))
    checked = UserAgent(user)

    assert laptop.http.get(sign_out_address(session)).status_code == 200
    assert checked.http.post(sign_out_address(session)).status_code == 403
    assert is_live(session)


def test_in_code(mail: Site, laptop: Browser, phone: Browser, user: User) -> None:
    here, there = laptop.login(mail), phone.login(mail)

    for session in login_sessions_of(user):
        if session != session_of(here):
            sign_out_browser(session)
            sign_out_browser(session)

    assert list(login_sessions_of(user)) == [session_of(here)]
    assert session_of(there).termination_reason == TerminationReason.USER


# Signing out everywhere else


def test_this_browser_stays_with_what_was_signed_in_from_it(
    make_site: Callable[..., Site], make_bound: Callable[..., Site], laptop: Browser, phone: Browser
) -> None:
    mail, news = (make_site("authorization_code", name=name, revoke_on_logout="session") for name in "MN")
    bound = make_site("authorization_code", name="B", token_binding_type="sso-session")
    television = make_bound("opaque")
    tablet = television.bound("tablet")
    here = [(site, laptop.login(site)) for site in (mail, news, bound)]
    there = [(site, phone.login(site)) for site in (mail, bound)]

    question = laptop.open(laptop.open().others)
    # The tablet, what the phone's browser has in B, and that browser; what is unbound in M is of both.
    assert question.heading == "Sign out on 4 other devices and browsers?"
    laptop.sign_out_others()

    assert laptop.open().messages == ["4 other devices and browsers are signed out."]
    assert all(site.active(answer.access) for site, answer in here)
    assert all(site.refresh(answer.refresh).status == 200 for site, answer in here)
    assert not any(site.active(answer.access) for site, answer in [*there, (television, tablet)])
    assert not any(site.refresh(answer.refresh).status == 200 for site, answer in there)
    assert (laptop.is_signed_in_elsewhere, phone.is_signed_in) == (True, False)
    assert session_of(there[0][1]).termination_reason == TerminationReason.SIGN_OUT_EVERYWHERE
    shown = laptop.open()
    assert {device.mark for device in shown.devices} == {"In this browser"}
    assert [browser.mark for browser in shown.browsers] == ["This browser"]
    assert shown.others == ""


def test_a_device_that_is_kept_keeps_the_browsers_that_it_was_signed_in_from(
    make_bound: Callable[..., Site], mail: Site, laptop: Browser, phone: Browser
) -> None:
    """In code, where no browser is at hand."""
    make_bound().bound("tablet")
    phone.login(mail)
    make_sessions(laptop.user, 2)
    (kept,) = [device for device in devices_of(laptop.user) if device.application == mail.application]

    assert sign_out_everywhere(laptop.user, keep=kept.id) == 3

    assert [device.id for device in devices_of(laptop.user)] == [kept.id]
    assert phone.is_signed_in


@pytest.mark.skipif(not apps.is_installed("rest_framework"), reason="the API needs it")
def test_a_browser_that_calls_the_api_stays_signed_in(mail: Site, laptop: Browser, phone: Browser) -> None:
    laptop.login(mail)
    phone.login(mail)

    answer = laptop.http.post("/api/devices/sign-out-others/", content_type="application/json")

    assert answer.json() == {"signed_out": 2}  # Mail's tokens, and the phone's browser
    assert (laptop.is_signed_in, phone.is_signed_in) == (True, False)


# Users with many


def queries_of(browser: Browser) -> int:
    with CaptureQueriesContext(connection) as queries:
        assert browser.is_signed_in
    return len(queries)


def test_the_queries_and_rows_are_those_of_a_page(
    make_site: Callable[..., Site],
    mail: Site,
    laptop: Browser,
    phone: Browser,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    laptop.login(mail)
    phone.login(mail)
    few = queries_of(laptop)
    for number in range(4):
        site = make_site("authorization_code", name=f"application {number}")
        for browser in (laptop, phone):
            browser.login(site)
    make_sessions(laptop.user, 10_000)
    made: list[Any] = []
    from_db = LoginSession.from_db.__func__  # type: ignore[attr-defined]

    def count_sessions(model: Any, *arguments: Any, **options: Any) -> Any:
        made.append(arguments)
        return from_db(model, *arguments, **options)

    monkeypatch.setattr(LoginSession, "from_db", classmethod(count_sessions))
    assert queries_of(laptop) == few
    assert len(made) <= BROWSERS_PAGE_SIZE + 4
    assert len(laptop.open().markup) < 100_000


def test_they_come_in_pages_of_their_own(mail: Site, laptop: Browser) -> None:
    reference = reference_of(laptop.login(mail))
    make_sessions(laptop.user, BROWSERS_PAGE_SIZE - 1)
    assert len(laptop.browsers) == BROWSERS_PAGE_SIZE
    assert laptop.open().links("Pages of browsers") == {}

    make_sessions(laptop.user, BROWSERS_PAGE_SIZE + 1)
    pages: list[Page] = [laptop.open()]
    while "Next" in pages[-1].links("Pages of browsers"):
        pages.append(laptop.open(pages[-1].links("Pages of browsers")["Next"]))

    shown = [[entry.facts["Reference"] for entry in page.browsers] for page in pages]
    assert [len(page) for page in shown] == [BROWSERS_PAGE_SIZE, BROWSERS_PAGE_SIZE, 1]
    assert shown[0][0] == reference
    assert sorted(reference for page in shown for reference in page) == sorted(
        session.label for session in login_sessions_of(laptop.user)
    )


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("firefox", ["Firefox on Windows", "Firefox on Android"]),
        ("Firefox on Windows", ["Firefox on Windows"]),
        ("android FIRE", ["Firefox on Android"]),
        ("bern", ["Firefox on Android"]),
        ("mail", ["Unknown browser"]),
        ("mail firefox", []),
        ("%", []),
    ],
)
def test_they_are_found_by_what_is_said_of_them(
    mail: Site, laptop: Browser, user: User, search: str, found: list[str]
) -> None:
    laptop.login(mail)
    android, windows = make_sessions(user, 2)[-2:]
    for session, facts in (
        (android, {"last_os": "Android", "last_place": "Bern"}),
        (windows, {"last_os": "Windows"}),
    ):
        LoginSession.objects.filter(pk=session.pk).update(last_browser="Firefox", **facts)

    shown = laptop.open(f"{LIST}?{urlencode({'q': search})}")

    assert [browser.name for browser in shown.browsers] == found
    assert f"Found: {len(found) + len(shown.devices)} dev" in shown.text.replace("one device or", "1 dev")
