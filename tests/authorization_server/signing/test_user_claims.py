"""What access tokens say of their user: the claims that are ticked in an application's token policy."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, Final

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils.translation import gettext_lazy

from oauth_binding.authorization_server import BindingOAuth2Validator
from oauth_binding.models import TOKEN_EXCHANGE, TokenPolicy
from tests.helpers.audiences import set_policy
from tests.helpers.client import Answer, Site
from tests.helpers.exchange import allow, exchange
from tests.helpers.provider import provider
from tests.helpers.rows import refresh_token_row

Make = Callable[..., Site]

#: What the sources say, by the name of the user; each is asked by its own path.
SAID: Final[dict[str, Any]] = {}


def roles(user: User) -> Any:
    said = SAID["roles"]
    return said(user) if callable(said) else said


def fails(user: User) -> Any:
    raise PermissionError(f"the directory knows {user.email}")


PATH: Final = "tests.authorization_server.signing.test_user_claims"

SOURCES: Final = {
    "email": "email",
    "roles": f"{PATH}.roles",
    "urn:example:department": f"{PATH}.fails",
    "nickname": "nick_name",
    "gone": "no.such.module.source",
}


@pytest.fixture(autouse=True)
def sources() -> Iterator[None]:
    SAID["roles"] = lambda user: {"of": user.username, "are": ["buyer"]}
    with override_settings(OAUTH_BINDING={"CLAIM_SOURCES": SOURCES}):
        yield


@pytest.fixture
def ticked(make_site: Make) -> Callable[..., Site]:
    def make(claims: str, grant_type: str = "password", **fields: Any) -> Site:
        site = make_site(grant_type, **fields)
        set_policy(site, claims=claims)
        return site

    return make


def unavailable(answer: Answer) -> None:
    assert (answer.status, answer["error"]) == (503, "temporarily_unavailable"), answer.data
    assert (
        answer["error_description"]
        == "The access token's claims about the user can't be read now. Try again."
    )


BINDINGS: Final = ["none", "client-request"]

each_binding = pytest.mark.parametrize("binding", BINDINGS)


# JWTs


@each_binding
@pytest.mark.parametrize(
    "kind", ["password", "authorization_code", "urn:ietf:params:oauth:grant-type:device_code"]
)
def test_a_jwt_carries_what_is_ticked(ticked: Callable[..., Site], kind: str, binding: str) -> None:
    site = ticked("email roles", kind, token_type="jwt", token_binding_type=binding)

    answer = site.token()

    for claims in (answer.claims, site.introspect(answer.access).data):
        assert claims["email"] == "alice@example.com"
        assert claims["roles"] == {"of": "alice", "are": ["buyer"]}
    SAID["roles"] = ["seller"]
    assert site.refresh(answer.refresh).claims["roles"] == ["seller"]


def test_a_jwt_is_introspected_with_what_it_says(ticked: Callable[..., Site], user: User) -> None:
    """An API that validates it on its own reads nothing else."""
    site = ticked("email", token_type="jwt")
    token = site.token().access
    user.email = "liddell@example.com"
    user.save()

    assert site.introspect(token)["email"] == "alice@example.com"


def test_others_carry_nothing(make_site: Make, ticked: Callable[..., Site]) -> None:
    assert "email" in ticked("email", token_type="jwt").token().claims
    other = make_site(token_type="jwt")
    answer = other.token()

    assert not {"email", "roles"} & (answer.claims.keys() | other.introspect(answer.access).data.keys())


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_a_client_of_its_own_has_no_user_to_speak_of(ticked: Callable[..., Site], token_type: str) -> None:
    site = ticked("email urn:example:department", "client_credentials", token_type=token_type)
    answer = site.token()

    assert answer.status == 200
    assert "email" not in site.introspect(answer.access).data


def test_an_exchanged_token_speaks_of_its_user(make_site: Make) -> None:
    subject = make_site()
    site = make_site("client_credentials", additional_grant_types=TOKEN_EXCHANGE, token_type="jwt")
    allow(site, subject)
    set_policy(site, claims="email")

    assert exchange(site, subject.token().access).claims["email"] == "alice@example.com"


def test_what_there_is_nothing_to_say_of_is_left_out(ticked: Callable[..., Site]) -> None:
    SAID["roles"] = None
    jwt, opaque = ticked("email roles", token_type="jwt"), ticked("email roles")

    assert "roles" not in jwt.token().claims
    assert "roles" not in opaque.introspect(opaque.token().access).data


class Validator(BindingOAuth2Validator):
    def get_additional_access_token_claims(self, request: Any) -> dict[str, Any]:
        return {"email": "hidden", "level": 3}


def test_the_validator_of_the_site_has_the_last_word(ticked: Callable[..., Site]) -> None:
    site = ticked("email roles", token_type="jwt")
    with provider(OAUTH2_VALIDATOR_CLASS=f"{PATH}.Validator"):
        claims = site.token().claims

    assert (claims["email"], claims["level"], claims["roles"]["of"]) == ("hidden", 3, "alice")


# Opaque tokens


@each_binding
def test_an_opaque_token_is_introspected_with_what_holds_now(
    ticked: Callable[..., Site], user: User, binding: str
) -> None:
    site = ticked("email roles", token_binding_type=binding)
    pair = site.token()
    assert site.introspect(pair.access)["email"] == "alice@example.com"
    user.email = "liddell@example.com"
    user.save()
    set_policy(site, claims="email")

    answer = site.introspect(pair.access)

    assert answer["email"] == "liddell@example.com"
    assert "roles" not in answer.data
    assert "email" not in site.introspect(pair.refresh).data
    site.revoke(pair.access)
    assert site.introspect(pair.access).data == {"active": False}


def test_introspection_costs_no_query(make_site: Make, ticked: Callable[..., Site]) -> None:
    numbers = []
    for site in (make_site(), ticked("email")):
        token = site.token().access
        site.introspect(token)
        with CaptureQueriesContext(connection) as queries:
            assert site.active(token)
        numbers.append(len(queries))

    assert numbers[0] == numbers[1]


# Sources that fail


ENDLESS: Final[list[Any]] = []
ENDLESS.append(ENDLESS)

FAILING: Final[dict[str, Any]] = {
    "raises": ("urn:example:department", "PermissionError", None),
    "has no such attribute": ("nickname", "AttributeError", None),
    "can't be imported": ("gone", "ModuleNotFoundError", None),
    "is not in the settings": ("unheard-of", "KeyError", None),
    "is no JSON": ("roles", "TypeError", Decimal(1)),
    "is lazy": ("roles", "TypeError", gettext_lazy("role")),
    "is no number": ("roles", "ValueError", float("nan")),
    "is endless": ("roles", "ValueError", ENDLESS),
}

each_failure = pytest.mark.parametrize(
    ("claim", "error", "said"), [pytest.param(*case, id=what) for what, case in FAILING.items()]
)


@each_failure
def test_a_source_that_fails_is_no_token_without_it(
    ticked: Callable[..., Site], caplog: pytest.LogCaptureFixture, claim: str, error: str, said: Any
) -> None:
    SAID["roles"] = said
    site = ticked(f"email {claim}", token_type="jwt")

    unavailable(site.token())

    (message,) = (each.getMessage() for each in caplog.records if each.name.startswith("oauth_binding"))
    assert f"the source of the claim {claim} failed ({error})" in message
    assert "alice" not in message


@each_failure
def test_introspection_says_that_it_can_not_tell(
    ticked: Callable[..., Site], claim: str, error: str, said: Any
) -> None:
    SAID["roles"] = said
    site = ticked(f"email {claim}")
    token = site.token().access

    unavailable(site.introspect(token))


@each_binding
def test_nothing_is_consumed(ticked: Callable[..., Site], binding: str) -> None:
    site = ticked(
        "urn:example:department", "authorization_code", token_binding_type=binding, token_type="jwt"
    )
    form = site.authorization_code()
    unavailable(site.post("/oauth2/token/", form))
    set_policy(site, claims="email")
    pair = site.post("/oauth2/token/", form)
    assert pair.claims["email"] == "alice@example.com"

    set_policy(site, claims="urn:example:department")
    unavailable(site.refresh(pair.refresh))
    assert refresh_token_row(pair.refresh).revoked is None
    assert site.active(pair.access)
    set_policy(site, claims="email")
    assert site.refresh(pair.refresh).claims["email"] == "alice@example.com"


def test_a_device_code_is_not_consumed(ticked: Callable[..., Site]) -> None:
    kind = "urn:ietf:params:oauth:grant-type:device_code"
    site = ticked("gone", kind, token_type="jwt")
    form = {"grant_type": kind, "device_code": site.device_code()}
    unavailable(site.post("/oauth2/token/", form))
    set_policy(site, claims="")

    assert site.post("/oauth2/token/", form).status == 200


def test_a_request_asks_each_source_once(ticked: Callable[..., Site]) -> None:
    """Also where a JWT has to be signed again, since the site's own code has narrowed it."""
    asked = []

    def said(user: User) -> list[str]:
        asked.append(user.username)
        return ["buyer"]

    SAID["roles"] = said
    site = ticked("roles", token_type="jwt", token_binding_type="client-request")
    with provider(OAUTH2_VALIDATOR_CLASS=f"{PATH}.Narrowing"):
        answer = site.token(scope="read write")

    assert (answer.claims["scope"], answer.claims["roles"]) == ("read", ["buyer"])
    assert asked == ["alice"]


class Narrowing(BindingOAuth2Validator):
    def save_bearer_token(self, token: dict[str, Any], request: Any, *args: Any, **kwargs: Any) -> None:
        token["scope"] = "read"
        super().save_bearer_token(token, request, *args, **kwargs)


def test_without_claims_no_source_is_asked(make_site: Make) -> None:
    SAID["roles"] = lambda user: pytest.fail("asked")
    site = make_site(token_type="jwt")
    TokenPolicy.objects.create(application=site.application)

    assert site.token().status == 200


def test_both_say_the_same(ticked: Callable[..., Site]) -> None:
    """What JSON has no type for is what it comes nearest to, for a JWT and for introspection alike."""
    SAID["roles"] = ("buyer", {1: "one"}, True)
    jwt, opaque = ticked("roles", token_type="jwt"), ticked("roles")

    said = jwt.token().claims["roles"], opaque.introspect(opaque.token().access)["roles"]

    assert said[0] == said[1] == json.loads('["buyer", {"1": "one"}, true]')
