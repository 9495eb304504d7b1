"""The page "Your devices": what a user sees there, and signing devices out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import F
from django.test import Client, override_settings
from django.urls import reverse
from django.utils import timezone
from oauth2_provider.models import get_access_token_model, get_application_model, get_refresh_token_model

from oauth_binding.authorization_server import BindingOAuth2Validator, revoke_unbound_tokens
from oauth_binding.binding.semantics import binding_reference
from oauth_binding.devices import MAX_NAME_LENGTH, device_id_of, devices_of, find_device
from oauth_binding.models import TokenBinding, TokenPolicy
from tests.helpers.client import PASSWORD, Answer, Site
from tests.helpers.devices_page import LIST, UserAgent
from tests.helpers.dpop import DeviceKey
from tests.helpers.provider import provider
from tests.helpers.rows import access_token_row, expire, refresh_token_row

pytestmark = pytest.mark.usefixtures("named_devices")

UNBOUND = "News on unknown devices"
SHARED = "Mail on other devices"


@pytest.fixture
def page(user: User) -> UserAgent:
    return UserAgent(user)


@pytest.fixture(params=[False, True], ids=["plain", "redacted"])
def storage(request: pytest.FixtureRequest) -> Iterator[None]:
    with provider(COMPLIANT_BCP_RFC9700_TOKEN_STORAGE=request.param):
        yield


def assert_signed_in(site: Site, answer: Answer) -> None:
    assert site.active(answer.access)
    assert site.refresh(answer.refresh).status == 200


def assert_signed_out(site: Site, answer: Answer) -> None:
    assert not site.active(answer.access)
    assert site.refresh(answer.refresh).status == 400


# What the user sees


@pytest.mark.usefixtures("storage")
@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_a_device_per_binding_and_what_is_unbound_per_application(
    make_bound: Callable[..., Site], make_site: Callable[..., Site], page: UserAgent, token_type: str
) -> None:
    mail = make_bound(token_type, name="Mail")
    for binding in ("tablet", "phone", None):
        mail.bound(binding)
    mail.bound("phone", scope="read")
    news = make_site(name="News", token_type=token_type)
    news.token()
    news.token()

    shown = {(device.name, *device.applications) for device in page.open().devices}
    assert shown == {(SHARED, "Mail"), ("phone", "Mail"), ("tablet", "Mail"), (UNBOUND, "News")}
    assert len(page.open().devices) == 4


def test_tokens_from_before_the_application_opted_in_are_beside_the_devices(
    make_site: Callable[..., Site], page: UserAgent
) -> None:
    site = make_site(name="News")
    before = site.token()
    site.application.token_binding_type = "client-request"
    site.application.save()
    after = site.bound("phone")

    assert page.open().names == ["phone", UNBOUND]
    page.sign_out(UNBOUND)
    assert_signed_out(site, before)
    assert_signed_in(site, after)


def test_the_last_used_come_first_whatever_the_application(
    make_bound: Callable[..., Site], page: UserAgent
) -> None:
    for name, binding in (("Mail", "phone"), ("News", "tablet"), ("Mail", "watch")):
        make_bound(name=name).bound(binding)

    assert page.open().names == ["watch", "tablet", "phone"]


@pytest.mark.parametrize(
    ("since", "words", "german"),
    [
        (timedelta(hours=-1), "just now", "gerade eben"),
        (timedelta(seconds=59), "just now", "gerade eben"),
        (timedelta(minutes=1), "1 minute ago", "vor 1 Minute"),
        (timedelta(hours=3, minutes=40), "3 hours ago", "vor 3 Stunden"),
        (timedelta(days=1), "1 day ago", "vor 1 Tag"),
        (timedelta(days=20), "2 weeks ago", "vor 2 Wochen"),
        (timedelta(days=70), "2 months ago", "vor 2 Monaten"),
        (timedelta(days=1000), "2 years ago", "vor 2 Jahren"),
    ],
    ids=str,
)
def test_when_it_was_used_is_told_in_words(
    make_bound: Callable[..., Site], page: UserAgent, since: timedelta, words: str, german: str
) -> None:
    make_bound().bound("phone")
    TokenBinding.objects.update(last_used=timezone.now() - since)

    assert page.open().device("phone").facts["Last used"].startswith(f"{words} (")
    shown = page.open(headers={"Accept-Language": "de"}).device("phone")
    assert shown.facts["Zuletzt benutzt"].startswith(f"{german} (")


def test_the_exact_moment_is_shown_on_hover_and_read_aloud(
    make_bound: Callable[..., Site], page: UserAgent
) -> None:
    make_bound().bound("phone")
    TokenBinding.objects.update(created="2024-01-02T03:04:05Z", last_used="2025-02-03T14:05:06Z")

    device = page.open().device("phone")
    for moment, exact in (
        ("2024-01-02T03:04:05+0000", "Jan. 2, 2024, 3:04 a.m. UTC"),
        ("2025-02-03T14:05:06+0000", "Feb. 3, 2025, 2:05 p.m. UTC"),
    ):
        assert f'<time dir="auto" datetime="{moment}" title="{exact}">' in device.markup
        assert f"ago ({exact})" in device.text


def test_unbound_tokens_were_seen_first_when_the_oldest_of_them_was_issued(
    make_site: Callable[..., Site], user: User
) -> None:
    site = make_site()
    first = site.token()
    second = site.refresh(first.refresh)
    ago = timezone.now() - timedelta(days=9)
    get_refresh_token_model().objects.filter(pk=refresh_token_row(first.refresh).pk).update(created=ago)

    (device,) = devices_of(user)

    assert device.first_seen == ago
    last = max(access_token_row(second.access).updated, refresh_token_row(second.refresh).updated)
    assert device.last_used == last


def test_neither_tokens_nor_secrets_are_on_the_page_and_no_names_in_addresses(
    make_bound: Callable[..., Site], make_site: Callable[..., Site], page: UserAgent
) -> None:
    bound, unbound = make_bound(), make_site()
    answers = [bound.bound("phone"), unbound.token()]

    text = page.open().markup
    for site, answer in zip((bound, unbound), answers, strict=True):
        for secret in (answer.access, answer.refresh, site.secret, site.application.client_secret):
            assert secret not in text
    assert not [address for address in re.findall(r'(?:action|href)="(.*?)"', text) if "phone" in address]


def test_what_clients_and_users_call_a_device_is_escaped(
    make_bound: Callable[..., Site], page: UserAgent
) -> None:
    evil = "<script>alert('x')</script>\"&"
    site = make_bound(name=f"Mail {evil}")
    site.bound(f"value {evil}")
    site.bound("phone")
    page.rename("phone", f"name {evil}")

    shown = page.open()
    assert evil not in shown.markup
    assert {(device.name, *device.applications) for device in shown.devices} == {
        (f"value {evil}", f"Mail {evil}"),
        (f"name {evil}", f"Mail {evil}"),
    }
    question = page.open(shown.device(f"name {evil}").sign_out)
    assert question.heading == f"Sign out name {evil}?"
    assert "<title>Sign out name &lt;script&gt;" in question.markup
    assert evil not in question.markup
    page.sign_out(f"name {evil}")
    after = page.open()
    assert evil not in after.markup
    assert after.messages == [f"name {evil} is signed out."]


def test_without_devices(page: UserAgent) -> None:
    shown = page.open()
    assert "You are not signed in on any device." in shown.text
    assert shown.others == ""


def test_each_control_says_which_device_it_is_for(make_bound: Callable[..., Site], page: UserAgent) -> None:
    site = make_bound()
    site.bound("phone")
    site.bound("tablet")

    text = page.open().markup
    names = dict(re.findall(r' id="([^"]*)"[^>]*>([^<]*)</', text))
    controls = re.findall(r'aria-labelledby="([^" ]*) ([^"]*)"', text)
    assert sorted((names[control], names[device]) for control, device in controls) == [
        (control, device) for control in ("Rename", "Save", "Sign out") for device in ("phone", "tablet")
    ]
    assert text.count("<h1") == 1
    identifiers = re.findall(r' id="(.*?)"', text)
    assert len(identifiers) == len(set(identifiers))
    references = re.findall(r' (?:for|aria-labelledby|aria-describedby)="(.*?)"', text)
    assert {each for reference in references for each in reference.split()} <= set(identifiers)


@pytest.mark.parametrize("devices", [1, 10])
def test_the_number_of_queries_does_not_depend_on_that_of_devices(
    make_bound: Callable[..., Site],
    make_site: Callable[..., Site],
    page: UserAgent,
    devices: int,
    django_assert_num_queries: Callable[..., Any],
) -> None:
    for number in range(devices):
        make_bound().bound(f"device {number}")
        make_site().token()

    with django_assert_num_queries(9):  # two for the session and the user, one for the browsers
        shown = page.open()
    assert len(shown.devices) == 2 * devices


def test_a_site_can_override_parts_of_the_page(
    make_bound: Callable[..., Site], page: UserAgent, tmp_path: Path
) -> None:
    (tmp_path / "oauth_binding").mkdir()
    (tmp_path / "oauth_binding" / "device_list.html").write_text(
        '{% extends "oauth_binding/device_list.html" %}'
        "{% block device %}{{ block.super }}<p>{{ device.binding.binding_type }}</p>{% endblock device %}"
        "{% block device_actions %}{% endblock device_actions %}"
    )
    make_bound().bound("phone")
    with override_settings(TEMPLATES=[{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]):
        (device,) = page.open().devices
        assert device.name == "phone"
        assert "<p>client-request</p>" in device.markup
        assert (device.sign_out, device.rename) == ("", "")


def test_a_site_puts_its_navigation_into_one_small_file(
    make_bound: Callable[..., Site], page: UserAgent, tmp_path: Path
) -> None:
    (tmp_path / "oauth_binding").mkdir()
    (tmp_path / "oauth_binding" / "base.html").write_text(
        '{% extends "oauth_binding/base.html" %}'
        '{% block navigation %}<nav><a href="/">Home</a></nav>{% endblock navigation %}'
        '{% block extra_head %}<link rel="icon" href="/icon.png">{% endblock extra_head %}'
    )
    make_bound().bound("phone")
    with override_settings(TEMPLATES=[{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]):
        shown = page.open()
        for each in (shown, page.open(shown.device("phone").sign_out)):
            assert '<nav><a href="/">Home</a></nav>' in each.markup
            assert each.markup.index("Skip to the content") < each.markup.index("Home")
            assert '<link rel="icon" href="/icon.png">' in each.markup.split("</head>")[0]


# Which devices prove a key


def prove(site: Site, key: DeviceKey, **form: str) -> Answer:
    """Get tokens with a proof."""
    proof = key.proof("POST", "/oauth2/token/")
    answer = site.post("/oauth2/token/", site.grant(**form), headers={"DPoP": proof})
    TokenBinding.objects.filter(name="").update(name=F("binding_value"))
    return answer


def allow_proofs(*sites: Site) -> None:
    for site in sites:
        TokenPolicy.objects.create(application=site.application, sender_constraint="dpop")


def protected(user: User) -> dict[str, bool]:
    return {device.name: device.sender_constrained for device in devices_of(user)}


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_a_device_that_proves_a_key_is_protected(
    make_bound: Callable[..., Site],
    make_site: Callable[..., Site],
    user: User,
    page: UserAgent,
    token_type: str,
) -> None:
    site, plain = make_bound(token_type), make_site(name="News", token_type=token_type)
    allow_proofs(site, plain)
    prove(site, DeviceKey(), tokenBindingId="phone")
    site.bound("laptop")
    prove(plain, DeviceKey())

    assert protected(user) == {"phone": True, "laptop": False, UNBOUND: True}
    shown = {device.name for device in page.open().devices if "Protected by a key" in device.text}
    assert shown == {"phone", UNBOUND}


def test_a_device_is_not_protected_while_it_has_bearer_tokens(
    make_bound: Callable[..., Site], make_site: Callable[..., Site], user: User
) -> None:
    site, plain = make_bound(), make_site(name="News")
    before = [(site, site.bound("phone", scope="read")), (plain, plain.token())]
    allow_proofs(site, plain)
    prove(site, DeviceKey(), tokenBindingId="phone", scope="write")
    prove(plain, DeviceKey())

    assert protected(user) == {"phone": False, UNBOUND: False}
    for each, answer in before:
        each.revoke(answer.refresh)
    assert protected(user) == {"phone": True, UNBOUND: True}


def test_a_device_that_is_signed_out_is_not_called_protected(
    make_bound: Callable[..., Site], make_site: Callable[..., Site], user: User
) -> None:
    sites = [make_bound(), make_site()]
    allow_proofs(*sites)
    answers = [prove(site, DeviceKey()) for site in sites]
    ids = [device_id_of(access_token_row(answer.access)) for answer in answers]

    def found() -> list[bool]:
        devices = [find_device(user, device_id or "") for device_id in ids]
        return [device.sender_constrained for device in devices if device is not None]

    assert found() == [True, True]
    for site, answer in zip(sites, answers, strict=True):
        site.revoke(answer.refresh)
    assert found() == [False, False]


# Who is signed in


def test_devices_without_live_tokens_are_not_listed(
    make_bound: Callable[..., Site], make_site: Callable[..., Site], page: UserAgent
) -> None:
    bound, unbound, machine = make_bound(), make_site(), make_bound(grant_type="client_credentials")
    bound.revoke(bound.bound("revoked").access)
    unbound.revoke(unbound.token().refresh)
    machine.bound("machine")

    assert page.open().names == []


@pytest.mark.usefixtures("storage")
def test_who_can_refresh_is_signed_in(
    make_bound: Callable[..., Site], make_site: Callable[..., Site], page: UserAgent
) -> None:
    bound, unbound = make_bound(), make_site(name="News")
    phone, other = bound.bound("phone"), unbound.token()
    for answer in (phone, other):
        expire(answer.access)
    assert set(page.open().names) == {"phone", UNBOUND}

    with provider(REFRESH_TOKEN_EXPIRE_SECONDS=60):
        assert set(page.open().names) == {"phone", UNBOUND}
        get_access_token_model().objects.update(expires=timezone.now() - timedelta(seconds=61))
        assert page.open().names == []
        assert bound.refresh(phone.refresh).status == 400
        assert unbound.refresh(other.refresh).status == 400


def test_a_live_access_token_without_a_refresh_token_counts(
    make_bound: Callable[..., Site], make_site: Callable[..., Site], page: UserAgent
) -> None:
    make_bound().bound("phone")
    make_site(name="News").token()
    get_refresh_token_model().objects.all().delete()
    assert set(page.open().names) == {"phone", UNBOUND}
    get_access_token_model().objects.update(expires=timezone.now())
    assert page.open().names == []


def test_a_refresh_token_without_an_access_token_does_not(
    make_bound: Callable[..., Site], make_site: Callable[..., Site], page: UserAgent
) -> None:
    make_bound().bound("phone")
    make_site().token()
    get_access_token_model().objects.all().delete()
    assert page.open().names == []


# Signing out


@pytest.mark.usefixtures("storage")
@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
@pytest.mark.parametrize("lifetime", [None, 3600])
def test_signing_one_device_out(
    make_bound: Callable[..., Site], page: UserAgent, token_type: str, lifetime: int | None
) -> None:
    site = make_bound(token_type)
    with provider(REFRESH_TOKEN_EXPIRE_SECONDS=lifetime):
        phone, narrow, tablet = site.bound("phone"), site.bound("phone", scope="read"), site.bound("tablet")

        response = page.sign_out("phone")

        assert (response.status_code, response["Location"]) == (302, LIST)
        shown = page.open()
        assert shown.messages == ["phone is signed out."]
        assert shown.names == ["tablet"]
        assert_signed_out(site, phone)
        assert_signed_out(site, narrow)
        assert_signed_in(site, tablet)


@pytest.mark.usefixtures("storage")
@pytest.mark.parametrize("rotate", [True, False])
@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_signing_out_of_an_application_without_binding(
    make_site: Callable[..., Site], page: UserAgent, token_type: str, rotate: bool
) -> None:
    site, other = make_site(name="Mail", token_type=token_type), make_site(name="News")
    with provider(ROTATE_REFRESH_TOKEN=rotate, REFRESH_TOKEN_GRACE_PERIOD_SECONDS=60):
        consumed, live, expired = site.token(), site.token(), site.token()
        refreshed = site.refresh(consumed.refresh)
        expire(expired.access)
        kept = other.token()

        page.post(reverse("oauth2_provider:device-sign-out", args=[f"application-{site.application.pk}"]))

        assert page.open().names == [UNBOUND]
        for answer in (consumed, refreshed, live, expired):
            assert_signed_out(site, answer)
        assert_signed_in(other, kept)


def test_a_registered_client_is_no_device(
    make_site: Callable[..., Site], user: User, page: UserAgent
) -> None:
    """Who registered a client is not signed in by the token that manages it, and does not lose it."""
    http = Client()
    http.force_login(user)
    with provider(DCR_ENABLED=True):
        metadata = {"grant_types": ["client_credentials"], "client_name": "Registered"}
        registered = http.post("/oauth2/register/", metadata, content_type="application/json").json()
        application = get_application_model().objects.get(client_id=registered["client_id"])
        assert page.open().names == []

        revoke_unbound_tokens(user, application)

        bearer = {"Authorization": f"Bearer {registered['registration_access_token']}"}
        assert http.get(registered["registration_client_uri"], headers=bearer).status_code == 200


def test_signing_the_shared_slot_out(make_bound: Callable[..., Site], page: UserAgent) -> None:
    site = make_bound(name="Mail")
    shared, phone = site.bound(None), site.bound("phone")

    page.sign_out(SHARED)

    assert_signed_out(site, shared)
    assert_signed_in(site, phone)


def test_one_is_asked_before_a_device_is_signed_out(make_bound: Callable[..., Site], page: UserAgent) -> None:
    site = make_bound(name="Mail")
    answers = [site.bound("phone"), site.bound(None)]

    for name, consequence in (
        ("phone", "To use Mail there again, you have to sign in."),
        (SHARED, "Wherever Mail did not say which device it is on, you have to sign in to use it again."),
    ):
        question = page.open(page.open().device(name).sign_out)
        assert question.heading == f"Sign out {name}?"
        assert consequence in question.text
        assert f'href="{LIST}"' in question.markup  # the way back
    for answer in answers:
        assert_signed_in(site, answer)


def test_signing_out_everywhere_else(
    make_bound: Callable[..., Site], make_site: Callable[..., Site], page: UserAgent
) -> None:
    """This browser has opened no application: whatever there is, is elsewhere."""
    site, unbound = make_bound(), make_site()
    answers = [site.bound("phone"), site.bound("tablet"), site.bound(None)]
    other = unbound.token()

    question = page.open(page.open().others)
    assert question.heading == "Sign out on 4 other devices and browsers?"
    assert_signed_in(unbound, other)
    other = unbound.token()
    response = page.sign_out_others()

    assert (response.status_code, response["Location"]) == (302, LIST)
    shown = page.open()
    assert shown.messages == ["4 other devices and browsers are signed out."]
    assert shown.names == []
    for one, answer in (*((site, answer) for answer in answers), (unbound, other)):
        assert_signed_out(one, answer)


def test_one_other_is_told_as_one(make_bound: Callable[..., Site], page: UserAgent) -> None:
    make_bound().bound("phone")

    assert page.open(page.open().others).heading == "Sign out on one other device or browser?"
    page.sign_out_others()
    assert page.open().messages == ["One other device or browser is signed out."]


def test_where_there_is_nothing_else_there_is_nothing_to_do(page: UserAgent) -> None:
    question = page.open(reverse("oauth2_provider:device-sign-out-others"))

    assert question.heading == "You are signed in nowhere else"
    assert "<button" not in question.markup


def test_signing_out_twice_is_no_error(
    make_bound: Callable[..., Site], make_site: Callable[..., Site], page: UserAgent
) -> None:
    make_bound().bound("phone")
    make_site(name="News").token()
    for name in ("phone", UNBOUND):
        address = page.open().device(name).sign_out
        assert [page.post(address).status_code for _time in range(2)] == [302, 302]
    assert page.open().names == []


def test_other_users_are_not_touched(make_bound: Callable[..., Site], user: User, page: UserAgent) -> None:
    site = make_bound()
    bob = User.objects.create_user("bob", password=PASSWORD)
    theirs = Site(site.application, bob)
    phone, mine, tablet = theirs.bound("phone"), site.bound("phone"), site.bound("tablet")

    page.sign_out_others()

    assert_signed_out(site, mine)
    assert_signed_out(site, tablet)
    assert_signed_in(theirs, phone)


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
@pytest.mark.parametrize("rotate", [True, False])
def test_a_refresh_that_was_validated_before_is_refused(
    make_site: Callable[..., Site],
    user: User,
    monkeypatch: pytest.MonkeyPatch,
    rotate: bool,
    token_type: str,
) -> None:
    site = make_site(token_type=token_type)
    answer = site.token()
    validate = BindingOAuth2Validator.validate_refresh_token

    def validate_and_sign_out(*arguments: Any, **named: Any) -> bool:
        valid = validate(*arguments, **named)
        revoke_unbound_tokens(user, site.application)
        return valid

    monkeypatch.setattr(BindingOAuth2Validator, "validate_refresh_token", validate_and_sign_out)
    with provider(ROTATE_REFRESH_TOKEN=rotate):
        response = site.refresh(answer.refresh)

    assert (response.status, response["error"]) == (400, "invalid_grant")
    assert list(devices_of(user)) == []


@pytest.mark.parametrize(("rotate", "deleted"), [(True, "refresh"), (False, "refresh"), (False, "access")])
def test_a_refresh_whose_token_is_deleted_meanwhile_is_refused(
    make_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch, rotate: bool, deleted: str
) -> None:
    site = make_site()
    answer = site.token()
    rows = {"refresh": refresh_token_row(answer.refresh), "access": access_token_row(answer.access)}
    validate = BindingOAuth2Validator.validate_refresh_token

    def validate_and_delete(*arguments: Any, **named: Any) -> bool:
        valid = validate(*arguments, **named)
        rows[deleted].delete()
        return valid

    monkeypatch.setattr(BindingOAuth2Validator, "validate_refresh_token", validate_and_delete)
    with provider(ROTATE_REFRESH_TOKEN=rotate):
        response = site.refresh(answer.refresh)

    assert (response.status, response["error"]) == (400, "invalid_grant")


# Names


def test_it_is_called_by_its_name_or_what_it_looks_like_or_in_plain_words(
    make_bound: Callable[..., Site], page: UserAgent
) -> None:
    site = make_bound(name="Mail")
    answer = site.bound("0b2f")
    TokenBinding.objects.update(name="")
    assert page.open().names == ["Unnamed device"]
    TokenBinding.objects.update(last_browser="Firefox", last_os="Windows")
    assert page.open().names == ["Firefox on Windows"]
    assert "Looks like" not in page.open().text

    response = page.rename("Firefox on Windows", "  My phone ")
    assert (response.status_code, response["Location"]) == (302, LIST)
    shown = page.open()
    assert shown.messages == ["Firefox on Windows is now called My phone."]
    assert shown.names == ["My phone"]
    assert shown.device("My phone").facts["Looks like"] == "Firefox on Windows"
    assert site.bound("0b2f").access == answer.access

    page.rename("My phone", " ")
    shown = page.open()
    assert shown.messages == ["My phone has no name of its own any more."]
    assert shown.names == ["Firefox on Windows"]


def test_the_reference_is_small_print(make_bound: Callable[..., Site], page: UserAgent) -> None:
    make_bound().bound("phone")

    device = page.open().device("phone")

    reference = binding_reference("phone")[:12]
    assert device.facts["Reference"] == reference
    assert (
        f'<div class="oauth-devices-small"><dt>Reference</dt> <dd><code dir="ltr">{reference}'
        in device.markup
    )


def test_where_it_was_seen_last(make_bound: Callable[..., Site], page: UserAgent) -> None:
    make_bound().bound("phone")
    assert "Last seen from" not in page.open().text

    TokenBinding.objects.update(last_address="192.0.2.7")
    assert page.open().device("phone").facts["Last seen from"] == "192.0.2.7"
    TokenBinding.objects.update(last_place="Bern, Switzerland")
    assert page.open().device("phone").facts["Last seen from"] == "Bern, Switzerland · 192.0.2.7"


def test_names_have_a_length_and_no_control_characters(
    make_bound: Callable[..., Site], page: UserAgent
) -> None:
    make_bound().bound("phone")
    longest = "x" * MAX_NAME_LENGTH
    page.rename("phone", longest)
    assert page.open().names == [longest]

    for name, error in (
        (longest + "x", f"Ensure this value has at most {MAX_NAME_LENGTH} characters (it has 101)."),
        ("a\x1bb", "A name must not have control characters."),
        ("a\u0085b", "A name must not have control characters."),
        ("a\x00b", "Null characters are not allowed."),
    ):
        response = page.rename(longest, name)
        assert response.status_code == 200
        text = response.content.decode()
        assert error in text
        assert "<details open>" in text
        assert 'aria-invalid="true"' in text
    assert page.open().names == [longest]
    assert TokenBinding._meta.get_field("name").max_length == MAX_NAME_LENGTH


def test_only_devices_have_names(
    make_bound: Callable[..., Site], make_site: Callable[..., Site], user: User, page: UserAgent
) -> None:
    make_bound().bound(None)
    make_site().token()
    assert "Rename" not in page.open().text
    for device in devices_of(user):
        address = reverse("oauth2_provider:device-rename", args=[device.id])
        assert page.post(address, name="mine").status_code == 404


def test_a_name_that_an_operator_gave_the_shared_slot_is_shown(
    make_bound: Callable[..., Site], page: UserAgent
) -> None:
    make_bound().bound(None)
    TokenBinding.objects.update(name="Kiosk")
    assert set(page.open().names) == {"Kiosk"}


# Access

ACTIONS = ["device-sign-out", "device-rename"]


@pytest.fixture(params=ACTIONS)
def action(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Return the address of an action on a device, by the device's id."""
    return lambda device: reverse(f"oauth2_provider:{request.param}", args=[device])


