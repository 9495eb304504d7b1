"""A site's own validator that ends older tokens before a new one is saved: a common recipe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone
from oauth2_provider.models import get_access_token_model, get_refresh_token_model

from oauth_binding.authorization_server import BindingOAuth2Validator, revoke_binding
from oauth_binding.models import TokenBinding
from tests.helpers.client import Site
from tests.helpers.provider import provider


class Recipe(BindingOAuth2Validator):
    """Ends what a user has, and then saves."""

    def save_bearer_token(self, token: dict[str, Any], request: Any, *args: Any, **kwargs: Any) -> None:
        self.end_older(request.user)
        super().save_bearer_token(token, request, *args, **kwargs)

    def end_older(self, user: Any) -> None:
        raise NotImplementedError


class Deletes(Recipe):
    def end_older(self, user: Any) -> None:
        get_access_token_model().objects.filter(user=user).delete()
        get_refresh_token_model().objects.filter(user=user).delete()


class Expires(Recipe):
    def end_older(self, user: Any) -> None:
        get_access_token_model().objects.filter(user=user).update(expires=timezone.now())


class Revokes(Recipe):
    def end_older(self, user: Any) -> None:
        for token in get_refresh_token_model().objects.filter(user=user, revoked__isnull=True):
            token.revoke()


class RevokesBindings(Recipe):
    def end_older(self, user: Any) -> None:
        for binding in TokenBinding.objects.filter(user=user):
            revoke_binding(binding)


@pytest.mark.parametrize("recipe", [Deletes, Expires, Revokes, RevokesBindings])
@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
@pytest.mark.parametrize("scope", ["read", "openid read"])
def test_each_login_is_answered_with_a_pair_that_lives(
    make_bound: Callable[..., Site], token_type: str, scope: str, recipe: type[Recipe]
) -> None:
    site = make_bound(token_type, "authorization_code")
    with provider(OAUTH2_VALIDATOR_CLASS=recipe):
        for _login in range(3):
            answer = site.bound("phone", scope=scope)
            assert answer.status == 200, answer.data
            assert site.active(answer.access)
            assert site.active(answer.refresh)
    assert site.refresh(answer.refresh).status == 200
