"""Token policies of applications, and what tokens are for."""

from __future__ import annotations

from typing import Any

import jwt

from oauth_binding.models import TokenPolicy
from tests.helpers.client import Site, is_jwt
from tests.helpers.rows import access_token_row


def set_policy(site: Site, **fields: Any) -> None:
    """Set the token policy of a site's application, which is then read anew."""
    TokenPolicy.objects.update_or_create(application=site.application, defaults=fields)
    site.application.refresh_from_db()


def audiences(site: Site, token: str) -> list[str]:
    """Return what an access token is for; its row, its introspection and, of a JWT, its claim agree.

    A confidential client introspects.
    """
    resource: list[str] = access_token_row(token).resource
    introspected = site.introspect(token)
    assert introspected["active"]
    said = introspected.data.get("aud")
    if not is_jwt(token):
        assert said == (resource or None)
    else:
        assert said == jwt.decode(token, options={"verify_signature": False})["aud"]
        # A JWT for anything is for its issuer (RFC 9068 section 3).
        assert ([said] if isinstance(said, str) else said) == (resource or [introspected["iss"]])
    return resource
