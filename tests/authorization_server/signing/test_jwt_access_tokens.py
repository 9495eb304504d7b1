"""JWT access tokens (RFC 9068) and the key they are verified with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jwt
import pytest
from django.test import Client

from oauth_binding.authorization_server import BindingOAuth2Validator
from oauth_binding.binding.semantics import binding_reference
from oauth_binding.core.claim_sources import REGISTERED_CLAIMS
from tests.helpers.client import GRANTS, Site
from tests.helpers.provider import provider
from tests.helpers.rows import access_token_row

ISSUER = "http://testserver/oauth2"


@pytest.mark.parametrize("binding", [None, "phone"])
@pytest.mark.parametrize("grant_type", GRANTS)
def test_claims(make_bound: Callable[..., Site], grant_type: str, binding: str | None) -> None:
    site = make_bound("jwt", grant_type)
    answer = site.bound(binding, scope="read")
    claims = answer.claims
    row = access_token_row(answer.access)

    assert claims.pop("jti")
    assert claims.pop("exp") - claims.pop("iat") == answer["expires_in"] == 3600
    assert site.user is not None
    expected = {
        "iss": ISSUER,
        "aud": ISSUER,
        "sub": site.application.client_id if row.user is None else str(site.user.pk),
        "client_id": site.application.client_id,
        "scope": "read",
    }
    if binding is not None:
        expected |= {"binding_type": "client-request", "binding_ref": binding_reference(binding)}
    if grant_type == "client_credentials":
        assert row.user is None
    assert claims == expected


@pytest.mark.parametrize("binding_type", ["none", "client-request"])
@pytest.mark.parametrize("rotate", [True, False])
def test_the_row_the_claim_and_the_answer_agree_on_the_expiry(
    make_site: Callable[..., Site], binding_type: str, rotate: bool
) -> None:
    site = make_site(token_type="jwt", token_binding_type=binding_type)
    with provider(ROTATE_REFRESH_TOKEN=rotate, ACCESS_TOKEN_EXPIRE_SECONDS=1234):
        answer = site.token()
        for _ in range(3):
            claims = answer.claims
            assert claims["exp"] - claims["iat"] == answer["expires_in"] == 1234
            row = access_token_row(answer.access)
            assert row.expires.timestamp() == claims["exp"]
            assert site.introspect(answer.access)["exp"] == claims["exp"]
            answer = site.refresh(answer.refresh)


@pytest.mark.parametrize("resources", [["https://a.example/x"], ["https://a.example", "https://b.example"]])
@pytest.mark.parametrize("binding_type", ["none", "client-request"])
def test_resources_are_the_audience(
    make_site: Callable[..., Site], binding_type: str, resources: list[str]
) -> None:
    site = make_site(token_type="jwt", token_binding_type=binding_type)
    answer = site.token(resource=resources)
    expected = resources[0] if len(resources) == 1 else resources
    assert answer.claims["aud"] == expected
    assert site.introspect(answer.access)["aud"] == expected


@pytest.mark.parametrize("resource", ["not a uri", "https://[", "https://a.example/#fragment"])
@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_a_bad_resource_is_an_invalid_target(
    make_bound: Callable[..., Site], token_type: str, resource: str
) -> None:
    site = make_bound(token_type)
    answer = site.token(resource=resource)
    assert (answer.status, answer["error"]) == (400, "invalid_target")


@pytest.mark.parametrize("oidc", [True, False])
def test_it_is_signed_with_the_key_that_the_jwk_set_publishes(
    make_bound: Callable[..., Site], oidc: bool
) -> None:
    with provider(OIDC_ENABLED=oidc):
        token = make_bound("jwt", algorithm="").token().access
        header = jwt.get_unverified_header(token)
        assert header == {"alg": "RS256", "typ": "at+jwt", "kid": header["kid"]}
        metadata = Client().get("/oauth2/.well-known/oauth-authorization-server").json()
        assert metadata["issuer"] == ISSUER
        document = Client().get(metadata["jwks_uri"]).json()
        key = jwt.PyJWKSet.from_dict(document)[header["kid"]]
        claims = jwt.decode(token, key, algorithms=["RS256"], audience=ISSUER, issuer=ISSUER)
        assert claims["sub"]


def test_without_a_key_there_is_no_jwk_set_where_oidc_is_off(db: None) -> None:
    with provider(OIDC_ENABLED=False, OIDC_RSA_PRIVATE_KEY=""):
        assert Client().get("/oauth2/.well-known/jwks.json").status_code == 404
        assert "jwks_uri" not in Client().get("/oauth2/.well-known/oauth-authorization-server").json()


@pytest.mark.parametrize("binding_type", ["none", "client-request"])
@pytest.mark.parametrize("key", ["", "not a key"])
def test_without_a_usable_key_the_request_is_refused_and_loses_nothing(
    make_site: Callable[..., Site], caplog: pytest.LogCaptureFixture, key: str, binding_type: str
) -> None:
    site = make_site("authorization_code", token_type="jwt", token_binding_type=binding_type)
    form = site.grant()
    with provider(OIDC_RSA_PRIVATE_KEY=key):
        answer = site.post("/oauth2/token/", form)
    assert (answer.status, answer["error"]) == (503, "server_error")
    assert "JWT" in answer["error_description"]
    assert "OIDC_RSA_PRIVATE_KEY" in caplog.text
    assert site.post("/oauth2/token/", form).status == 200


class ClaimingValidator(BindingOAuth2Validator):
    """A site's own claims, and an attempt at the registered ones."""

    def get_additional_access_token_claims(self, request: Any) -> dict[str, Any]:
        own = {"department": f"of {request.user.username}", "scopes": request.scopes}
        return {**own, **dict.fromkeys(REGISTERED_CLAIMS, "forged")}


