"""The API for the devices of a user: what a client sees there, and signing devices out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.cache.backends.locmem import LocMemCache
from django.test import Client, override_settings
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from oauth2_provider.models import get_access_token_model, get_application_model

from oauth_binding.binding.semantics import binding_reference
from oauth_binding.contrib.rest_framework.devices import DEFAULT_PAGE_SIZE
from oauth_binding.devices import MAX_NAME_LENGTH, devices_of
from oauth_binding.models import TokenBinding, TokenPolicy
from tests.helpers.client import PASSWORD, SECRET, Answer, Site
from tests.helpers.dpop import DeviceKey
from tests.helpers.project import Project, migrate
from tests.helpers.rows import expire, refresh_token_row

pytestmark = pytest.mark.usefixtures("named_devices")

UNBOUND = "News on unknown devices"
SHARED = "Mail on other devices"

LIST = "/api/devices/"
OTHERS = "/api/devices/sign-out-others/"
READ = "devices:read"
WRITE = "devices:write"
CSRF_SECRET = "c" * 32


@dataclass
class Api:
    """A client of the API; every method is an HTTP request."""

    headers: dict[str, str] = field(default_factory=dict)
    http: Client = field(default_factory=lambda: Client(enforce_csrf_checks=True))

    def send(self, method: str, path: str, body: Any = "", content_type: str = "application/json") -> Answer:
        if not isinstance(body, str | bytes):
            body = json.dumps(body)
        response = self.http.generic(method, path, body, content_type, headers=self.headers)
        data = json.loads(response.content) if response.content else {}
        return Answer(response.status_code, data, dict(response.headers))

    def get(self, path: str = LIST) -> Answer:
        return self.send("GET", path)

    @property
    def devices(self) -> dict[str, dict[str, Any]]:
        """What the list has, by name."""
        answer = self.get()
        assert answer.status == 200, answer.data
        return {device["name"]: device for device in answer["results"]}

    def address(self, name: str) -> str:
        return f"{LIST}{self.devices[name]['id']}/"


def bearer(answer: Answer) -> Api:
    return Api({"Authorization": f"Bearer {answer.access}"})


def sign_in(user: User) -> Api:
    """Sign a user in with a browser, whose scripts send the CSRF token."""
    api = Api({"X-CSRFToken": CSRF_SECRET})
    api.http.force_login(user)
    api.http.cookies[settings.CSRF_COOKIE_NAME] = CSRF_SECRET
    return api


@pytest.fixture
def mail(make_bound: Callable[..., Site]) -> Site:
    return make_bound(name="Mail")


@pytest.fixture
def phone(mail: Site) -> Api:
    """Return the API as the app Mail on the user's phone calls it."""
    return bearer(mail.bound("phone", scope=f"{READ} {WRITE}"))


def assert_signed_in(site: Site, answer: Answer) -> None:
    assert site.active(answer.access)
    assert site.refresh(answer.refresh).status == 200


def assert_signed_out(site: Site, answer: Answer) -> None:
    assert not site.active(answer.access)
    assert site.refresh(answer.refresh).status == 400


# What a client sees


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_a_device(make_bound: Callable[..., Site], user: User, token_type: str) -> None:
    site = make_bound(token_type, name="Mail")
    phone = bearer(site.bound("phone", scope=READ))
    binding = TokenBinding.objects.get()

    answer = phone.get()

    device = {
        "id": f"binding-{binding.pk}",
        "application": {"client_id": site.application.client_id, "name": "Mail"},
        "name": "phone",
        "description": "",
        "address": "",
        "place": "",
        "can_be_named": True,
        "binding_type": "client-request",
        "binding_ref": binding_reference("phone"),
        "first_seen": binding.created,
        "last_used": binding.last_used,
        "sender_constrained": False,
        "current": True,
    }
    (listed,) = answer["results"]
    seen = {name: parse_datetime(listed[name]) for name in ("first_seen", "last_used")}
    assert {**listed, **seen} == device
    assert {**answer.data, "results": []} == {"count": 1, "next": None, "previous": None, "results": []}
    assert phone.get(f"{LIST}{device['id']}/").data == listed


