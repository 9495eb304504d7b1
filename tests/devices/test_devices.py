"""The page "Your devices": what a user sees there, and signing devices out."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
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
from tests.helpers.dpop import DeviceKey
from tests.helpers.provider import provider
from tests.helpers.rows import access_token_row, expire, refresh_token_row

pytestmark = pytest.mark.usefixtures("named_devices")

UNBOUND = "Not bound to a device"
SHARED = "Not bound to a device (shared)"

LIST = "/oauth2/devices/"
CSRF_SECRET = "c" * 32


@dataclass
class Page:
    """The user's browser on the page."""

    http: Client = field(default_factory=lambda: Client(enforce_csrf_checks=True))

    @property
    def text(self) -> str:
        response = self.http.get(LIST)
        assert response.status_code == 200
        return response.content.decode()

    @property
    def devices(self) -> dict[str, list[str]]:
        """The names of the devices by application, as the headings say them."""
        found: dict[str, list[str]] = {}
        for level, text in re.findall(r"<h([23])[^>]*><bdi>(.*?)</bdi>", self.text):
            if level == "2":
                names = found[html.unescape(text)] = []
            else:
                names.append(html.unescape(text))
        return found

    @property
    def names(self) -> set[str]:
        return {name for names in self.devices.values() for name in names}

    @property
    def messages(self) -> list[str]:
        found = re.findall(r'<p class="oauth-devices-message">(.*?)</p>', self.text)
        return [html.unescape(message) for message in found]

    def buttons(self) -> dict[str, str]:
        """The addresses of the forms by the accessible names of their buttons."""
        forms = re.findall(
            r'<form method="post" action="(.*?)">.*?<button[^>]*>(.*?)</button>', self.text, re.S
        )
        return {html.unescape(re.sub(r"<.*?>", "", name)): address for address, name in forms}

    def press(self, button: str, **data: str) -> Any:
        return self.post(self.buttons()[button], **data)

    def post(self, address: str, **data: str) -> Any:
        return self.http.post(address, {"csrfmiddlewaretoken": CSRF_SECRET, **data})


def sign_in(user: User) -> Page:
    page = Page()
    page.http.force_login(user)
    page.http.cookies[settings.CSRF_COOKIE_NAME] = CSRF_SECRET
    return page


@pytest.fixture
def page(user: User) -> Page:
    return sign_in(user)


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
    make_bound: Callable[..., Site], make_site: Callable[..., Site], page: Page, token_type: str
) -> None:
    mail = make_bound(token_type, name="Mail")
    for binding in ("tablet", "phone", None):
        mail.bound(binding)
    mail.bound("phone", scope="read")
    news = make_site(name="News", token_type=token_type)
    news.token()
    news.token()

    devices = {name: sorted(devices) for name, devices in page.devices.items()}
    assert devices == {"Mail": sorted([SHARED, "phone", "tablet"]), "News": [UNBOUND]}


def test_tokens_from_before_the_application_opted_in_are_beside_the_devices(
    make_site: Callable[..., Site], page: Page
) -> None:
    site = make_site(name="Mail")
    before = site.token()
    site.application.token_binding_type = "client-request"
    site.application.save()
    after = site.bound("phone")

    assert page.devices == {"Mail": ["phone", UNBOUND]}
    page.press(f"Sign out {UNBOUND}")
    assert_signed_out(site, before)
    assert_signed_in(site, after)


def test_the_first_seen_and_the_last_used(make_bound: Callable[..., Site], page: Page) -> None:
    make_bound().bound("phone")
    TokenBinding.objects.update(created="2024-01-02T03:04:05Z", last_used="2025-02-03T14:05:06Z")

    text = page.text
    assert '<time datetime="2024-01-02T03:04:05+0000">Jan. 2, 2024, 3:04 a.m. UTC</time>' in text
    assert '<time datetime="2025-02-03T14:05:06+0000">Feb. 3, 2025, 2:05 p.m. UTC</time>' in text


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
    make_bound: Callable[..., Site], make_site: Callable[..., Site], page: Page
) -> None:
    bound, unbound = make_bound(), make_site()
    answers = [bound.bound("phone"), unbound.token()]

    text = page.text
    for site, answer in zip((bound, unbound), answers, strict=True):
        for secret in (answer.access, answer.refresh, site.secret, site.application.client_secret):
            assert secret not in text
    assert not [address for address in re.findall(r'(?:action|href)="(.*?)"', text) if "phone" in address]


