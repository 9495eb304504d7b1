"""What holds for a site with drf-social-oauth2; test_companions.py runs this in such a site."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from oauth2_provider.models import get_access_token_model, get_refresh_token_model
from social_core.backends.oauth import BaseOAuth2
from social_core.exceptions import AuthTokenError

from tests.helpers.client import Answer, Site


class Provider(BaseOAuth2):
    """The network that users come from. It knows one token, which is Bob's."""

    name = "provider"

    def user_data(self, access_token: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        if access_token != "token-of-bob":
            raise AuthTokenError(self)
        return {"id": 1, "username": "bob"}

    def get_user_details(self, response: dict[str, Any]) -> dict[str, Any]:
        return {"username": response["username"]}


def convert(site: Site, **extra: str) -> Answer:
    """Ask for a token of this site for one of the network."""
    form = {"grant_type": "convert_token", "backend": "provider", "token": "token-of-bob"}
    return site.post(
        "/auth/convert-token",
        {"client_id": site.application.client_id, **form, **extra},
        authenticate=False,
    )


def test_an_application_that_has_not_opted_in_gets_a_token_each_time(make_site: Callable[..., Site]) -> None:
    site = make_site()

    first, second = convert(site), convert(site, tokenBindingId="phone")

    assert (first.status, second.status) == (200, 200)
    assert first.access != second.access
    for answer in (first, second):
        facts = site.introspect(answer.access)
        assert facts["active"]
        assert facts["username"] == "bob"
        assert "binding_ref" not in facts.data
    assert site.refresh(first.refresh).status == 200


@pytest.mark.parametrize("binding", ["phone", None])
@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_an_application_that_has_opted_in_gets_tokens_by_the_four_rules(
    make_bound: Callable[..., Site], token_type: str, binding: str | None
) -> None:
    site = make_bound(token_type)
    sent = {} if binding is None else {"tokenBindingId": binding}

    laptop, first, second = (
        convert(site, tokenBindingId="laptop"),
        convert(site, **sent),
        convert(site, **sent),
    )

    assert [answer.status for answer in (laptop, first, second)] == [200, 200, 200]
    assert (first.access == second.access) is (token_type == "opaque")
    assert site.introspect(first.access)["active"] is (token_type == "opaque")
    assert site.introspect(second.access)["active"]
    assert site.introspect(laptop.access)["active"]
    assert ("binding_ref" in site.introspect(second.access).data) is (binding is not None)
    refreshed = site.refresh(second.refresh)
    assert refreshed.status == 200
    assert not site.introspect(second.access)["active"]


def test_what_is_no_binding_is_refused_and_leaves_nothing(make_bound: Callable[..., Site]) -> None:
    site = make_bound("opaque")

    assert convert(site, tokenBindingId="a\nb").status == 400

    assert not get_access_token_model().objects.exists()
    assert not User.objects.filter(username="bob").exists()


def test_a_token_that_the_network_does_not_know(make_bound: Callable[..., Site]) -> None:
    assert convert(make_bound("opaque"), token="another").status == 400
    assert not get_refresh_token_model().objects.exists()


def test_its_token_endpoint(make_bound: Callable[..., Site]) -> None:
    site = make_bound("opaque")

    first = site.post("/auth/token", site.grant(tokenBindingId="phone"))
    second = site.post("/auth/token", site.grant(tokenBindingId="phone"))

    assert first.status == 200
    assert first.access == second.access
    assert "binding_ref" in site.introspect(first.access).data


def test_a_token_is_revoked_there(make_bound: Callable[..., Site]) -> None:
    site = make_bound("jwt")
    answer = convert(site, tokenBindingId="phone")

    revoked = site.post(
        "/auth/revoke-token",
        {"client_id": site.application.client_id, "token": answer.access},
        authenticate=False,
        headers={"Authorization": f"Bearer {answer.access}"},
    )

    assert revoked.status == 204
    assert not site.introspect(answer.access)["active"]