def test_what_a_device_looks_like_and_where_it_is(
    make_bound: Callable[..., Site], user: User, settings: Any
) -> None:
    settings.OAUTH_BINDING = {"DEVICE_ADDRESSES": "shortened"}
    site = make_bound()
    site.http.defaults |= {"HTTP_USER_AGENT": "okhttp/4.12.0", "REMOTE_ADDR": "203.0.113.77"}
    answer = site.token(tokenBindingId="a phone")
    api = sign_in(user)
    assert answer.status == 200
    TokenBinding.objects.update(name="")

    (device,) = api.get()["results"]

    assert (device["name"], device["description"]) == ("okhttp", "okhttp")
    assert (device["address"], device["place"]) == ("203.0.113.0", "")


def test_a_device_that_proves_a_key(mail: Site, phone: Api) -> None:
    TokenPolicy.objects.create(application=mail.application, sender_constraint="dpop")
    proof = DeviceKey().proof("POST", "/oauth2/token/")
    mail.post("/oauth2/token/", mail.grant(tokenBindingId="tablet"), headers={"DPoP": proof})

    constrained = {device["sender_constrained"]: device["id"] for device in phone.get()["results"]}

    assert constrained.keys() == {True, False}
    assert phone.get(f"{LIST}{constrained[True]}/")["sender_constrained"] is True


def test_what_is_bound_to_no_device(mail: Site, make_site: Callable[..., Site], phone: Api) -> None:
    news = make_site(name="News")
    mail.bound(None)
    news.token()

    for name, application in ((SHARED, mail.application), (UNBOUND, news.application)):
        device = phone.devices[name]
        assert device["application"]["client_id"] == application.client_id
        assert (device["can_be_named"], device["binding_type"], device["binding_ref"]) == (False, None, None)
        assert phone.get(phone.address(name)).data == device


def test_the_current_device_is_that_of_the_token(
    mail: Site, make_site: Callable[..., Site], user: User
) -> None:
    tokens = {
        "phone": mail.bound("phone", scope=READ),
        SHARED: mail.bound(None, scope=READ),
        UNBOUND: make_site(name="News").token(scope=READ),
    }

    for name, token in tokens.items():
        devices = bearer(token).devices
        assert devices.keys() == tokens.keys()
        assert [device["name"] for device in devices.values() if device["current"]] == [name]
    assert not any(device["current"] for device in sign_in(user).devices.values())


def test_a_token_of_no_application_is_on_no_device(mail: Site, phone: Api, user: User) -> None:
    get_access_token_model().objects.create(
        user=user, token="t" * 30, expires=timezone.now() + timedelta(hours=1), scope=f"{READ} {WRITE}"
    )
    api = Api({"Authorization": f"Bearer {'t' * 30}"})

    assert [device["current"] for device in api.devices.values()] == [False]
    assert api.send("POST", OTHERS).data == {"signed_out": 1}


def test_a_device_without_live_tokens_is_not_there(mail: Site, phone: Api) -> None:
    laptop = mail.bound("laptop")
    address = phone.address("laptop")
    expire(laptop.access)
    assert "laptop" in phone.devices

    refresh_token_row(laptop.refresh).revoke()

    assert "laptop" not in phone.devices
    for method in ("GET", "PATCH", "DELETE"):
        assert phone.send(method, address).status == 404


# Pages