def test_who_is_not_signed_in_is_asked_to(action: Callable[[str], str], db: None) -> None:
    anonymous = Client()
    login = reverse(settings.LOGIN_URL)
    for response in (anonymous.get(LIST), anonymous.post(action("binding-1"))):
        assert (response.status_code, response["Location"]) == (302, f"{login}?next={LIST}")


def test_others_devices_are_not_found(
    make_bound: Callable[..., Site],
    make_site: Callable[..., Site],
    user: User,
    action: Callable[[str], str],
) -> None:
    bound, unbound = make_bound(), make_site()
    phone, other = bound.bound("phone"), unbound.token()
    foreign = UserAgent(User.objects.create_user("mallory"))

    for device in devices_of(user):
        assert foreign.post(action(device.id), name="mine").status_code == 404
        assert foreign.http.get(action(device.id)).status_code in {404, 405}
    assert foreign.open().names == []
    assert_signed_in(bound, phone)
    assert_signed_in(unbound, other)
    assert not TokenBinding.objects.filter(name="mine").exists()


@pytest.mark.parametrize(
    "device", ["binding-0", f"binding-{'9' * 19}", f"binding-{'9' * 5000}", "binding-x", "application-0", "x"]
)
def test_what_is_no_device_is_not_found(
    make_site: Callable[..., Site], page: UserAgent, user: User, action: Callable[[str], str], device: str
) -> None:
    make_site().token()
    assert find_device(user, device) is None
    assert page.post(action(device), name="mine").status_code == 404


