"""What a site's own code takes from a grant is the last word: in the row, in a JWT, and in the answer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest
from django.utils import timezone
from oauth2_provider.models import get_access_token_model, get_refresh_token_model

from oauth_binding.authorization_server import BindingOAuth2Validator
from tests.helpers.client import GRANTS, Answer, Site
from tests.helpers.exchange import allow, exchange
from tests.helpers.provider import provider
from tests.helpers.rows import access_token_row

TOKEN_TYPES = ("opaque", "jwt")
BINDINGS = ("none", "client-request")


class Narrows(BindingOAuth2Validator):
    """Grants everybody just "read", for five minutes."""

    def save_bearer_token(self, token: dict[str, Any], request: Any, *args: Any, **kwargs: Any) -> None:
        token["scope"] = "read"
        token["expires_in"] = 300
        super().save_bearer_token(token, request, *args, **kwargs)


class NarrowsInside(BindingOAuth2Validator):
    """The same, where django-oauth-toolkit's documentation has a site put its own code."""

    def _save_bearer_token(self, token: dict[str, Any], request: Any, *args: Any, **kwargs: Any) -> None:
        token["scope"] = "read"
        token["expires_in"] = 300
        super()._save_bearer_token(token, request, *args, **kwargs)


def exchanging(make_site: Callable[..., Site], token_type: str, binding: str) -> tuple[Site, Site]:
    """Return an application, and one that may exchange its tokens."""
    phone = make_site()
    backend = make_site(
        "client_credentials",
        as_user=None,
        additional_grant_types="token-exchange",
        token_type=token_type,
        token_binding_type=binding,
    )
    allow(backend, phone)
    return phone, backend


def lives_for(seconds: float) -> Any:
    return pytest.approx(seconds, abs=5)


def assert_agree(site: Site, answer: Answer, scope: str, expires_in: int) -> None:
    """Check that answer, row, introspection and JWT say the same of a token."""
    assert answer.status == 200, answer.data
    row = access_token_row(answer.access)
    now = timezone.now().timestamp()
    assert (answer["scope"], answer["expires_in"]) == (scope, lives_for(expires_in))
    assert (row.scope, row.expires.timestamp() - now) == (scope, lives_for(expires_in))
    found = site.introspect(answer.access)
    assert (found["scope"], found["exp"] - now) == (scope, lives_for(expires_in))
    if site.application.token_type == "jwt":
        assert (answer.claims["scope"], answer.claims["exp"] - now) == (scope, lives_for(expires_in))
        assert answer.claims["exp"] == int(row.expires.timestamp())


@pytest.mark.parametrize("grant_type", GRANTS)
@pytest.mark.parametrize("binding", BINDINGS)
@pytest.mark.parametrize("token_type", TOKEN_TYPES)
def test_a_validator_narrows_scope_and_life(
    make_site: Callable[..., Site], token_type: str, binding: str, grant_type: str
) -> None:
    site = make_site(grant_type, token_type=token_type, token_binding_type=binding)
    with provider(OAUTH2_VALIDATOR_CLASS=Narrows):
        answer = site.token(scope="read write")
        assert_agree(site, answer, "read", 300)
        if "refresh_token" in answer.data:
            assert_agree(site, site.refresh(answer.refresh), "read", 300)
    if binding == "client-request" and token_type == "opaque":
        # The narrow one is not what another gets who is granted all.
        assert site.token(scope="read write")["scope"] == "read write"


@pytest.mark.parametrize("rotates", [True, False])
@pytest.mark.parametrize("token_type", TOKEN_TYPES)
def test_a_validator_narrows_where_the_toolkit_saves(
    make_site: Callable[..., Site], token_type: str, rotates: bool
) -> None:
    """It saves unbound tokens alone."""
    site = make_site(token_type=token_type)
    with provider(OAUTH2_VALIDATOR_CLASS=NarrowsInside, ROTATE_REFRESH_TOKEN=rotates):
        answer = site.token(scope="read write")
        assert_agree(site, answer, "read", 300)
        assert_agree(site, site.refresh(answer.refresh), "read", 300)