@pytest.mark.parametrize(
    "pagination", [None, "LimitOffsetPagination", "PageNumberPagination", "CursorPagination"]
)
def test_pages_have_the_size_that_the_site_chose(mail: Site, phone: Api, pagination: str | None) -> None:
    names = {"phone", *map(str, range(4))}
    for name in names - {"phone"}:
        mail.bound(name)
    path = pagination and f"rest_framework.pagination.{pagination}"
    chosen = {**settings.REST_FRAMEWORK, "PAGE_SIZE": 2, "DEFAULT_PAGINATION_CLASS": path}

    with override_settings(REST_FRAMEWORK=chosen):
        pages = [phone.get()]
        while pages[-1]["next"]:
            pages.append(phone.get(pages[-1]["next"]))

    assert [len(page["results"]) for page in pages] == [2, 2, 1]
    assert {page["count"] for page in pages} == {5}
    assert {device["name"] for page in pages for device in page["results"]} == names
    assert pages[0]["previous"] is None
    assert pages[1]["previous"] == f"http://testserver{LIST}"


def test_there_are_pages_also_where_the_site_chose_none(mail: Site, phone: Api) -> None:
    assert not settings.REST_FRAMEWORK.get("PAGE_SIZE")
    for number in range(DEFAULT_PAGE_SIZE):
        mail.bound(str(number))

    first = phone.get()

    assert first["count"] == DEFAULT_PAGE_SIZE + 1
    assert len(first["results"]) == DEFAULT_PAGE_SIZE
    assert len(phone.get(first["next"])["results"]) == 1


@pytest.mark.parametrize("page", ["2", "0", "-1", "x", "1.0", "", "%00", "9" * 30, "9" * 5000])
def test_a_page_that_is_not_there(phone: Api, page: str) -> None:
    assert phone.get(f"{LIST}?page={page}").status == 404


# Names


def test_a_device_gets_a_name_and_loses_it(phone: Api, user: User) -> None:
    address = phone.address("phone")

    named = phone.send("PATCH", address, {"name": " My ☎ "})
    assert (named.status, named["name"], named["current"]) == (200, "My ☎", True)
    assert phone.get(address).data == named.data
    assert [device.name for device in devices_of(user)] == ["My ☎"]

    unnamed = phone.send("PATCH", address, {"name": ""})
    assert (unnamed.status, unnamed["name"]) == (200, "Unnamed device")
    assert phone.get(address).data == unnamed.data


def test_a_request_without_a_name_changes_nothing(mail: Site, phone: Api) -> None:
    phone.send("PATCH", phone.address("phone"), {"name": "mine"})
    mail.bound(None)

    assert phone.send("PATCH", phone.address("mine"), {"current": False})["name"] == "mine"
    assert phone.send("PATCH", phone.address(SHARED), {}).status == 200


def test_what_may_stand_for_several_devices_has_no_name(
    mail: Site, make_site: Callable[..., Site], phone: Api
) -> None:
    mail.bound(None)
    make_site(name="News").token()

    for name in (SHARED, UNBOUND):
        answer = phone.send("PATCH", phone.address(name), {"name": "mine"})
        assert (answer.status, set(answer.data)) == (409, {"detail"})
    assert "mine" not in phone.devices


@pytest.mark.parametrize(
    "name",
    [
        None,
        1,
        1.5,
        True,
        [],
        ["mine"],
        {},
        "a\0",
        "a\n",
        "\x7f",
        "\x9f",
        "\ud800",
        "\U0001f600\udfff",
        "x" * 101,
    ],
    ids=ascii,
)
def test_a_bad_name_is_refused_at_its_field(phone: Api, name: Any) -> None:
    assert MAX_NAME_LENGTH == 100

    answer = phone.send("PATCH", phone.address("phone"), {"name": name})

    assert (answer.status, set(answer.data)) == (400, {"name"})
    assert phone.devices.keys() == {"phone"}


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff",
        '{"name": "\xe4"}'.encode("latin-1"),
        b'\xef\xbb\xbf{"name": "mine"}',
        b"[" * 100_000,
        b'{"name":' * 100_000,
        b"1" * 5000,
        b"NaN",
        b"[]",
        b"null",
        b'"mine"',
    ],
    ids=lambda body: ascii(body[:20]),
)
def test_a_body_that_is_no_object_of_json_is_refused(phone: Api, body: bytes) -> None:
    assert phone.send("PATCH", phone.address("phone"), body).status == 400
    assert phone.devices.keys() == {"phone"}


