"""Whatever a request presents as a proof: it is refused, or somebody else's code finds it good, too."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oauth_binding.core.jose.algorithms import PROOF_ALGORITHMS
from oauth_binding.models import TokenPolicy
from oauth_binding.proof.dpop_proof import verify
from oauth_binding.proof.errors import InvalidProofError
from tests.helpers.client import SECRET, Site
from tests.proof.forging import EC_KEY, ED_KEY, OTHER_KEY, RSA_KEY, SHORT_RSA_KEY, About, base64url, jws
from tests.proof.independent import thumbprint_of
from tests.proof.rows import REFUSED, ROWS

TOKEN = "an-access-token"

ABOUT = About("GET", "https://api.example/a/b", TOKEN)

# Signing takes its time on a busy machine; the fixtures stay for all examples.
many = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
keys = st.sampled_from([EC_KEY, OTHER_KEY, ED_KEY, RSA_KEY, SHORT_RSA_KEY])
header_names = st.sampled_from(["typ", "alg", "jwk", "kid", "crit", "b64", "cty", "zip", "enc", "x5c", "jku"])
claim_names = st.sampled_from(["jti", "htm", "htu", "iat", "ath", "nonce", "exp", "nbf", "aud", "iss", "sub"])
key_members = st.sampled_from(
    [*EC_KEY.private_jwk, *RSA_KEY.private_jwk, "k", "use", "alg", "key_ops", "kid"]
)


def agree(text: str, about: About = ABOUT) -> bool:
    """Return whether a proof is accepted, having asked the other verifier, too."""
    request: dict[str, Any] = {
        "method": about.method,
        "uri": about.uri,
        "access_token": about.access_token,
    }
    try:
        proof = verify(text, algorithms=PROOF_ALGORITHMS, **request)
    except InvalidProofError:
        return False
    assert proof.confirmation.thumbprint == thumbprint_of(text, **request)
    return True


@pytest.mark.parametrize("key", [EC_KEY, ED_KEY, RSA_KEY], ids=lambda key: key.algorithm)
def test_both_verifiers_find_a_good_proof_good(key: Any) -> None:
    about = replace(ABOUT, key=key)

    assert agree(about.proof(), about)
    assert thumbprint_of(about.proof(), method="POST", uri=about.uri) is None


@pytest.mark.parametrize("name", ROWS)
def test_both_verifiers_agree_on_the_table(name: str) -> None:
    about = replace(ABOUT, key=ROWS[name].key, uri="https://testserver/a/b/")

    text = ROWS[name].proof(about)
    if text is not None:
        by_another_key = name in ("another key", "Bearer, with a proof")
        assert agree(text, about) is (name not in REFUSED or by_another_key)


@many
@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
def test_texts_and_bytes(text: str) -> None:
    # A header has bytes, which WSGI hands over as latin-1.
    assert not agree(text)


@many
@given(st.data(), keys)
def test_mutated_proofs(data: st.DataObject, key: Any) -> None:
    about = replace(ABOUT, key=key)
    proof = about.proof()
    where = data.draw(st.integers(0, len(proof) - 1))
    kept = data.draw(st.integers(0, 3))
    put = data.draw(st.text("AZaz09-_.=+/, \n", max_size=4))
    mutated = proof[:where] + put + proof[where + kept :]

    assert agree(mutated, about) is (mutated == proof and key is not SHORT_RSA_KEY)


@pytest.fixture
def application(make_site: Callable[..., Site], settings: Any) -> Any:
    """Return a confidential application whose clients have to prove a key."""
    settings.ROOT_URLCONF = "tests.ended.urls"
    application = make_site("client_credentials").application
    TokenPolicy.objects.create(
        application=application, sender_constraint="dpop", require_sender_constraint="yes"
    )
    return application


@settings(many, max_examples=100)
@given(
    st.binary(max_size=200)
    | st.text(max_size=200).map(str.encode)
    | st.dictionaries(claim_names, json_values).map(lambda claims: ABOUT.proof(claims=claims).encode())
)
def test_doors_answer_whatever_comes(application: Any, raw: bytes) -> None:
    headers = {"DPoP": raw.decode("latin-1")}
    form = {
        "grant_type": "client_credentials",
        "client_id": application.client_id,
        "client_secret": SECRET,
    }

    token_endpoint = Client().post("/oauth2/token/", form, headers=headers)
    api = Client().get("/plain/", headers={**headers, "Authorization": f"DPoP {TOKEN}"})

    error = "invalid_dpop_proof"
    assert (token_endpoint.status_code, token_endpoint.json()["error"]) == (400, error)
    assert (api.status_code, api.json()["error"]) == (401, error)


@many
@given(keys, st.dictionaries(header_names, json_values), st.sets(header_names, max_size=2))
def test_headers(key: Any, changed: dict[str, Any], removed: set[str]) -> None:
    about = replace(ABOUT, key=key)

    agree(about.proof(header=changed, drop=removed), about)


@many
@given(keys, st.dictionaries(claim_names, json_values), st.sets(claim_names, max_size=2))
def test_claims(key: Any, changed: dict[str, Any], removed: set[str]) -> None:
    about = replace(ABOUT, key=key)

    agree(about.proof(claims=changed, drop=removed), about)


@many
@given(
    keys,
    st.dictionaries(key_members, json_values | st.binary(max_size=70).map(base64url), max_size=3),
    st.sets(key_members, max_size=2),
)
def test_keys(key: Any, changed: dict[str, Any], removed: set[str]) -> None:
    about = replace(ABOUT, key=key)
    members = {name: value for name, value in {**key.jwk, **changed}.items() if name not in removed}

    agree(about.proof(header={"jwk": members}), about)


@many
@given(
    st.sampled_from(["https://", "HTTPS://", "http://", "//", ""]),
    st.sampled_from(["api.example", "API.example", "api.example.", "u@api.example", "xapi.example"]),
    st.sampled_from(["", ":", ":443", ":0443", ":80", ":444"]),
    st.lists(
        st.sampled_from(["/", "a", "b", "%61", "%2561", "%2F", ".", "..", "%2e", "A", "é", "%", "\\"]),
        max_size=6,
    ),
    st.sampled_from(["", "?", "?a=b", "#c", "?a#c"]),
)
def test_addresses(scheme: str, host: str, port: str, path_parts: list[str], rest: str) -> None:
    agree(ABOUT.proof(claims={"htu": scheme + host + port + "".join(path_parts) + rest}))


@many
@given(st.text(max_size=60) | json_values.map(json.dumps), st.text(max_size=60) | json_values.map(json.dumps))
def test_parts_that_are_signed(header: str, payload: str) -> None:
    assert not agree(jws(EC_KEY, header, ABOUT.claims()))
    assert not agree(jws(EC_KEY, ABOUT.header(), payload))