def test_what_clients_and_users_call_a_device_is_escaped(make_bound: Callable[..., Site], page: Page) -> None:
    evil = "<script>alert('x')</script>\"&"
    site = make_bound(name=f"Mail {evil}")
    site.bound(f"value {evil}")
    site.bound("phone")
    page.press("Save the name of phone", name=f"name {evil}")

    assert evil not in page.text
    assert set(page.devices[f"Mail {evil}"]) == {f"value {evil}", f"name {evil}"}
    page.press(f"Sign out name {evil}")
    text = page.text
    assert evil not in text
    assert "Signed out: name &lt;script&gt;" in text


def test_without_devices(page: Page) -> None:
    assert "You are not signed in on any device." in page.text


def test_the_page_speaks_the_language_of_the_user(make_bound: Callable[..., Site], page: Page) -> None:
    make_bound().bound("phone")
    with override_settings(LANGUAGE_CODE="ar"):
        assert 'lang="ar" dir="rtl"' in page.text


def test_each_control_says_which_device_it_is_for(make_bound: Callable[..., Site], page: Page) -> None:
    site = make_bound()
    site.bound("phone")
    assert set(page.buttons()) == {"Sign out phone", "Save the name of phone"}
    site.bound("tablet")
    assert set(page.buttons()) >= {"Sign out tablet", "Sign out all others than tablet"}
    text = page.text
    assert text.count("<h1") == 1
    identifiers = re.findall(r' id="(.*?)"', text)
    assert len(identifiers) == len(set(identifiers))
    assert set(re.findall(r' (?:for|aria-labelledby|aria-describedby)="(.*?)"', text)) <= set(identifiers)


@pytest.mark.parametrize("devices", [1, 10])
def test_the_number_of_queries_does_not_depend_on_that_of_devices(
    make_bound: Callable[..., Site],
    make_site: Callable[..., Site],
    page: Page,
    devices: int,
    django_assert_num_queries: Callable[..., Any],
) -> None:
    for number in range(devices):
        make_bound().bound(f"device {number}")
        make_site().token()

    with django_assert_num_queries(7):  # two for the session and the user
        text = page.text
    assert text.count("<h3>") == 2 * devices


def test_a_site_can_override_parts_of_the_page(
    make_bound: Callable[..., Site], page: Page, tmp_path: Path
) -> None:
    (tmp_path / "oauth_binding").mkdir()
    (tmp_path / "oauth_binding" / "device_list.html").write_text(
        '{% extends "oauth_binding/device_list.html" %}'
        "{% block device %}{{ block.super }}<p>{{ device.binding.binding_type }}</p>{% endblock device %}"
        "{% block device_actions %}{% endblock device_actions %}"
    )
    make_bound().bound("phone")
    with override_settings(TEMPLATES=[{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]):
        assert page.names == {"phone"}
        assert "<p>client-request</p>" in page.text
        assert page.buttons() == {}


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
    make_bound: Callable[..., Site], make_site: Callable[..., Site], user: User, page: Page, token_type: str
) -> None:
    site, plain = make_bound(token_type), make_site(token_type=token_type)
    allow_proofs(site, plain)
    prove(site, DeviceKey(), tokenBindingId="phone")
    site.bound("laptop")
    prove(plain, DeviceKey())

    assert protected(user) == {"phone": True, "laptop": False, UNBOUND: True}
    assert page.text.count("Protected by a key") == 2


def test_a_device_is_not_protected_while_it_has_bearer_tokens(
    make_bound: Callable[..., Site], make_site: Callable[..., Site], user: User
) -> None:
    site, plain = make_bound(), make_site()
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
    make_bound: Callable[..., Site], make_site: Callable[..., Site], page: Page
) -> None:
    bound, unbound, machine = make_bound(), make_site(), make_bound(grant_type="client_credentials")
    bound.revoke(bound.bound("revoked").access)
    unbound.revoke(unbound.token().refresh)
    machine.bound("machine")

    assert page.names == set()


@pytest.mark.usefixtures("storage")
def test_who_can_refresh_is_signed_in(
    make_bound: Callable[..., Site], make_site: Callable[..., Site], page: Page
) -> None:
    bound, unbound = make_bound(), make_site()
    phone, other = bound.bound("phone"), unbound.token()
    for answer in (phone, other):
        expire(answer.access)
    assert page.names == {"phone", UNBOUND}

    with provider(REFRESH_TOKEN_EXPIRE_SECONDS=60):
        assert page.names == {"phone", UNBOUND}
        get_access_token_model().objects.update(expires=timezone.now() - timedelta(seconds=61))
        assert page.names == set()
        assert bound.refresh(phone.refresh).status == 400
        assert unbound.refresh(other.refresh).status == 400


