"""Applications of each kind of tokens, and the users."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User

from oauth_binding.models import SSO_SESSION
from tests.ended.held import DEVICE_GRANT, Applications
from tests.ended.table import KINDS
from tests.helpers.client import PASSWORD, Site
from tests.helpers.exchange import allow


@pytest.fixture
def make_applications(make_site: Callable[..., Site]) -> Callable[[str], Applications]:
    """Return a factory of applications of a kind of tokens."""

    def make(kind: str) -> Applications:
        is_bound, is_jwt, is_of_session = KINDS[kind]
        options = {
            "token_type": "jwt" if is_jwt else "opaque",
            "token_binding_type": "client-request" if is_bound else "none",
        }
        # No browser asks for exchanged tokens.
        exchanged = {**options, "token_binding_type": "none"} if is_of_session else options
        if is_of_session:
            options["token_binding_type"] = SSO_SESSION
        mobile = make_site(
            "authorization_code",
            additional_grant_types=f"password {DEVICE_GRANT} token-exchange",
            **options,
        )
        # None of those whose tokens DOT deletes at a logout.
        backend = make_site("token-exchange", **exchanged)
        allow(backend, mobile, refresh_tokens=True, delegation=True)
        allow(backend, backend, refresh_tokens=True)
        allow(mobile, mobile)
        carol, _made = User.objects.get_or_create(username="carol")
        carol.set_password(PASSWORD)
        carol.save()
        return Applications(mobile, backend, make_site(), carol)

    return make


@pytest.fixture
def bob(db: None) -> User:
    """Return somebody whom no event is about."""
    return User.objects.create_user("bob", password=PASSWORD)
