"""The userinfo endpoint (OpenID Connect Core section 5.3)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client

from tests.helpers.client import Site


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_a_token_without_the_scope_is_valid_and_not_enough(
    make_bound: Callable[..., Site], token_type: str
) -> None:
    site = make_bound(token_type)
    token = site.bound("phone", scope="read").access

    for headers, body in [({"Authorization": f"Bearer {token}"}, {}), ({}, {"access_token": token})]:
        refused = Client().post("/oauth2/userinfo/", body, headers=headers)
        assert (refused.status_code, refused.json()["error"]) == (403, "insufficient_scope")
        challenge = refused["WWW-Authenticate"]
        assert 'error="insufficient_scope"' in challenge
        assert 'scope="openid"' in challenge


def test_an_ended_token_without_the_scope_is_invalid(make_bound: Callable[..., Site]) -> None:
    site = make_bound()
    token = site.bound("phone", scope="read").access
    site.revoke(token)

    refused = Client().get("/oauth2/userinfo/", headers={"Authorization": f"Bearer {token}"})

    assert refused.status_code == 401
    assert 'error="invalid_token"' in refused["WWW-Authenticate"]