def test_actions_are_posts_of_the_page(
    make_bound: Callable[..., Site], page: UserAgent, user: User, action: Callable[[str], str]
) -> None:
    site = make_bound()
    answer = site.bound("phone")
    others = reverse("oauth2_provider:device-sign-out-others")

    for address in (action(devices_of(user)[0].id), others):
        assert page.http.get(address).status_code in {200, 405}
        assert page.http.post(address, {"name": "mine"}).status_code == 403  # no CSRF token
    assert_signed_in(site, answer)
    assert page.open().names == ["phone"]


def test_the_page_is_not_cached(page: UserAgent) -> None:
    assert "no-store" in page.http.get(LIST)["Cache-Control"]


def test_a_site_without_messages(make_bound: Callable[..., Site], user: User) -> None:
    site = make_bound()
    phone = site.bound("phone")
    kept = [item for item in settings.MIDDLEWARE if "messages" not in item]
    apps = [
        app
        for app in settings.INSTALLED_APPS
        if app not in {"django.contrib.messages", "django.contrib.admin"}
    ]
    template = {**settings.TEMPLATES[0], "OPTIONS": {}}
    with override_settings(MIDDLEWARE=kept, INSTALLED_APPS=apps, TEMPLATES=[template]):
        page = UserAgent(user)
        assert page.sign_out("phone").status_code == 302
        assert page.open().messages == []
    assert_signed_out(site, phone)


@pytest.mark.skipif(
    connection.vendor == "postgresql", reason="the test database keeps moments with their zone"
)
def test_a_site_without_time_zones(make_bound: Callable[..., Site], user: User) -> None:
    with override_settings(USE_TZ=False, TIME_ZONE="Europe/Zurich"):
        make_bound().bound("phone")
        TokenBinding.objects.update(last_used=timezone.now() - timedelta(hours=3))

        device = UserAgent(user).open().device("phone")

        assert device.facts["Last used"].startswith("3 hours ago (")
        assert re.search(r'<time dir="auto" datetime="[\d-]{10}T[\d:]{8}\+0[12]00"', device.markup)
