"""Ending all of a user, of an application, or of what the list of bindings shows, from the console."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from oauth2_provider.models import Grant

from oauth_binding.authorization_server.revocation import end_all as engine
from oauth_binding.authorization_server.revocation.revoke import revoke_binding
from oauth_binding.console import end_all as pages
from oauth_binding.devices import devices_of, sign_out_everywhere
from oauth_binding.models import LoginSession, TerminationReason, TokenBinding
from oauth_binding.signals import binding_revoked, user_signed_out
from oauth_binding.storage import devices
from tests.helpers.client import PASSWORD, Answer, Site
from tests.helpers.end_all import BINDINGS, PAGES, end_all, send, state, text
from tests.helpers.exchange import allow, exchange
from tests.helpers.login_sessions import login, signed_in
from tests.helpers.rows import access_token_row, expire, make_devices, refresh_token_row
from tests.helpers.staff import staff


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each request end one row."""
    monkeypatch.setattr(engine, "STEP", 1)
    monkeypatch.setattr(pages, "REQUEST_SECONDS", 0)


@pytest.fixture
def bob(db: None) -> User:
    return User.objects.create_user("bob", "bob@example.com", PASSWORD)


@pytest.fixture
def mobile(make_bound: Callable[..., Site]) -> Site:
    return make_bound(name="Mobile app", additional_grant_types="authorization-code")


def also_of(site: Site, user: User) -> Site:
    return Site(site.application, user)


def of_user(user: User) -> str:
    return f"{PAGES}user/{user.pk}/"


def of_application(site: Site) -> str:
    return f"{PAGES}application/{site.application.pk}/"


def histories(obj: Any) -> list[str]:
    entries = LogEntry.objects.filter(content_type__model=obj._meta.model_name, object_id=str(obj.pk))
    return [entry.get_change_message() for entry in entries]


def lives(site: Site, answer: Answer) -> bool:
    """Return whether a pair can be used."""
    is_active = site.active(answer.access)
    assert site.active(answer.refresh) is is_active
    return is_active


@contextmanager
def heard(signal: Any) -> Iterator[list[Any]]:
    sent: list[Any] = []

    def hear(sender: Any, **kwargs: Any) -> None:
        sent.append(kwargs)

    signal.connect(hear)
    yield sent
    signal.disconnect(hear)


# What ends


def test_all_of_a_user(
    operator: Client, user: User, bob: User, mobile: Site, make_site: Callable[..., Site]
) -> None:
    notes = make_site(name="Notes")
    mine = [(mobile, mobile.bound("phone")), (mobile, mobile.bound("laptop")), (notes, notes.token())]
    browser = signed_in(user)
    mine.append((mobile, login(mobile, browser, "read")))
    code = mobile.authorization_code()
    theirs = also_of(mobile, bob).bound("tablet")

    said = end_all(operator, of_user(user))

    assert said[0].startswith("User alice The user will be signed out everywhere")
    assert "2 login sessions 3 token bindings 2 tokens that are bound to nothing" in said[0]
    assert said[-1] == (
        "User alice Ended: 2 login sessions. Ended: 3 token bindings. "
        "Ended: 2 tokens that are bound to nothing. Back"
    )
    assert not any(lives(site, answer) for site, answer in mine)
    assert mobile.post("/oauth2/token/", code)["error"] == "invalid_grant"
    reasons = LoginSession.objects.filter(user=user).values_list("termination_reason", flat=True)
    assert set(reasons) == {TerminationReason.OPERATOR}
    assert lives(mobile, theirs)
    assert histories(user) == [f"End all. {said[-1].removeprefix('User alice ').removesuffix(' Back')}"]


def test_all_of_an_application(
    operator: Client, user: User, bob: User, mobile: Site, make_bound: Callable[..., Site]
) -> None:
    theirs = also_of(mobile, bob)
    ended = [mobile.bound("phone"), theirs.bound("tablet"), mobile.bound(None)]
    code = theirs.authorization_code()
    other = make_bound(name="Another app")
    kept = other.bound("phone")

    said = end_all(operator, of_application(mobile))

    assert said[0].startswith("Application Mobile app Everybody will be signed out of this application")
    assert "3 token bindings" in said[0]
    assert said[-1] == "Application Mobile app Ended: 3 token bindings. Back"
    assert not any(lives(mobile, answer) for answer in ended)
    assert mobile.post("/oauth2/token/", code)["error"] == "invalid_grant"
    assert lives(other, kept)
    assert not Grant.objects.filter(application=mobile.application).exists()
    assert histories(mobile.application) == ["End all. Ended: 3 token bindings."]


