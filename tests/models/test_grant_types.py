"""An application may use several grant types: DOT's own single choice, and those beside it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.test import Client
from oauth2_provider.models import get_access_token_model, get_application_model

from tests.helpers.client import GRANTS, REDIRECT_URI, SECRET, Answer, Site
from tests.helpers.provider import provider
from tests.helpers.registration import OPEN, Registrar, metadata
from tests.helpers.toolkit_alone import with_this_app, with_toolkit_alone

DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
USER_GRANTS = ("password", "authorization_code", DEVICE_CODE)


def using(site: Site, grant_type: str) -> Site:
    """Return the same client, making its requests with another grant type."""
    application = copy.copy(site.application)
    application.authorization_grant_type = GRANTS[grant_type]  # what Site goes by; it is not saved
    return replace(site, application=application)


def types_besides(grant_type: str) -> str:
    return " ".join(constant for name, constant in GRANTS.items() if name != grant_type)


# The token endpoint


@pytest.mark.parametrize("grant_type", GRANTS)
@pytest.mark.parametrize("primary", GRANTS)
def test_each_allowed_grant_type_can_be_used(
    make_site: Callable[..., Site], primary: str, grant_type: str
) -> None:
    site = make_site(primary, additional_grant_types=types_besides(primary))

    answer = using(site, grant_type).token()

    assert answer.status == 200
    assert site.active(answer.access)
    if grant_type != "client_credentials":
        assert site.refresh(answer.refresh).status == 200


def refusals(site: Site, grant_type: str) -> list[Answer]:
    """Return what a client is answered that does not have a grant type, where the grant begins and ends."""
    if grant_type == DEVICE_CODE:
        form = {"grant_type": DEVICE_CODE, "device_code": "x"}
        return [site.post("/oauth2/device-authorization/", {}), site.post("/oauth2/token/", form)]
    return [using(site, grant_type).token()] * 2


@pytest.mark.parametrize("grant_type", ["client_credentials", "password", DEVICE_CODE])
def test_a_grant_type_that_is_not_allowed_is_refused(make_site: Callable[..., Site], grant_type: str) -> None:
    others = [name for name in GRANTS if name not in {grant_type, "authorization_code"}]
    site = make_site("authorization_code", additional_grant_types=" ".join(GRANTS[name] for name in others))

    answers = refusals(site, grant_type)

    assert [(answer.status, answer["error"]) for answer in answers] == [(400, "unauthorized_client")] * 2
    assert all(using(site, name).token().status == 200 for name in others)


def test_a_code_is_not_redeemed_once_its_grant_type_is_taken_away(make_site: Callable[..., Site]) -> None:
    site = make_site(additional_grant_types="authorization-code")
    form = site.authorization_code()
    site.application.additional_grant_types = ""
    site.application.save()

    answer = site.post("/oauth2/token/", form)

    assert (answer.status, answer["error"]) == (400, "unauthorized_client")


def test_tokens_of_a_grant_type_that_is_taken_away_stay_valid(make_site: Callable[..., Site]) -> None:
    site = make_site("client_credentials", additional_grant_types="password")
    before = using(site, "password").token()
    site.application.additional_grant_types = ""
    site.application.save()

    assert using(site, "password").token().status == 400
    assert site.active(before.access)


def test_one_refreshable_grant_type_is_enough_to_refresh(make_site: Callable[..., Site]) -> None:
    """With the primary type alone, implicit, there would be no refresh."""
    site = make_site("implicit", additional_grant_types="password")
    answer = using(site, "password").token()
    assert site.refresh(answer.refresh).status == 200


@pytest.mark.parametrize("grant_type", GRANTS)
@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_each_grant_type_has_a_token_per_device(
    make_bound: Callable[..., Site], token_type: str, grant_type: str
) -> None:
    site = using(make_bound(token_type, additional_grant_types=types_besides("password")), grant_type)

    phone, laptop, again = site.bound("phone"), site.bound("laptop"), site.bound("phone")

    assert site.active(laptop.access)
    assert site.active(again.access)
    assert phone.access != laptop.access
    assert (phone.access == again.access) is (token_type == "opaque")
    assert site.active(phone.access) is (token_type == "opaque")


@pytest.mark.parametrize("second", USER_GRANTS)
@pytest.mark.parametrize("first", USER_GRANTS)
@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_the_grants_of_one_user_share_the_slot(
    make_bound: Callable[..., Site], token_type: str, first: str, second: str
) -> None:
    site = make_bound(token_type, additional_grant_types=types_besides("password"))
    before = using(site, first).bound("phone", scope="read")
    other_scopes = using(site, first).bound("phone", scope="read write")

    after = using(site, second).bound("phone", scope="read")

    assert (after.access == before.access) is (token_type == "opaque")
    assert site.active(before.access) is (token_type == "opaque")
    assert (after.refresh == before.refresh) is (token_type == "opaque")
    assert site.active(after.access)
    assert site.active(other_scopes.access)


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_the_client_itself_has_a_slot_of_its_own(make_bound: Callable[..., Site], token_type: str) -> None:
    site = make_bound(token_type, additional_grant_types="client-credentials")
    of_the_user = site.bound("phone")
    of_the_client = using(site, "client_credentials").bound("phone")

    assert of_the_client.access != of_the_user.access
    assert "username" not in site.introspect(of_the_client.access).data
    assert site.introspect(of_the_user.access)["username"] == "alice"


# The authorization endpoint


def authorize(site: Site, response_type: str) -> dict[str, str]:
    """Let the user consent, and return the parameters that the client gets."""
    assert site.user is not None
    browser = Client()
    browser.force_login(site.user)
    query = {
        "response_type": response_type,
        "client_id": site.application.client_id,
        "redirect_uri": REDIRECT_URI,
        "scope": "openid read",
        "state": "s",
        "nonce": "n",
        "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        "code_challenge_method": "S256",
    }
    response = browser.get("/oauth2/authorize/", query)
    if response.status_code == 200:
        response = browser.post("/oauth2/authorize/", {**query, "allow": "Authorize"})
    location = urlsplit(response["Location"])
    return dict(parse_qsl(location.query) + parse_qsl(location.fragment))


#: response type -> (the grant type it needs, what it answers)
RESPONSE_TYPES = {
    "code": ("authorization-code", {"code"}),
    "token": ("implicit", {"access_token"}),
    "id_token": ("implicit", {"id_token"}),
    "code id_token": ("openid-hybrid", {"code", "id_token"}),
}


@pytest.mark.parametrize("response_type", RESPONSE_TYPES)
def test_each_allowed_response_type_can_be_used(make_site: Callable[..., Site], response_type: str) -> None:
    grant_type, answered = RESPONSE_TYPES[response_type]
    site = make_site("password", additional_grant_types=f"client-credentials {grant_type}")
    assert authorize(site, response_type).keys() >= answered


@pytest.mark.parametrize("response_type", RESPONSE_TYPES)
def test_a_response_type_that_is_not_allowed_is_refused(
    make_site: Callable[..., Site], response_type: str
) -> None:
    needed, _answered = RESPONSE_TYPES[response_type]
    others = {grant_type for grant_type, _answered in RESPONSE_TYPES.values()} - {needed}
    site = make_site("password", additional_grant_types=" ".join(sorted(others)))
    assert authorize(site, response_type)["error"] == "unauthorized_client"


# Metadata


@pytest.mark.parametrize("entries", [{}, {"COMPLIANT_BCP_RFC9700_PASSWORD_GRANT": True}], ids=str)
@pytest.mark.parametrize("grant_type", GRANTS)
def test_the_metadata_lists_what_the_token_endpoint_accepts(
    make_site: Callable[..., Site], grant_type: str, entries: dict[str, Any]
) -> None:
    with provider(**entries):
        site = make_site(grant_type, additional_grant_types=types_besides(grant_type))
        metadata = site.http.get("/oauth2/.well-known/oauth-authorization-server").json()
        is_accepted = site.token().status == 200
    assert (grant_type in metadata["grant_types_supported"]) is is_accepted


# Dynamic client registration


@pytest.fixture
def registrar(db: None) -> Iterator[Registrar]:
    with provider(**OPEN):
        yield Registrar(Client(enforce_csrf_checks=True))


#: grant_types of a registration -> (grant types stored, the primary one first; grant_types answered)
REGISTRATIONS: dict[tuple[str, ...], tuple[list[str], list[str]]] = {
    ("password", "client_credentials"): (
        ["password", "client-credentials"],
        ["password", "client_credentials"],
    ),
    ("client_credentials", "password", "refresh_token"): (
        ["client-credentials", "password"],
        ["client_credentials", "password"],
    ),
    ("client_credentials", "refresh_token", "authorization_code", DEVICE_CODE): (
        ["authorization-code", "client-credentials", DEVICE_CODE],
        ["authorization_code", "client_credentials", DEVICE_CODE, "refresh_token"],
    ),
    ("password", "implicit", "authorization_code"): (
        ["implicit", "authorization-code", "password"],
        ["implicit", "authorization_code", "password", "refresh_token"],
    ),
    ("password", "client_credentials", "password"): (
        ["password", "client-credentials"],
        ["password", "client_credentials"],
    ),
}


@pytest.mark.parametrize("grant_types", REGISTRATIONS, ids=" ".join)
def test_a_client_registers_several_grant_types(registrar: Registrar, grant_types: tuple[str, ...]) -> None:
    stored, answered = REGISTRATIONS[grant_types]

    created = registrar.send("POST", metadata(*grant_types, client_name="Radio"))

    assert created.status_code == 201
    assert created.json()["grant_types"] == answered
    assert created.json()["client_name"] == "Radio"
    application = get_application_model().objects.get(client_id=created.json()["client_id"])
    assert application.allowed_grant_types == stored
    assert registrar.send("GET").json()["grant_types"] == answered


def test_a_registered_client_uses_its_grant_types(registrar: Registrar, user: User) -> None:
    created = registrar.send("POST", metadata("password", "client_credentials")).json()
    assert created["client_secret_expires_at"] == 0
    application = get_application_model().objects.get(client_id=created["client_id"])
    site = Site(application, user, created["client_secret"])

    assert using(site, "password").token().status == 200
    assert using(site, "client_credentials").token().status == 200
    assert [answer["error"] for answer in refusals(site, DEVICE_CODE)] == ["unauthorized_client"] * 2


@pytest.mark.parametrize("before", [("password",), *REGISTRATIONS], ids=" ".join)
@pytest.mark.parametrize("after", REGISTRATIONS, ids=" ".join)
def test_an_update_replaces_the_grant_types(
    registrar: Registrar, before: tuple[str, ...], after: tuple[str, ...]
) -> None:
    stored, answered = REGISTRATIONS[after]
    registrar.send("POST", metadata(*before))

    updated = registrar.send("PUT", metadata(*after))

    assert updated.status_code == 200
    assert updated.json()["grant_types"] == answered
    assert registrar.send("GET").json()["grant_types"] == answered
    assert get_application_model().objects.get().allowed_grant_types == stored


def test_an_update_with_one_grant_type_takes_the_others_away(registrar: Registrar) -> None:
    registrar.send("POST", metadata("authorization_code", "password", "client_credentials"))

    updated = registrar.send("PUT", metadata("password"))

    assert updated.json()["grant_types"] == ["password"]
    assert get_application_model().objects.get().allowed_grant_types == ["password"]


#: what is wrong -> (the metadata, what the description names)
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "unknown": (metadata("password", "telepathy"), "'telepathy'"),
    "unknown, all of them": (metadata("telepathy", "telekinesis"), "'telepathy'"),
    "unknown, and no redirect_uris": (
        metadata("authorization_code", "telepathy", redirect_uris=[]),
        "'telepathy'",
    ),
    "the model's name": (metadata("password", "client-credentials"), "'client-credentials'"),
    "no redirect_uris": (
        metadata("password", "authorization_code", redirect_uris=[]),
        "redirect_uris is required for grant type 'authorization_code'",
    ),
    "no redirect_uris for implicit": (
        metadata("client_credentials", "implicit", redirect_uris=[]),
        "redirect_uris is required for grant type 'implicit'",
    ),
    "malformed redirect_uris": (
        metadata("password", "authorization_code", redirect_uris=["javascript:alert(1)"]),
        "redirect_uris",
    ),
    "unknown authentication": (
        metadata("password", "client_credentials", token_endpoint_auth_method="telepathy"),
        "token_endpoint_auth_method",
    ),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_a_refused_registration_saves_nothing(registrar: Registrar, fault: str) -> None:
    body, named = REFUSED[fault]

    refused = registrar.send("POST", body)

    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_client_metadata")
    assert named in refused.json()["error_description"]
    assert not get_application_model().objects.exists()
    assert not get_access_token_model().objects.exists()


@pytest.mark.parametrize("fault", REFUSED)
def test_a_refused_update_changes_nothing(registrar: Registrar, fault: str) -> None:
    registrar.send("POST", metadata("authorization_code", "password"))
    body, named = REFUSED[fault]

    refused = registrar.send("PUT", {**body, "client_name": "Changed"})

    assert refused.status_code == 400
    assert named in refused.json()["error_description"]
    unchanged = registrar.send("GET").json()
    assert unchanged["grant_types"] == ["authorization_code", "password", "refresh_token"]
    assert "client_name" not in unchanged


def test_an_update_that_only_an_additional_grant_type_forbids_changes_nothing(registrar: Registrar) -> None:
    """An operator has chosen HS256 for ID tokens, which the implicit grant may not use."""
    created = registrar.send("POST", metadata("authorization_code", "password")).json()
    applications = get_application_model().objects.filter(client_id=created["client_id"])
    applications.update(algorithm="HS256", hash_client_secret=False, client_secret=SECRET)

    refused = registrar.send("PUT", metadata("authorization_code", "implicit", client_name="Changed"))

    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_client_metadata")
    assert "HS256" in refused.json()["error_description"]
    # The registration access token, which an update replaces, is the old one, too.
    unchanged = registrar.send("GET").json()
    assert unchanged["grant_types"] == ["authorization_code", "password", "refresh_token"]
    assert "client_name" not in unchanged


#: Bodies that the toolkit answers alone: one grant type, none, or nonsense.
TOOLKITS_OWN: dict[str, bytes] = {
    **{name: json.dumps(metadata(name)).encode() for name in [*GRANTS, "implicit", "telepathy"]},
    "with refresh_token": json.dumps(metadata("authorization_code", "refresh_token")).encode(),
    "default": json.dumps({"redirect_uris": [REDIRECT_URI], "client_name": "Gerät"}).encode(),
    "public": json.dumps(metadata("password", token_endpoint_auth_method="none")).encode(),
    "no redirect_uris": json.dumps(metadata("authorization_code", redirect_uris=[])).encode(),
    "none": json.dumps(metadata()).encode(),
    "only refresh_token": json.dumps(metadata("refresh_token")).encode(),
    "no list": b'{"grant_types": "password"}',
    "no strings": b'{"grant_types": ["password", ["password"]]}',
    "no object": b"[1]",
    "no JSON": b"{",
    "no UTF-8": b"\xff\xfe\xfa",
}


@pytest.mark.parametrize("body", TOOLKITS_OWN)
def test_one_grant_type_is_answered_as_by_the_toolkit(db: None, body: str) -> None:
    with with_toolkit_alone(**OPEN):
        expected = story(TOOLKITS_OWN[body])
    with with_this_app(**OPEN):
        assert story(TOOLKITS_OWN[body]) == expected


def story(body: bytes) -> list[tuple[int, bytes]]:
    """Register, update and read, and return the bytes answered, with random values by their names."""
    client = Registrar(Client(enforce_csrf_checks=True))
    told = [tell(client.send("POST", body))]
    if not client.uri:
        client.send("POST", metadata("password"))
    return [*told, tell(client.send("PUT", body)), tell(client.send("GET")), tell(client.send("DELETE"))]


def tell(response: Any) -> tuple[int, bytes]:
    content: bytes = response.content
    if response.status_code in {200, 201}:
        for name in ("client_id", "client_secret", "registration_access_token"):
            content = content.replace(str(response.json().get(name)).encode(), name.encode())
    # RFC 7591 section 3.2.1 requires it; the toolkit leaves it out.
    content = content.replace(b', "client_secret_expires_at": 0', b"")
    return response.status_code, content


@pytest.mark.parametrize("body", [json.dumps(metadata("password", "implicit")).encode(), b"[" * 100_000])
def test_who_may_register_is_unchanged(db: None, user: User, body: bytes) -> None:
    """By default: users, in a session of theirs and not by a link on another site."""
    stranger, browser = Client(enforce_csrf_checks=True), Client(enforce_csrf_checks=True)
    browser.force_login(user)
    with provider(DCR_ENABLED=True):
        for http in (stranger, browser):
            assert Registrar(http).send("POST", body).status_code == 401
    assert not get_application_model().objects.exists()


def test_a_user_registers_several_grant_types_in_a_session(user: User) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(user)
    secret = "a" * 32
    browser.cookies["csrftoken"] = secret
    with provider(DCR_ENABLED=True):
        created = Registrar(browser).send(
            "POST", metadata("password", "client_credentials"), **{"X-CSRFToken": secret}
        )
    assert created.status_code == 201
    assert get_application_model().objects.get(user=user).allowed_grant_types == [
        "password",
        "client-credentials",
    ]


def test_registration_is_off_by_default(db: None) -> None:
    registrar = Registrar(Client(enforce_csrf_checks=True))
    assert registrar.send("POST", metadata("password", "implicit")).status_code == 404
    assert not get_application_model().objects.exists()


def test_only_the_registration_access_token_updates_a_client(registrar: Registrar) -> None:
    registrar.send("POST", metadata("password"))
    thief = Registrar(registrar.http, registrar.uri, "guessed")
    for method in ("GET", "PUT"):
        assert thief.send(method, metadata("password", "client_credentials")).status_code == 401
    assert registrar.send("GET").json()["grant_types"] == ["password"]


# What an application must have for its grant types


#: what is wrong -> (fields of the application, the field that the error is at)
UNFIT: dict[str, tuple[dict[str, str], str]] = {
    "no redirect URI for authorization-code": (
        {"additional_grant_types": "authorization-code", "redirect_uris": ""},
        "redirect_uris",
    ),
    "no redirect URI for the second": (
        {"additional_grant_types": "client-credentials implicit", "redirect_uris": ""},
        "redirect_uris",
    ),
    "HS256 for implicit": ({"additional_grant_types": "implicit", "algorithm": "HS256"}, "algorithm"),
    "HS256 for openid-hybrid": (
        {"additional_grant_types": "openid-hybrid", "algorithm": "HS256"},
        "algorithm",
    ),
    "unknown": ({"additional_grant_types": "telepathy"}, "additional_grant_types"),
    "RFC name": ({"additional_grant_types": "client_credentials"}, "additional_grant_types"),
    "the primary": ({"additional_grant_types": "password"}, "additional_grant_types"),
    "twice": ({"additional_grant_types": "implicit implicit"}, "additional_grant_types"),
}


def _application(**fields: Any) -> Any:
    return get_application_model()(
        **{
            "client_type": "confidential",
            "authorization_grant_type": "password",
            "client_secret": SECRET,
            "hash_client_secret": False,
            "redirect_uris": REDIRECT_URI,
            **fields,
        }
    )


@pytest.mark.parametrize("fault", UNFIT)
def test_each_grant_type_must_fit_the_application(fault: str) -> None:
    fields, where = UNFIT[fault]
    application = _application(**fields)
    application.clean()  # The primary grant type is fine.
    with pytest.raises(ValidationError) as refused:
        application.clean_allowed_grant_types()
    assert list(refused.value.message_dict) == [where]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"additional_grant_types": f"client-credentials authorization-code {DEVICE_CODE}"},
        {"additional_grant_types": f"client-credentials {DEVICE_CODE}", "redirect_uris": ""},
        {"additional_grant_types": "authorization-code", "algorithm": "HS256"},
    ],
    ids=str,
)
def test_grant_types_that_fit(fields: dict[str, str]) -> None:
    _application(**fields).clean_allowed_grant_types()


def test_what_is_wrong_anyway_is_said_once() -> None:
    """A form shows what clean() raises beside what clean_allowed_grant_types() raises."""
    application = _application(additional_grant_types="client-credentials", redirect_uris="ftp://x.example/")
    with pytest.raises(ValidationError):
        application.clean()
    application.clean_allowed_grant_types()