def test_a_body_that_is_too_large_is_refused(phone: Api) -> None:
    limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    address = phone.address("phone")

    assert phone.send("PATCH", address, {"name": "x" * limit}).status == 413
    assert phone.send("PATCH", address, {"name": "x" * (limit - 100)}).status == 400


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain", "x", ""]
)
def test_a_body_of_another_type_is_refused(phone: Api, content_type: str) -> None:
    assert phone.send("PATCH", phone.address("phone"), b'{"name": "mine"}', content_type).status == 415
    assert phone.devices.keys() == {"phone"}


@pytest.mark.parametrize("charset", ["utf-8", "UTF-16", "base64", "rot13", "bz2_codec", "none"])
def test_json_is_utf_8_whatever_it_is_called(phone: Api, charset: str) -> None:
    answer = phone.send(
        "PATCH", phone.address("phone"), b'{"name": "mine"}', f"application/json; charset={charset}"
    )

    assert (answer.status, answer["name"]) == (200, "mine")


# Signing out


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_signing_a_device_out(make_bound: Callable[..., Site], token_type: str) -> None:
    site = make_bound(token_type)
    token = site.bound("phone", scope=f"{READ} {WRITE}")
    laptop = [site.bound("laptop"), site.bound("laptop", scope="read")]
    phone = bearer(token)
    address = phone.address("laptop")

    answer = phone.send("DELETE", address)

    assert (answer.status, answer.data) == (204, {})
    for gone in laptop:
        assert_signed_out(site, gone)
    assert phone.devices.keys() == {"phone"}
    for method in ("GET", "PATCH", "DELETE"):
        assert phone.send(method, address).status == 404
    assert_signed_in(site, token)


def test_signing_out_what_is_not_bound(mail: Site, make_site: Callable[..., Site], phone: Api) -> None:
    news = make_site(name="News")
    shared, unbound = mail.bound(None), news.token()

    assert phone.send("DELETE", phone.address(SHARED)).status == 204
    assert phone.send("DELETE", phone.address(UNBOUND)).status == 204

    assert_signed_out(mail, shared)
    assert_signed_out(news, unbound)
    assert phone.devices.keys() == {"phone"}


def test_a_device_may_sign_itself_out(phone: Api) -> None:
    assert phone.send("DELETE", phone.address("phone")).status == 204
    assert phone.get().status == 401


def test_signing_out_all_but_the_device_that_calls(mail: Site, make_site: Callable[..., Site]) -> None:
    news = make_site()
    phone, laptop = mail.bound("phone", scope=f"{READ} {WRITE}"), mail.bound("laptop")
    shared, unbound = mail.bound(None), news.token()

    answer = bearer(phone).send("POST", OTHERS)

    assert (answer.status, answer.data) == (200, {"signed_out": 3})
    assert_signed_out(mail, laptop)
    assert_signed_out(mail, shared)
    assert_signed_out(news, unbound)
    assert bearer(phone).send("POST", OTHERS).data == {"signed_out": 0}
    assert_signed_in(mail, phone)


def test_signing_out_all_but_a_device_that_is_named(mail: Site, phone: Api) -> None:
    laptop = mail.bound("laptop")

    answer = phone.send("POST", f"{phone.address('laptop')}sign-out-others/")

    assert (answer.status, answer.data) == (200, {"signed_out": 1})
    assert phone.get().status == 401
    assert_signed_in(mail, laptop)


@pytest.mark.parametrize("number", ["9" * 19, str(2**63), "9" * 5000, "0", "-1", "x", "٣"], ids=ascii)
def test_an_id_that_no_device_can_have_is_not_found(phone: Api, number: str) -> None:
    for kind in ("binding", "application"):
        address = f"{LIST}{kind}-{number}/"
        statuses = [phone.send(method, address, "{}").status for method in ("GET", "PATCH", "DELETE")]
        assert [*statuses, phone.send("POST", f"{address}sign-out-others/").status] == [404] * 4
    assert phone.devices.keys() == {"phone"}