def test_tokens_of_an_application_without_binding(operator: Client, make_site: Callable[..., Site]) -> None:
    notes, jobs = make_site(name="Notes"), make_site("client_credentials", name="Jobs", as_user=None)
    answer, job = notes.token(), jobs.token()

    end_all(operator, of_application(notes))
    said = end_all(operator, of_application(jobs))

    assert not lives(notes, answer)
    assert not jobs.active(job.access)
    assert said[-1] == "Application Jobs Ended: 1 token that is bound to nothing. Back"


def test_all_that_the_list_shows(
    operator: Client, bob: User, mobile: Site, make_bound: Callable[..., Site]
) -> None:
    other = make_bound(name="Another app")
    ended = [mobile.bound("phone"), mobile.bound("laptop")]
    kept = [(also_of(mobile, bob), also_of(mobile, bob).bound("tablet")), (other, other.bound("phone"))]
    listed = operator.get(BINDINGS, {"q": "alice 'Mobile app'", "live": "yes", "p": "1"})
    address = listed.context["end_all_url"]
    assert address in listed.content.decode().replace("&amp;", "&")

    said = end_all(operator, address)

    assert said[0].startswith("Search: alice 'Mobile app'; Live tokens: with live tokens ")
    assert "2 token bindings" in said[0]
    assert said[-1].endswith("Ended: 2 token bindings. Back")
    assert not any(lives(mobile, answer) for answer in ended)
    assert all(lives(site, answer) for site, answer in kept)
    entry = LogEntry.objects.get()
    assert entry.object_repr == "Search: alice 'Mobile app'; Live tokens: with live tokens"
    assert entry.get_change_message() == "End all. Ended: 2 token bindings."


def test_a_link_to_the_list_is_named_in_words(operator: Client, user: User, mobile: Site) -> None:
    mobile.bound("phone")

    page = operator.get(PAGES, {"user__id__exact": user.pk})

    assert text(page).startswith("User: alice ")


def test_all_selected_across_pages_leads_there(operator: Client, mobile: Site, bob: User) -> None:
    answer, kept = mobile.bound("phone"), also_of(mobile, bob).bound("tablet")
    pk = TokenBinding.objects.get(user=mobile.user).pk
    sent = {"action": "revoke", "_selected_action": pk, "select_across": "1", "index": "0"}

    led = operator.post(f"{BINDINGS}?q=alice", sent)

    assert (led.status_code, led["Location"]) == (302, f"{PAGES}?q=alice")
    end_all(operator, led["Location"])
    assert not lives(mobile, answer)
    assert lives(mobile, kept)


def test_what_the_list_can_not_show_ends_nothing(operator: Client, mobile: Site) -> None:
    answer = mobile.bound("phone")

    assert operator.get(PAGES, {"token__startswith": "a"}).status_code == 400
    assert operator.get(PAGES, {"user__id__exact": "nobody"})["Location"] == BINDINGS
    for address in ("user/0/", "user/x/", "application/0/", "token/1/"):
        assert operator.get(f"{PAGES}{address}").status_code in (302, 404)
    assert lives(mobile, answer)


def test_the_flag_of_an_error_in_the_address_of_the_list_is_no_filter(operator: Client, mobile: Site) -> None:
    answer = mobile.bound("phone")
    address = operator.get(BINDINGS, {"e": "1", "q": "alice"}).context["end_all_url"]
    assert address == f"{PAGES}?q=alice"

    said = end_all(operator, f"{PAGES}?e=1&count=exact&p=1")

    assert said[0].startswith("All token bindings ")
    assert not lives(mobile, answer)


@pytest.mark.parametrize("address", [of_user, of_application], ids=["user", "application"])
def test_a_refresh_token_that_is_too_old_by_the_policy_of_now_ends(
    operator: Client, user: User, mobile: Site, address: Callable[[Any], str]
) -> None:
    """It would live again with the policy of tomorrow."""
    answer = mobile.bound("phone")
    expire(answer.access)
    # As where the number of devices is limited and this was none that is signed in.
    devices.unmark(TokenBinding.objects.values_list("pk", flat=True))

    said = end_all(operator, address(user if address is of_user else mobile))

    assert said[-1].endswith(" Ended: 1 token binding. Back")
    assert not mobile.active(answer.refresh)
    assert mobile.refresh(answer.refresh)["error"] == "invalid_grant"