def test_a_live_access_token_without_a_refresh_token_counts(
    make_bound: Callable[..., Site], make_site: Callable[..., Site], page: Page
) -> None:
    make_bound().bound("phone")
    make_site().token()
    get_refresh_token_model().objects.all().delete()
    assert page.names == {"phone", UNBOUND}
    get_access_token_model().objects.update(expires=timezone.now())
    assert page.names == set()


def test_a_refresh_token_without_an_access_token_does_not(
    make_bound: Callable[..., Site], make_site: Callable[..., Site], page: Page
) -> None:
    make_bound().bound("phone")
    make_site().token()
    get_access_token_model().objects.all().delete()
    assert page.names == set()


# Signing out


@pytest.mark.usefixtures("storage")
@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
@pytest.mark.parametrize("lifetime", [None, 3600])
def test_signing_one_device_out(
    make_bound: Callable[..., Site], page: Page, token_type: str, lifetime: int | None
) -> None:
    site = make_bound(token_type)
    with provider(REFRESH_TOKEN_EXPIRE_SECONDS=lifetime):
        phone, narrow, tablet = site.bound("phone"), site.bound("phone", scope="read"), site.bound("tablet")

        response = page.press("Sign out phone")

        assert (response.status_code, response["Location"]) == (302, LIST)
        assert page.messages == ["Signed out: phone."]
        assert page.names == {"tablet"}
        assert_signed_out(site, phone)
        assert_signed_out(site, narrow)
        assert_signed_in(site, tablet)


@pytest.mark.usefixtures("storage")
@pytest.mark.parametrize("rotate", [True, False])
@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_signing_out_of_an_application_without_binding(
    make_site: Callable[..., Site], page: Page, token_type: str, rotate: bool
) -> None:
    site, other = make_site(name="Mail", token_type=token_type), make_site(name="News")
    with provider(ROTATE_REFRESH_TOKEN=rotate, REFRESH_TOKEN_GRACE_PERIOD_SECONDS=60):
        consumed, live, expired = site.token(), site.token(), site.token()
        refreshed = site.refresh(consumed.refresh)
        expire(expired.access)
        kept = other.token()

        page.post(reverse("oauth2_provider:device-sign-out", args=[f"application-{site.application.pk}"]))

        assert page.devices == {"News": [UNBOUND]}
        for answer in (consumed, refreshed, live, expired):
            assert_signed_out(site, answer)
        assert_signed_in(other, kept)


def test_a_registered_client_is_no_device(make_site: Callable[..., Site], user: User, page: Page) -> None:
    """Who registered a client is not signed in by the token that manages it, and does not lose it."""
    http = Client()
    http.force_login(user)
    with provider(DCR_ENABLED=True):
        metadata = {"grant_types": ["client_credentials"], "client_name": "Registered"}
        registered = http.post("/oauth2/register/", metadata, content_type="application/json").json()
        application = get_application_model().objects.get(client_id=registered["client_id"])
        assert page.names == set()

        revoke_unbound_tokens(user, application)

        bearer = {"Authorization": f"Bearer {registered['registration_access_token']}"}
        assert http.get(registered["registration_client_uri"], headers=bearer).status_code == 200


def test_signing_the_shared_slot_out(make_bound: Callable[..., Site], page: Page) -> None:
    site = make_bound()
    shared, phone = site.bound(None), site.bound("phone")

    page.press(f"Sign out {SHARED}")

    assert_signed_out(site, shared)
    assert_signed_in(site, phone)


def test_signing_all_others_out(
    make_bound: Callable[..., Site], make_site: Callable[..., Site], page: Page
) -> None:
    site, unbound = make_bound(), make_site()
    phone, tablet, shared = site.bound("phone"), site.bound("tablet"), site.bound(None)
    other = unbound.token()

    response = page.press("Sign out all others than phone")

    assert (response.status_code, response["Location"]) == (302, LIST)
    assert page.messages == ["Signed out: 3 others."]
    for one, answer in ((site, tablet), (site, shared), (unbound, other)):
        assert_signed_out(one, answer)
    assert_signed_in(site, phone)


def test_signing_all_others_out_than_what_is_unbound(
    make_bound: Callable[..., Site], make_site: Callable[..., Site], page: Page
) -> None:
    site, unbound = make_bound(), make_site()
    phone, other = site.bound("phone"), unbound.token()

    page.press(f"Sign out all others than {UNBOUND}")

    assert page.messages == ["Signed out: one other."]
    assert_signed_out(site, phone)
    assert_signed_in(unbound, other)


