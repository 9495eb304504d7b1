"""Tokens that a site's own code makes and saves, without a token request: as with django-oauth-toolkit."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from oauth2_provider.models import get_access_token_model, get_refresh_token_model
from oauthlib.common import Request

from oauth_binding.authorization_server import BindingOAuth2Validator
from tests.helpers.client import Site

TOKEN = {"scope": "read", "access_token": "of-the-site", "refresh_token": "to-refresh-it", "expires_in": 60}


@pytest.fixture(params=["opaque", "jwt"])
def site(request: pytest.FixtureRequest, make_bound: Callable[..., Site]) -> Site:
    return make_bound(request.param)


def save(token: dict[str, Any], **attributes: Any) -> None:
    request = Request("/sign-up/")
    vars(request).update(attributes)
    BindingOAuth2Validator().save_bearer_token(token, request)


def test_it_is_saved_as_it_is(site: Site, user: User) -> None:
    token = dict(TOKEN)

    save(token, user=user, client=site.application)

    assert token == TOKEN
    facts = site.introspect("of-the-site")
    assert facts["active"]
    assert (facts["scope"], facts["username"]) == ("read", "alice")
    assert facts["exp"] - timezone.now().timestamp() == pytest.approx(60, abs=5)
    assert "binding_ref" not in facts.data
    assert site.refresh("to-refresh-it").status == 200


def test_it_is_beside_those_of_token_requests(site: Site, user: User) -> None:
    phone, shared = site.bound("phone"), site.token(scope="read")

    save(dict(TOKEN), user=user, client=site.application)

    for token in (phone.access, shared.access, "of-the-site"):
        assert site.introspect(token)["active"]


def test_one_of_no_application_that_says_not_how_long_it_lives(site: Site, user: User) -> None:
    save({"scope": "read", "access_token": "of-the-site"}, user=user)

    row = get_access_token_model().objects.get()
    assert row.application is None
    assert row.expires > timezone.now() + timedelta(minutes=1)
    assert not get_refresh_token_model().objects.exists()


def test_refreshing_in_the_sites_own_code_ends_what_was_before(site: Site, user: User) -> None:
    save(dict(TOKEN), user=user, client=site.application)
    first = get_refresh_token_model().objects.get()

    save(
        {**TOKEN, "access_token": "the-second", "refresh_token": "to-refresh-that"},
        user=user,
        client=site.application,
        refresh_token="to-refresh-it",
        refresh_token_instance=first,
    )

    assert not site.introspect("of-the-site")["active"]
    assert site.introspect("the-second")["active"]
    assert site.refresh("to-refresh-it")["error"] == "invalid_grant"