@pytest.mark.parametrize("is_on", [True, False], ids=["cascade", "no cascade"])
def test_what_another_application_got_for_a_token_that_has_expired_since(
    operator: Client, make_site: Callable[..., Site], settings: Any, is_on: bool
) -> None:
    settings.OAUTH_BINDING = {"TOKEN_EXCHANGE_CASCADE": is_on}
    notes = make_site(name="Notes")
    backend = make_site(
        "client_credentials", name="Backend", as_user=None, additional_grant_types="token-exchange"
    )
    allow(backend, notes, refresh_tokens=True)
    subject = notes.token()
    exchanged = exchange(backend, subject.access)
    assert exchanged.status == 200, exchanged.data
    # As is an access token that comes without a refresh token.
    refresh_token_row(subject.refresh).delete()
    access = access_token_row(subject.access)
    access.expires -= timedelta(days=1)
    access.save()

    end_all(operator, of_application(notes))

    assert backend.active(exchanged.access) is not is_on


def test_who_can_not_see_a_user_can_not_end_what_the_user_has(
    operator: Client, user: User, bob: User, mobile: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = mobile.bound("phone")
    shown = admin.site.get_model_admin(User)
    monkeypatch.setattr(shown, "get_queryset", lambda request: User.objects.exclude(pk=user.pk))

    assert operator.get(of_user(user)).status_code == 404
    assert operator.post(of_user(user)).status_code == 404
    assert operator.get(of_user(bob)).status_code == 200
    assert lives(mobile, answer)


# Going on


@pytest.mark.usefixtures("small")
def test_each_page_says_how_far_it_is(operator: Client, user: User, mobile: Site) -> None:
    make_devices(user, mobile.application, 3)

    said = end_all(operator, of_user(user))

    progress = [line.partition(" ended.")[0] for line in said if " ended." in line]
    assert list(dict.fromkeys(progress)) == [
        f"User alice {number} of 3 token bindings" for number in range(4)
    ]
    assert said[-1] == "User alice Ended: 3 token bindings. Back"


@pytest.mark.usefixtures("small")
def test_who_stops_and_begins_again_ends_the_rest(operator: Client, user: User, mobile: Site) -> None:
    make_devices(user, mobile.application, 3)
    page = operator.get(of_user(user))
    while "1 of 3" not in text(page):
        page = send(operator, of_user(user), page)

    assert histories(user) == ["End all. 1 of 3 token bindings ended."]
    said = end_all(operator, of_user(user))

    assert "2 token bindings" in said[0]
    assert said[-1] == "User alice Ended: 2 token bindings. Back"
    assert set(histories(user)) == {
        "End all. 1 of 3 token bindings ended.",
        "End all. Ended: 2 token bindings.",
    }
    assert end_all(operator, of_user(user))[-1] == "User alice There was nothing to end. Back"


def test_a_device_that_its_user_has_signed_out_is_not_counted(
    operator: Client, user: User, mobile: Site
) -> None:
    for name in ("phone", "laptop", "watch"):
        mobile.bound(name)

    assert "3 token bindings" in text(operator.get(of_user(user)))
    revoke_binding(TokenBinding.objects.get(binding_value="phone"))
    assert "2 token bindings" in text(operator.get(of_user(user)))
    mobile.bound("phone")
    assert "3 token bindings" in text(operator.get(of_user(user)))
    sign_out_everywhere(user)
    assert "No token binding, token or login session." in text(operator.get(of_user(user)))


@pytest.mark.usefixtures("small")
def test_a_page_that_is_sent_twice_does_no_harm(operator: Client, user: User, mobile: Site) -> None:
    make_devices(user, mobile.application, 3)
    page = operator.get(of_user(user))
    while "2 of 3" not in text(page):
        page = send(operator, of_user(user), page)
    once = send(operator, of_user(user), page)
    twice = send(operator, of_user(user), page)
    for page in (once, twice):
        while state(page) is not None:
            page = send(operator, of_user(user), page)

    assert [device.id for device in devices_of(user)] == []
    assert len(histories(user)) == 1


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("address", [of_user, of_application], ids=["user", "application"])
def test_who_logs_in_after_the_confirmation_stays(
    operator: Client, user: User, mobile: Site, address: Callable[[Any], str]
) -> None:
    """It ends, too: each request is followed by a login of another device."""
    before = [mobile.bound("phone"), mobile.bound("laptop")]
    url = address(user if address is of_user else mobile)
    page = send(operator, url, operator.get(url))
    while "0 of 2" in text(page):
        page = send(operator, url, page)
    after: list[Answer] = []
    while state(page) is not None:
        after.append(mobile.bound(f"device {len(after)}"))
        page = send(operator, url, page)

    assert not any(lives(mobile, answer) for answer in before)
    assert len(after) > 1
    assert all(lives(mobile, answer) for answer in after)


@pytest.mark.usefixtures("small")
def test_what_is_refreshed_meanwhile_is_of_a_login_from_before(
    operator: Client, user: User, make_site: Callable[..., Site]
) -> None:
    notes = make_site(name="Notes", as_user=user)
    first, second = notes.token(), notes.token()
    url = of_application(notes)
    page = operator.get(url)
    while "2 of 4" not in text(page):
        page = send(operator, url, page)
    assert not lives(notes, first)
    refreshed = notes.refresh(second.refresh)
    after = notes.token()
    assert lives(notes, refreshed)
    while state(page) is not None:
        page = send(operator, url, page)

    assert not lives(notes, refreshed)
    assert lives(notes, after)


@pytest.mark.usefixtures("small")
def test_a_device_whose_turn_has_not_come_ends_with_what_it_has_by_then(
    operator: Client, user: User, mobile: Site
) -> None:
    first, second = mobile.bound("phone"), mobile.bound("laptop")
    url = of_user(user)
    page = operator.get(url)
    while "1 of 2" not in text(page):
        page = send(operator, url, page)
    assert not lives(mobile, first)
    refreshed = mobile.refresh(second.refresh)
    again = mobile.bound("phone")
    assert again.status == refreshed.status == 200
    while state(page) is not None:
        page = send(operator, url, page)

    assert not lives(mobile, refreshed)
    assert lives(mobile, again)


# Who may


@pytest.mark.parametrize("permission", ["view_tokenbinding", "revoke_tokenbinding"])
def test_it_takes_the_permission_to_revoke(user: User, mobile: Site, permission: str) -> None:
    answer = mobile.bound("phone")
    somebody = staff(permission, "view_user", "view_application")
    may = permission == "revoke_tokenbinding"

    for address in (PAGES, of_user(user), of_application(mobile)):
        assert somebody.get(address).status_code == (200 if may else 403)
        assert (somebody.post(address).status_code == 403) is not may
    for page in (
        f"/admin/auth/user/{user.pk}/change/",
        f"/admin/oauth2_provider/application/{mobile.application.pk}/change/",
        BINDINGS,
    ):
        assert (b"/end-all/" in somebody.get(page).content) is may
    assert lives(mobile, answer)


def test_a_page_is_good_for_what_it_says_and_for_who_was_asked(
    operator: Client, user: User, bob: User, mobile: Site
) -> None:
    mine, theirs = mobile.bound("phone"), also_of(mobile, bob).bound("tablet")
    asked = state(operator.get(of_user(user)))
    other = staff("revoke_tokenbinding")

    for client, address, sent in (
        (operator, of_user(bob), asked),
        (other, of_user(user), asked),
        (operator, of_user(user), f"x{asked}"),
        (operator, of_user(user), ""),
    ):
        page = client.post(address, {"state": sent}, follow=True)
        assert "This page is too old." in page.content.decode()

    assert lives(mobile, mine)
    assert lives(mobile, theirs)
    assert not LogEntry.objects.exists()


def test_another_site_can_not_send_it(user: User, mobile: Site) -> None:
    answer = mobile.bound("phone")
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("operator"))
    asked = state(client.get(of_user(user)))

    assert client.post(of_user(user), {"state": asked}).status_code == 403
    assert lives(mobile, answer)


# Who is told


def test_a_site_is_told_of_each_device_or_of_the_user(
    operator: Client, user: User, bob: User, mobile: Site, django_capture_on_commit_callbacks: Any
) -> None:
    mobile.bound("phone")
    also_of(mobile, bob).bound("tablet")
    gone = mobile.bound("gone")
    mobile.revoke(gone.access)

    with (
        heard(binding_revoked) as devices,
        heard(user_signed_out) as users,
        django_capture_on_commit_callbacks(execute=True),
    ):
        end_all(operator, of_application(mobile))
    assert {each["binding"].binding_value for each in devices} == {"phone", "tablet"}
    assert users == []

    mobile.bound("phone")
    with (
        heard(binding_revoked) as devices,
        heard(user_signed_out) as users,
        django_capture_on_commit_callbacks(execute=True),
    ):
        end_all(operator, of_user(user))
    assert devices == []
    assert [(each["user"], each["cause"]) for each in users] == [(user, "sign_out_everywhere")]