@pytest.mark.parametrize("binding", BINDINGS)
@pytest.mark.parametrize("token_type", TOKEN_TYPES)
def test_an_exchanged_token_is_narrowed(
    make_site: Callable[..., Site], token_type: str, binding: str
) -> None:
    phone, backend = exchanging(make_site, token_type, binding)
    subject = phone.token(scope="read write")
    with provider(OAUTH2_VALIDATOR_CLASS=Narrows):
        assert_agree(backend, exchange(backend, subject.access), "read", 300)


@pytest.mark.parametrize("binding", BINDINGS)
@pytest.mark.parametrize("token_type", TOKEN_TYPES)
def test_a_site_prolongs_no_token_beyond_the_one_that_is_exchanged(
    make_site: Callable[..., Site], token_type: str, binding: str
) -> None:
    class Prolongs(BindingOAuth2Validator):
        def save_bearer_token(self, token: dict[str, Any], request: Any, *args: Any, **kwargs: Any) -> None:
            token["expires_in"] = 100_000
            super().save_bearer_token(token, request, *args, **kwargs)

    phone, backend = exchanging(make_site, token_type, binding)
    subject = phone.token(scope="read")
    get_access_token_model().objects.update(expires=timezone.now() + timedelta(seconds=200))
    with provider(OAUTH2_VALIDATOR_CLASS=Prolongs):
        assert_agree(backend, exchange(backend, subject.access), "read", 200)


@pytest.mark.parametrize("token_type", TOKEN_TYPES)
def test_the_id_token_is_of_what_is_answered(make_bound: Callable[..., Site], token_type: str) -> None:
    site = make_bound(token_type, "authorization_code")
    with provider(OAUTH2_VALIDATOR_CLASS=Narrows):
        answers = [site.token(scope="openid read") for _login in range(2)]
    for answer in answers:
        claims = jwt.decode(answer["id_token"], options={"verify_signature": False})
        assert claims["at_hash"] == at_hash(answer.access)
    assert access_token_row(answers[-1].access).id_token.scope == "read"


def at_hash(text: str) -> str:
    from oauthlib.openid.connect.core.grant_types.base import GrantTypeBase

    return str(GrantTypeBase().id_token_hash(text))


def test_a_replay_within_the_grace_period_is_narrowed(make_bound: Callable[..., Site]) -> None:
    site = make_bound()
    first = site.bound("phone", scope="read write")
    with provider(REFRESH_TOKEN_GRACE_PERIOD_SECONDS=60):
        second = site.refresh(first.refresh)
        assert second["scope"] == "read write"
        with provider(OAUTH2_VALIDATOR_CLASS=Narrows):
            assert_agree(site, site.refresh(first.refresh), "read", 300)
    assert not site.active(second.access)
    assert get_refresh_token_model().objects.filter(revoked__isnull=True).count() == 1


def test_an_operator_narrows_a_live_token(make_bound: Callable[..., Site]) -> None:
    """An answer with a token again says what the token is good for now."""
    site = make_bound()
    first = site.bound("phone", scope="read write")
    get_access_token_model().objects.update(scope="read")

    again = site.bound("phone", scope="read write")

    assert again.access == first.access
    assert_agree(site, again, "read", first["expires_in"])
    assert site.refresh(again.refresh)["scope"] == "read"


@pytest.mark.parametrize("how", ["setting", "callable", "validator"])
def test_a_token_that_lives_longer_than_is_granted_now_is_not_answered_again(
    make_bound: Callable[..., Site], how: str
) -> None:
    class Short(BindingOAuth2Validator):
        def save_bearer_token(self, token: dict[str, Any], request: Any, *args: Any, **kwargs: Any) -> None:
            token["expires_in"] = 60
            super().save_bearer_token(token, request, *args, **kwargs)

    site = make_bound()
    long = site.bound("phone")
    entries: dict[str, dict[str, Any]] = {
        "setting": {"ACCESS_TOKEN_EXPIRE_SECONDS": 60},
        "callable": {"ACCESS_TOKEN_EXPIRE_SECONDS": lambda request: 60},
        "validator": {"OAUTH2_VALIDATOR_CLASS": Short},
    }
    with provider(**entries[how]):
        short = site.bound("phone")
        assert_agree(site, short, short["scope"], 60)
        assert site.bound("phone").access == short.access
    assert not site.active(long.access)
    # One that lives shorter is: until it expires.
    assert site.bound("phone").access == short.access
