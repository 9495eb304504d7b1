"""Logout tokens (OpenID Connect Back-Channel Logout 1.0 section 2.4)."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any, Final

from django.utils import timezone
from jwcrypto.jwt import JWT
from oauth2_provider.models import AbstractApplication

from oauth_binding.models import LogoutNotification

#: The member of the claim ``events`` that makes a JWT a logout token.
EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"

#: How long one is valid: it is sent at once, so it only needs to allow for clocks that differ.
LIFETIME: Final = timedelta(minutes=2)


def encode(notification: LogoutNotification, application: Any) -> str:
    """Return a logout token, signed as django-oauth-toolkit signs the application's ID tokens.

    :param notification: what it says; each token that is made from it has its ``jti``.
    :param application: that of the notification; it determines audience, algorithm and key.
    :raises ImproperlyConfigured: the application has no algorithm, or a secret that is hashed; or the site
        has no key.
    :raises JWException: its secret is too short for a key.
    :raises ValueError: the site's key can't be read (``manage.py check``: E008).
    """
    now = timezone.now()
    header = {"typ": "logout+jwt", "alg": application.algorithm}
    key = application.jwk_key
    if application.algorithm == AbstractApplication.RS256_ALGORITHM:
        header["kid"] = key.thumbprint()
    claims = {
        "iss": notification.issuer,
        "aud": application.client_id,
        "sub": notification.sub,
        "sid": str(notification.sid),
        "jti": str(notification.jti),
        "iat": int(now.timestamp()),
        "exp": int((now + LIFETIME).timestamp()),
        "events": {EVENT: {}},
    }
    token = JWT(header=json.dumps(header), claims=json.dumps(claims))
    token.make_signed_token(key)
    return str(token.serialize())