def test_nobody_is_signed_out_for_a_device_that_is_not_there(phone: Api) -> None:
    assert phone.send("POST", f"{LIST}binding-0/sign-out-others/").status == 404
    assert phone.devices.keys() == {"phone"}


# Who may


def test_a_browser_with_a_session_needs_no_scope(mail: Site, user: User) -> None:
    mail.bound("phone")
    mail.bound("laptop")
    browser = sign_in(user)

    assert browser.send("PATCH", browser.address("phone"), {"name": "mine"}).status == 200
    assert browser.send("DELETE", browser.address("laptop")).status == 204
    # A browser is no device: all are others.
    assert browser.send("POST", OTHERS).data == {"signed_out": 1}
    assert browser.get().status == 200


@pytest.mark.parametrize(("method", "path"), [("PATCH", "{}"), ("DELETE", "{}"), ("POST", OTHERS)])
def test_another_site_can_do_nothing_with_a_session(mail: Site, user: User, method: str, path: str) -> None:
    phone = mail.bound("phone")
    browser = sign_in(user)
    path = path.format(browser.address("phone"))
    browser.headers.clear()

    assert browser.send(method, path, {"name": "mine"}).status == 403
    assert browser.devices.keys() == {"phone"}
    assert_signed_in(mail, phone)


#: Every operation, and the scope for it.
OPERATIONS = [
    ("GET", LIST, READ),
    ("GET", "{}", READ),
    ("OPTIONS", LIST, READ),
    ("PATCH", "{}", WRITE),
    ("POST", "{}sign-out-others/", WRITE),
    ("POST", OTHERS, WRITE),
    ("DELETE", "{}", WRITE),
]
operations = pytest.mark.parametrize(("method", "path", "scope"), OPERATIONS)


@operations
def test_a_token_needs_the_scope(mail: Site, phone: Api, method: str, path: str, scope: str) -> None:
    path = path.format(phone.address("phone"))
    other = {READ: WRITE, WRITE: READ}[scope]

    for scopes in (other, "read write"):
        refused = bearer(mail.bound("laptop", scope=scopes)).send(method, path, {})
        assert refused.status == 403
        challenge = refused.headers["WWW-Authenticate"]
        assert 'error="insufficient_scope"' in challenge
        assert f'scope="{scope}"' in challenge
    assert phone.devices.keys() == {"phone", "laptop"}
    assert bearer(mail.bound("laptop", scope=scope)).send(method, path, {}).status in {200, 204}


@operations
def test_a_token_of_no_user_is_refused(
    make_bound: Callable[..., Site], phone: Api, method: str, path: str, scope: str
) -> None:
    service = make_bound(grant_type="client_credentials").bound("worker", scope=f"{READ} {WRITE}")

    assert bearer(service).send(method, path.format(phone.address("phone")), {}).status == 403
    assert phone.devices.keys() == {"phone"}


@operations
def test_who_is_not_authenticated_is_told_how(phone: Api, method: str, path: str, scope: str) -> None:
    path = path.format(phone.address("phone"))
    nobody, stranger = Api(), Api({"Authorization": "Bearer x"})

    assert nobody.send(method, path, {}).status == 401
    assert f'scope="{scope}"' in nobody.send(method, path, {}).headers["WWW-Authenticate"]
    assert stranger.send(method, path, {}).status == 401
    assert 'error="invalid_token"' in stranger.send(method, path, {}).headers["WWW-Authenticate"]
    assert phone.devices.keys() == {"phone"}


