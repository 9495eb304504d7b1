"""Whatever a request presents, the API answers 200, 400 or 401."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.helpers.resource_server import Api, Issuer
from tests.helpers.signed_tokens import signed, valid_claims

pytestmark = pytest.mark.usefixtures("api")

# The fixtures stay for all examples: each of them begins with what the one before has left in the caches.
many = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
claim_names = st.sampled_from([*valid_claims(), "nbf", "binding_type", "binding_ref", "act", "cnf"])
header_names = st.sampled_from(["alg", "typ", "kid", "crit", "b64", "cty", "enc", "zip", "jwk", "x5c"])


def assert_allowed(api: Api, authorization: str) -> int:
    status = api.http.get("/me/", headers={"Authorization": authorization}).status_code
    plain = api.http.get("/plain/", headers={"Authorization": authorization}).status_code
    assert plain == status
    assert status in (200, 400, 401, 403)
    return status


@many
@given(st.text(st.characters(max_codepoint=255)) | st.text().map(lambda text: f"Bearer {text}"))
def test_authorization_headers(api: Api, header: str) -> None:
    # A header has bytes, which WSGI hands over as latin-1.
    assert assert_allowed(api, header.encode(errors="replace").decode("latin-1")) in (400, 401)


@many
@given(st.dictionaries(claim_names, json_values), st.sets(claim_names))
def test_claims(api: Api, changed: dict[str, Any], removed: set[str]) -> None:
    claims = {**valid_claims(), **changed}
    payload = json.dumps({name: value for name, value in claims.items() if name not in removed})

    # A scope that lacks "read" is the one thing that is not a matter of being valid.
    assert assert_allowed(api, f"Bearer {signed(payload)}") in (200, 401, 403)


@many
@given(st.dictionaries(header_names, json_values, min_size=1))
def test_headers(api: Api, changed: dict[str, Any]) -> None:
    header = {"alg": "RS256", "typ": "at+jwt", "kid": "one", **changed}
    text = signed(json.dumps(valid_claims()), **header)

    assert assert_allowed(api, f"Bearer {text}") in (200, 401)


@many
@given(st.text() | json_values.map(json.dumps))
def test_payloads(api: Api, payload: str) -> None:
    raw = payload.encode(errors="surrogatepass")

    assert assert_allowed(api, f"Bearer {signed(raw)}") == 401


@many
@given(st.data())
def test_mutated_tokens(api: Api, issuer: Issuer, data: st.DataObject) -> None:
    token = issuer.token()
    where = data.draw(st.integers(0, len(token) - 1))
    kept = data.draw(st.integers(0, 3))
    mutated = token[:where] + data.draw(st.text("AZaz09-_.=+/", max_size=4)) + token[where + kept :]

    is_readable = "=" not in mutated.rstrip("=")
    expected = 200 if mutated == token else 401 if is_readable else 400
    assert assert_allowed(api, f"Bearer {mutated}") == expected


@many
@given(st.dictionaries(claim_names, json_values))
def test_introspection_answers(
    api: Api, introspecting: Callable[..., None], issuer: Issuer, members: dict[str, Any]
) -> None:
    """What the server says of a token can also be that nothing is known for sure."""
    introspecting(INTROSPECTION_CACHE_SECONDS=0)
    issuer.active["x"] = {"active": True, "scope": "read", **members}

    status = api.call("x").status
    assert status in (200, 401, 403, 503)