@pytest.mark.parametrize("binding", [None, "phone"])
def test_a_sites_own_claims_can_not_overwrite_registered_ones(
    make_bound: Callable[..., Site], binding: str | None
) -> None:
    site = make_bound("jwt")
    plain = site.bound(binding).claims
    with provider(OAUTH2_VALIDATOR_CLASS=f"{__name__}.ClaimingValidator"):
        claims = site.bound(binding).claims
    assert claims.pop("department") == "of alice"
    assert set(claims.pop("scopes")) == {"read", "write"}
    assert claims.keys() == plain.keys()
    assert "forged" not in claims.values()


class BoastingValidator(BindingOAuth2Validator):
    """Claims that are called like what introspection says of every token."""

    def get_additional_access_token_claims(self, request: Any) -> dict[str, Any]:
        return {"department": "sales", "active": False, "username": "root", "token_type": "DPoP"}


@pytest.mark.parametrize("binding", [None, "phone"])
def test_introspection_says_what_a_jwt_says(make_bound: Callable[..., Site], binding: str | None) -> None:
    site = make_bound("jwt")
    with provider(OAUTH2_VALIDATOR_CLASS=f"{__name__}.BoastingValidator"):
        answer = site.bound(binding)

    facts = site.introspect(answer.access).data

    boasts = {"active": True, "username": "alice", "token_type": "Bearer"}
    assert facts == {**answer.claims, **boasts}


def test_every_token_has_an_id_of_its_own(make_bound: Callable[..., Site]) -> None:
    site = make_bound("jwt")
    assert len({site.bound("phone").claims["jti"] for _ in range(5)}) == 5


def test_its_text_is_not_in_the_database(make_bound: Callable[..., Site]) -> None:
    row = access_token_row(make_bound("jwt").bound("phone").access)
    assert row.token == ""


@pytest.mark.parametrize("oidc", [True, False])
def test_an_api_that_shares_the_database(make_bound: Callable[..., Site], oidc: bool) -> None:
    """With OIDC on, oauthlib takes what looks like a JWT for an ID token."""
    with provider(OIDC_ENABLED=oidc):
        site = make_bound("jwt")
        old = site.bound("phone").access
        assert site.api(old) == 200
        new = site.bound("phone").access
        assert site.api(old) == 401
        assert site.api(new) == 200
        site.revoke(new)
        assert site.api(new) == 401


@pytest.mark.parametrize(
    "junk",
    [
        "ey.x.y",
        "eyJ.eyJ.eyJ",
        "eyJhbGciOiJub25lIn0.e30.",
        "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.e30.x",
        "eyJhbGciOiJSUzI1NiJ9.bm90IGpzb24.x",
        "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOjF9.eA",
        "eyJhbGciOiJSUzI1NiJ9.W10.eA",
        "ey" + "x" * 5000 + "..",
        "ey....",
    ],
)
@pytest.mark.parametrize("oidc", [True, False])
def test_junk_that_looks_like_a_jwt_is_refused(
    make_bound: Callable[..., Site], oidc: bool, junk: str
) -> None:
    with provider(OIDC_ENABLED=oidc):
        site = make_bound("jwt")
        assert site.api(junk) == 401
        assert not site.active(junk)