@pytest.mark.parametrize("application", ["bound", "unbound"])
def test_others_devices_are_not_found(
    make_bound: Callable[..., Site],
    make_site: Callable[..., Site],
    phone: Api,
    application: str,
) -> None:
    mallory = User.objects.create_user("mallory", password=PASSWORD)
    make = {"bound": make_bound, "unbound": make_site}[application]
    site = make(as_user=mallory)
    token = site.token()
    (device,) = devices_of(mallory)

    assert phone.devices.keys() == {"phone"}
    for method, path, _scope in OPERATIONS:
        if "{}" in path:
            answer = phone.send(method, path.format(f"{LIST}{device.id}/"), {"name": "mine"})
            assert answer.status == 404
    assert phone.send("POST", OTHERS).data == {"signed_out": 0}
    assert_signed_in(site, token)
    assert not TokenBinding.objects.filter(name="mine").exists()


@pytest.mark.parametrize(
    "device",
    [
        "binding-0",
        f"binding-{'9' * 19}",
        f"binding-{'9' * 5000}",
        "binding-x",
        "binding-%D9%A1",
        "application-0",
        "%00",
        "%F0%9F%98%80",
        "%ED%A0%80",
        "%FF",
        "..",
        "x",
    ],
)
def test_what_is_no_device_is_not_found(make_site: Callable[..., Site], phone: Api, device: str) -> None:
    make_site().token()

    for method, path, _scope in OPERATIONS:
        if "{}" in path:
            answer = phone.send(method, path.format(f"{LIST}{device}/"), {"name": "mine"})
            assert (answer.status, set(answer.data)) == (404, {"detail"})


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        (LIST, {"GET"}),
        ("{}", {"GET", "PATCH", "DELETE"}),
        ("{}sign-out-others/", {"POST"}),
        (OTHERS, {"POST"}),
    ],
)
def test_methods(phone: Api, path: str, allowed: set[str]) -> None:
    path = path.format(phone.address("phone"))

    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"} - allowed:
        answer = phone.send(method, path, {"name": "mine"})
        assert answer.status == 405
        assert set(answer.headers["Allow"].split(", ")) - {"HEAD", "OPTIONS"} == allowed
    assert phone.devices.keys() == {"phone"}


def test_answers_are_not_cached(phone: Api) -> None:
    assert "no-store" in phone.get().headers["Cache-Control"]


# How often, and at what cost


@pytest.fixture
def _empty_cache() -> None:
    cache.clear()


@pytest.mark.usefixtures("_empty_cache")
def test_a_site_may_limit_the_requests_of_a_user(
    make_bound: Callable[..., Site], mail: Site, phone: Api, user: User
) -> None:
    mallory = make_bound(as_user=User.objects.create_user("mallory", password=PASSWORD))
    other = bearer(mallory.bound("phone", scope=READ))
    limited = {**settings.REST_FRAMEWORK, "DEFAULT_THROTTLE_RATES": {"devices": "2/hour"}}

    with override_settings(REST_FRAMEWORK=limited):
        assert [phone.get().status for _ in range(2)] == [200, 200]
        refused = bearer(mail.bound("laptop", scope=f"{READ} {WRITE}")).send("POST", OTHERS)
        assert refused.status == 429
        assert 0 < int(refused.headers["Retry-After"]) <= 3600
        assert sign_in(user).get().status == 429
        assert other.get().status == 200
    assert phone.devices.keys() == {"phone", "laptop"}


class OutOfReach(LocMemCache):
    """A cache whose server does not answer."""

    def get(self, *args: Any, **kwargs: Any) -> Any:
        raise ConnectionError


def test_whoever_has_lost_a_device_can_sign_it_out_without_the_cache(phone: Api) -> None:
    limited = {**settings.REST_FRAMEWORK, "DEFAULT_THROTTLE_RATES": {"devices": "1/hour"}}
    caches = {**settings.CACHES, "default": {"BACKEND": f"{__name__}.OutOfReach"}}

    with override_settings(REST_FRAMEWORK=limited, CACHES=caches):
        assert [phone.get().status for _ in range(3)] == [200] * 3


