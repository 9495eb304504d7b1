"""A demand holds at every door that takes a bearer token: the request has to name what that is bound to."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from unittest import mock

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.db.models import QuerySet
from django.test import Client, TestCase, override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from oauth2_provider.models import get_access_token_model, get_application_model
from time_machine import travel

from oauth_binding.models import TokenBinding
from oauth_binding.resource_server import BearerTokenMiddleware
from oauth_binding.storage.token_values import token_checksum
from tests.ended.doors import ACCESS_TOKENS, DOORS, HAS_REST_FRAMEWORK, TOKENS, exchange_as_subject
from tests.ended.held import Applications, Held, hold
from tests.ended.table import KINDS
from tests.helpers.client import PASSWORD, Site, set_policy
from tests.helpers.dpop import DeviceKey
from tests.helpers.provider import provider
from tests.helpers.reports import noted, reports

Call = Callable[[str, dict[str, str]], Any]

DEMAND: Final = "require_presented_binding"

MISSING: Final = "Token-Binding-Id does not name what the access token is bound to."

#: django-oauth-toolkit's middleware and authentication backend.
OF_TOOLKIT: Final = {
    "MIDDLEWARE": [*settings.MIDDLEWARE, "oauth2_provider.middleware.OAuth2TokenMiddleware"],
    "AUTHENTICATION_BACKENDS": [
        "django.contrib.auth.backends.ModelBackend",
        "oauth2_provider.backends.OAuth2Backend",
    ],
}

OURS: Final = {"MIDDLEWARE": [*settings.MIDDLEWARE, "tests.ended.test_demands.Middleware"]}


def api(path: str, **site: Any) -> Call:
    """Return what calls an API with a token in the Authorization header."""

    def call(text: str, headers: dict[str, str]) -> Any:
        with override_settings(**site):
            return Client().get(path, headers={"Authorization": f"Bearer {text}", **headers})

    return call


def with_a_form(text: str, headers: dict[str, str]) -> Any:
    return Client().post("/toolkit/view/", {"access_token": text}, headers=headers)


def with_a_query(text: str, headers: dict[str, str]) -> Any:
    return Client().get("/toolkit/view/", {"access_token": text}, headers=headers)


def introspecting(text: str, headers: dict[str, str]) -> Any:
    """Introspect a token with itself."""
    return Client().post(
        "/oauth2/introspect/", {"token": text}, headers={"Authorization": f"Bearer {text}", **headers}
    )


class Middleware(BearerTokenMiddleware):
    """The middleware of a site."""

    required_scopes = ["read"]


@dataclass(frozen=True)
class BearerDoor:
    """A door that takes a bearer token."""

    call: Call
    #: The credentials that it takes.
    takes: tuple[str, ...] = ACCESS_TOKENS
    #: Whether it has a request to read the header from; one that has not lets nobody in.
    reads_header: bool = True
    #: The status of a refusal, and whether its challenge says why.
    refusal: tuple[int, bool] = (401, True)
    is_there: bool = True


BEARER_DOORS: Final = {
    "userinfo": BearerDoor(api("/oauth2/userinfo/"), refusal=(401, False)),
    "API with Django REST framework": BearerDoor(api("/drf/any/"), is_there=HAS_REST_FRAMEWORK),
    "API with the toolkit's class for it": BearerDoor(
        api("/drf/toolkit/users/"), takes=(*ACCESS_TOKENS, "ID token"), is_there=HAS_REST_FRAMEWORK
    ),
    "API in plain Django": BearerDoor(api("/plain/")),
    "API in plain Django with the toolkit": BearerDoor(
        api("/toolkit/"), reads_header=False, refusal=(403, False)
    ),
    "devices API": BearerDoor(api("/api/devices/"), is_there=HAS_REST_FRAMEWORK),
    # Those that are no doors of their own in the table of what has ended.
    "the toolkit's decorator for reading and writing": BearerDoor(
        api("/toolkit/read-write/"), reads_header=False, refusal=(403, False)
    ),
    "the toolkit's decorator with metadata": BearerDoor(
        api("/toolkit/metadata/"), reads_header=False, refusal=(401, False)
    ),
    "the toolkit's decorator with our validator": BearerDoor(
        api("/toolkit/our-validator/"), refusal=(403, False)
    ),
    "the toolkit's view": BearerDoor(
        api("/toolkit/view/"), takes=(*ACCESS_TOKENS, "ID token"), refusal=(403, False)
    ),
    "the toolkit's view with scopes": BearerDoor(api("/toolkit/view/scoped/"), refusal=(403, False)),
    "the toolkit's view for reading and writing": BearerDoor(
        api("/toolkit/view/read-write/"), refusal=(403, False)
    ),
    "the toolkit's view, token in the form": BearerDoor(with_a_form, refusal=(403, False)),
    "the toolkit's view, token in the query": BearerDoor(with_a_query, refusal=(403, False)),
    "the toolkit's middleware": BearerDoor(api("/who/", **OF_TOOLKIT), refusal=(401, False)),
    "the middleware": BearerDoor(api("/who/", **OURS)),
    "introspection with a bearer token": BearerDoor(introspecting),
}

#: The other doors, with the reason why nothing is demanded there.
NOTHING_DEMANDED: Final = {
    "introspection": "who asks is not who holds the token",
    "token exchange, as the subject": "it is in the form of a client that authenticates itself",
    "token exchange, as the actor": "as for the subject",
    "devices page": "a browser session opens it",
    "device approval": "as for the devices page",
    "authorization endpoint": "as for the devices page",
    "password grant": "the token endpoint has demands of its own",
    "authorization code grant": "as for the password grant",
    "device grant": "as for the password grant",
    "refresh grant": "as for the password grant",
}

CASES: Final = [
    pytest.param(door, credential, id=f"{name}-{credential}")
    for name, door in BEARER_DOORS.items()
    if door.is_there
    for credential in door.takes
]


@pytest.fixture
def holding(
    make_applications: Callable[[str], Applications], user: User, settings: Any
) -> Callable[..., Held]:
    """Return a factory of what a user holds of applications that demand the binding, or do not."""
    settings.ROOT_URLCONF = "tests.ended.urls"

    def make(kind: str, *, demand: str = "yes") -> Held:
        applications = make_applications(kind)
        for site in (applications.mobile, applications.backend):
            set_policy(site.application, require_presented_binding=demand)
        # "introspection" is for the door that it opens.
        return hold(applications, user, scope="openid read devices:read introspection")

    return make


def assert_refused(door: BearerDoor, response: Any, description: str) -> None:
    status, says_why = door.refusal
    assert response.status_code == status
    if status == 401:
        assert b'"user":"alice"' not in response.content
    if says_why:
        assert 'error="invalid_token"' in response["WWW-Authenticate"]
        assert f'error_description="{description}"' in response["WWW-Authenticate"]


def test_the_table_is_total() -> None:
    """Each door takes bearer tokens, or there is a reason why nothing is demanded there."""
    assert set(DOORS) == (BEARER_DOORS.keys() | NOTHING_DEMANDED.keys()) & set(DOORS)
    assert not BEARER_DOORS.keys() & NOTHING_DEMANDED.keys()
    assert NOTHING_DEMANDED.keys() <= DOORS.keys()


@pytest.mark.parametrize("kind", ["bound opaque tokens", "bound JWTs"])
@pytest.mark.parametrize(("door", "credential"), CASES)
def test_a_demand_holds_at_every_door(
    holding: Callable[..., Held], door: BearerDoor, credential: str, kind: str
) -> None:
    assert KINDS[kind].is_bound
    held = holding(kind)
    text = held.text(credential)

    assert_refused(door, door.call(text, {}), MISSING)
    assert_refused(door, door.call(text, {"Token-Binding-Id": "another"}), MISSING)
    named = door.call(text, {"Token-Binding-Id": held.binding})
    if door.reads_header:
        assert named.status_code == 200
    else:
        assert_refused(door, named, MISSING)


@pytest.mark.parametrize(("door", "credential"), CASES)
def test_without_a_demand_nothing_is_asked(
    holding: Callable[..., Held], door: BearerDoor, credential: str
) -> None:
    held = holding("bound JWTs", demand="no")

    for headers in ({}, {"Token-Binding-Id": "another"}):
        assert door.call(held.text(credential), headers).status_code == 200


@pytest.mark.parametrize(("door", "credential"), CASES)
def test_a_report_lets_everybody_in_and_says_so(
    holding: Callable[..., Held], door: BearerDoor, credential: str
) -> None:
    held = holding("bound JWTs", demand="report")
    text = held.text(credential)

    with reports() as heard:
        assert door.call(text, {"Token-Binding-Id": held.binding}).status_code == 200
    if door.reads_header:
        assert heard == []
        assert noted(DEMAND) == []
    TokenBinding.objects.update(presented_binding_missed=None)

    with reports() as heard:
        assert door.call(text, {}).status_code == 200
    assert {(each["demand"], each["user"].username) for each in heard} == {(DEMAND, "alice")}
    assert {each["binding"].binding_value for each in heard} == {held.binding}
    assert noted(DEMAND) == [held.binding]


@pytest.mark.parametrize(("door", "credential"), CASES)
def test_a_report_lets_a_token_in_that_is_bound_to_nothing(
    holding: Callable[..., Held], door: BearerDoor, credential: str
) -> None:
    held = holding("unbound opaque tokens", demand="report")

    with reports() as heard:
        assert door.call(held.text(credential), {"Token-Binding-Id": held.binding}).status_code == 200

    assert {(each["demand"], each["binding"]) for each in heard} == {(DEMAND, None)}


def test_a_device_is_reported_once_a_minute(holding: Callable[..., Held], caplog: Any) -> None:
    held = holding("bound opaque tokens", demand="report")
    text = held.text("access token")

    def ask(after: timedelta) -> tuple[int, int]:
        """Return how often receivers hear of a request, and how many rows are written for it."""
        queries = CaptureQueriesContext(connection)
        with travel(beginning + after, tick=False), queries, reports() as heard:
            assert BEARER_DOORS["userinfo"].call(text, {}).status_code == 200
        return len(heard), sum(query["sql"].startswith("UPDATE") for query in queries.captured_queries)

    beginning = timezone.now()
    with caplog.at_level("INFO", logger="oauth_binding"):
        asked = [ask(timedelta(seconds=seconds)) for seconds in (0, 1, 59, 60, 61)]

    assert asked == [(1, 1), (0, 0), (0, 0), (1, 1), (0, 0)]
    assert len(caplog.messages) == 2
    assert all(DEMAND in message and held.binding not in message for message in caplog.messages)


def test_a_report_is_written_when_the_request_is_done(holding: Callable[..., Held]) -> None:
    """A view may have a transaction of its own, in which the binding must not be locked."""
    held = holding("bound opaque tokens", demand="report")

    with TestCase.captureOnCommitCallbacks() as callbacks:
        assert BEARER_DOORS["userinfo"].call(held.text("access token"), {}).status_code == 200
        assert noted(DEMAND) == []

    for callback in callbacks:
        callback()
    assert noted(DEMAND) == [held.binding]


def test_a_report_that_cannot_be_noted_breaks_nothing(holding: Callable[..., Held], caplog: Any) -> None:
    held = holding("bound opaque tokens", demand="report")
    refused = mock.patch.object(QuerySet, "update", side_effect=OperationalError("read-only"))

    with refused, caplog.at_level("INFO", logger="oauth_binding"), reports() as heard:
        assert BEARER_DOORS["userinfo"].call(held.text("access token"), {}).status_code == 200

    assert [each["demand"] for each in heard] == [DEMAND]
    assert "A report could not be noted: OperationalError" in caplog.text


@pytest.mark.parametrize(("door", "credential"), CASES)
def test_a_token_that_is_bound_to_nothing_is_refused(
    holding: Callable[..., Held], door: BearerDoor, credential: str
) -> None:
    held = holding("unbound opaque tokens")

    for headers in ({}, {"Token-Binding-Id": ""}, {"Token-Binding-Id": held.binding}):
        assert_refused(door, door.call(held.text(credential), headers), "The access token is not bound.")


@pytest.mark.parametrize(("door", "credential"), CASES)
@pytest.mark.parametrize("kind", ["bound JWTs", "unbound opaque tokens"])
def test_a_sender_constrained_token_is_no_bearer_token(
    holding: Callable[..., Held], door: BearerDoor, credential: str, kind: str
) -> None:
    """Whoever has stolen it has nothing, also at doors that know nothing of proofs (RFC 9449 section 7.2)."""
    held = holding(kind, demand="no")
    key = DeviceKey()
    get_access_token_model().objects.update(binding_confirmation=f"jkt:{key.thumbprint}")

    text = held.text(credential)
    for headers in ({}, {"DPoP": key.proof("GET", "/plain/", access_token=text)}):
        answer = door.call(text, {**headers, "Token-Binding-Id": held.binding})
        assert answer.status_code == door.refusal[0]
    get_access_token_model().objects.update(binding_confirmation=None)
    assert door.call(text, {"Token-Binding-Id": held.binding}).status_code == 200


@pytest.mark.parametrize(
    "credential", [c for c in TOKENS if c in DOORS["token exchange, as the subject"].takes]
)
def test_nothing_is_demanded_of_an_exchange(holding: Callable[..., Held], credential: str) -> None:
    assert exchange_as_subject(holding("bound JWTs"), credential)


def test_the_header_can_be_another(holding: Callable[..., Held], settings: Any) -> None:
    held = holding("bound JWTs")
    door = BEARER_DOORS["userinfo"]

    settings.OAUTH_BINDING = {**settings.OAUTH_BINDING, "BINDING_HEADER": "X-Device"}

    assert door.call(held.text("access token"), {"Token-Binding-Id": held.binding}).status_code == 401
    assert door.call(held.text("access token"), {"X-Device": held.binding}).status_code == 200


def test_a_request_says_nothing_for_the_next(holding: Callable[..., Held]) -> None:
    """What one request has presented is forgotten with it, also where it comes to the same process."""
    held = holding("bound opaque tokens")
    door = BEARER_DOORS["the toolkit's view"]
    text = held.text("access token")

    assert door.call(text, {"Token-Binding-Id": held.binding}).status_code == 200
    row = get_access_token_model().objects.get(token_checksum=token_checksum(text))
    assert not row.is_valid()
    assert_refused(door, door.call(text, {}), MISSING)


def test_a_registration_access_token_manages_the_registration(user: User) -> None:
    """It belongs to no device, so that it can't be presented with one; it opens nothing else (RFC 7592)."""
    browser = Client()
    assert browser.login(username=user.username, password=PASSWORD)
    with provider(DCR_ENABLED=True), override_settings(ROOT_URLCONF="tests.ended.urls"):
        registered = browser.post(
            "/oauth2/register/",
            json.dumps({"grant_types": ["client_credentials"], "client_name": "registered"}),
            content_type="application/json",
        ).json()
        application = get_application_model().objects.get(client_id=registered["client_id"])
        application.token_binding_type = "client-request"
        application.save()
        set_policy(application, require_presented_binding="yes")
        path = f"/oauth2/register/{registered['client_id']}/"
        headers = {"Authorization": f"Bearer {registered['registration_access_token']}"}

        assert Client().get(path, headers=headers).status_code == 200
        assert Client().get("/toolkit/view/", headers=headers).status_code == 403

        set_policy(application, require_presented_binding="report")
        with reports() as heard:
            assert Client().get(path, headers=headers).status_code == 200
        assert heard == []


def test_an_access_token_for_all_is_no_registration_access_token(make_bound: Callable[..., Site]) -> None:
    """A bound token that has the scope of registrations, too, still has to be presented."""
    scopes = {"read": "Read", "oauth2_provider:registration": "Manage it"}
    with provider(DCR_ENABLED=True, SCOPES=scopes):
        site = make_bound(require_presented_binding="yes", registration_source="dcr")
        token = site.bound("phone", scope="oauth2_provider:registration").access
        path = f"/oauth2/register/{site.application.client_id}/"
        headers = {"Authorization": f"Bearer {token}"}

        assert Client().get(path, headers=headers).status_code == 401
        set_policy(site.application, require_presented_binding="no")
        assert Client().get(path, headers=headers).status_code == 200