def test_signing_out_twice_is_no_error(
    make_bound: Callable[..., Site], make_site: Callable[..., Site], page: Page
) -> None:
    make_bound().bound("phone")
    make_site().token()
    for name in ("phone", UNBOUND):
        address = page.buttons()[f"Sign out {name}"]
        assert [page.post(address).status_code for _time in range(2)] == [302, 302]
    assert page.names == set()


def test_other_users_are_not_touched(make_bound: Callable[..., Site], user: User, page: Page) -> None:
    site = make_bound()
    bob = User.objects.create_user("bob", password=PASSWORD)
    theirs = Site(site.application, bob)
    phone, mine, tablet = theirs.bound("phone"), site.bound("phone"), site.bound("tablet")

    page.press("Sign out all others than tablet")

    assert_signed_out(site, mine)
    assert_signed_in(site, tablet)
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


def test_a_name_is_shown_in_place_of_the_reference(make_bound: Callable[..., Site], page: Page) -> None:
    site = make_bound()
    answer = site.bound("0b2f")
    TokenBinding.objects.update(name="")
    unnamed = binding_reference("0b2f")[:12]
    assert page.names == {unnamed}

    response = page.press(f"Save the name of {unnamed}", name="  My phone ")
    assert (response.status_code, response["Location"]) == (302, LIST)
    assert page.messages == ["The name was saved."]
    assert page.names == {"My phone"}
    assert site.bound("0b2f").access == answer.access

    page.press("Save the name of My phone", name=" ")
    assert page.names == {unnamed}


def test_names_have_a_length_and_no_control_characters(make_bound: Callable[..., Site], page: Page) -> None:
    make_bound().bound("phone")
    page.press("Save the name of phone", name="x" * MAX_NAME_LENGTH)
    longest = "x" * MAX_NAME_LENGTH
    assert page.names == {longest}

    for name, error in (
        (longest + "x", f"Ensure this value has at most {MAX_NAME_LENGTH} characters (it has 101)."),
        ("a\x1bb", "A name has no control characters."),
        ("a\u0085b", "A name has no control characters."),
        ("a\x00b", "Null characters are not allowed."),
    ):
        response = page.press(f"Save the name of {longest}", name=name)
        assert response.status_code == 200
        text = response.content.decode()
        assert error in text
        assert "<details open>" in text
        assert 'aria-invalid="true"' in text
    assert page.names == {longest}
    assert TokenBinding._meta.get_field("name").max_length == MAX_NAME_LENGTH


def test_only_devices_have_names(
    make_bound: Callable[..., Site], make_site: Callable[..., Site], user: User, page: Page
) -> None:
    make_bound().bound(None)
    make_site().token()
    assert "Rename" not in page.text
    for device in devices_of(user):
        address = reverse("oauth2_provider:device-rename", args=[device.id])
        assert page.post(address, name="mine").status_code == 404


def test_a_name_that_an_operator_gave_the_shared_slot_is_shown(
    make_bound: Callable[..., Site], page: Page
) -> None:
    make_bound().bound(None)
    TokenBinding.objects.update(name="Kiosk")
    assert page.names == {"Kiosk"}


# Access

ACTIONS = ["device-sign-out", "device-sign-out-others", "device-rename"]


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
    foreign = sign_in(User.objects.create_user("mallory"))

    for device in devices_of(user):
        assert foreign.post(action(device.id), name="mine").status_code == 404
    assert foreign.names == set()
    assert_signed_in(bound, phone)
    assert_signed_in(unbound, other)
    assert not TokenBinding.objects.filter(name="mine").exists()


@pytest.mark.parametrize(
    "device", ["binding-0", f"binding-{'9' * 19}", f"binding-{'9' * 5000}", "binding-x", "application-0", "x"]
)
def test_what_is_no_device_is_not_found(
    make_site: Callable[..., Site], page: Page, user: User, action: Callable[[str], str], device: str
) -> None:
    make_site().token()
    assert find_device(user, device) is None
    assert page.post(action(device), name="mine").status_code == 404


def test_actions_are_posts(
    make_bound: Callable[..., Site], page: Page, user: User, action: Callable[[str], str]
) -> None:
    site = make_bound()
    answer = site.bound("phone")
    address = action(devices_of(user)[0].id)

    assert page.http.get(address).status_code == 405
    assert page.http.post(address, {"name": "mine"}).status_code == 403  # no CSRF token
    assert_signed_in(site, answer)


def test_the_page_is_not_cached(page: Page) -> None:
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
        page = sign_in(user)
        assert page.press("Sign out phone").status_code == 302
        assert page.messages == []
    assert_signed_out(site, phone)