@pytest.mark.parametrize("rates", [{}, {"devices": None}, {"user": "1/day"}])
@pytest.mark.usefixtures("_empty_cache")
def test_there_is_no_limit_unless_the_site_has_one(phone: Api, rates: dict[str, Any]) -> None:
    with override_settings(REST_FRAMEWORK={**settings.REST_FRAMEWORK, "DEFAULT_THROTTLE_RATES": rates}):
        assert {phone.get().status for _ in range(10)} == {200}


@pytest.mark.parametrize("devices", [1, 10])
def test_the_queries_do_not_grow_with_the_devices(
    mail: Site,
    make_site: Callable[..., Site],
    phone: Api,
    user: User,
    django_assert_num_queries: Any,
    devices: int,
) -> None:
    for number in range(devices):
        mail.bound(str(number))
        make_site(name="News").token()
    device, unbound = phone.address("phone"), phone.address(UNBOUND)
    browser = sign_in(user)

    # The access token, and what devices_of() takes.
    with django_assert_num_queries(1 + 6):
        phone.get()
    # The session and its user.
    with django_assert_num_queries(2 + 6):
        browser.get()
    with django_assert_num_queries(1 + 1):
        phone.get(device)
    with django_assert_num_queries(1 + 3):
        phone.get(unbound)
    phone.send("PATCH", device, {"name": "what it was"})
    # The device, its name, and the history.
    with django_assert_num_queries(1 + 3):
        phone.send("PATCH", device, {"name": "mine"})


# Other sites


#: What sites choose otherwise than the example project does.
SITES = {
    "defaults": {},
    "others": {
        "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.BasicAuthentication"],
        "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAdminUser"],
        "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.CursorPagination",
        "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.FormParser"],
        "DEFAULT_RENDERER_CLASSES": [
            "rest_framework.renderers.BrowsableAPIRenderer",
            "rest_framework.renderers.JSONRenderer",
        ],
        "DEFAULT_FILTER_BACKENDS": ["rest_framework.filters.OrderingFilter"],
        "DEFAULT_THROTTLE_CLASSES": ["rest_framework.throttling.UserRateThrottle"],
        "DEFAULT_THROTTLE_RATES": {"user": "6/day"},
        "PAGE_SIZE": 10,
    },
}


@pytest.mark.parametrize("site", SITES)
def test_it_works_whatever_the_site_has_chosen_for_its_other_apis(
    project: Project, make_database: Callable[[], dict[str, Any]], site: str
) -> None:
    project.write_settings("chosen", f"REST_FRAMEWORK = {SITES[site]!r}", default=make_database())
    project.call("chosen", migrate)

    statuses = project.call("chosen", visit)

    # The fifth and sixth are the same page for people; after that the site's own limit applies.
    assert statuses[:6] == [200, 200, 200, 400, 200, 200]
    assert statuses[6] == (429 if "DEFAULT_THROTTLE_RATES" in SITES[site] else 204)


def visit() -> list[int]:
    """Call the API, and return the statuses."""
    user = User.objects.create_user("alice", password=PASSWORD)
    application = get_application_model().objects.create(
        client_type="confidential",
        authorization_grant_type="password",
        client_secret=SECRET,
        hash_client_secret=False,
        token_binding_type="client-request",
    )
    api = bearer(Site(application, user).bound("phone", scope=f"{READ} {WRITE}"))
    api.headers["Accept"] = "application/json"
    answers = [api.get(), api.get(f"{LIST}?ordering=name")]
    address = f"{LIST}{answers[0]['results'][0]['id']}/"
    answers += [api.send("PATCH", address, {"name": name}) for name in ("mine", None)]
    pages = [api.http.get(path, headers={**api.headers, "Accept": "text/html"}) for path in (LIST, address)]
    assert all(b"mine" in page.content for page in pages)
    return [
        *(answer.status for answer in answers),
        *(page.status_code for page in pages),
        api.send("DELETE", address).status,
    ]
