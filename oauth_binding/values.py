"""The values of opaque tokens: random where they are stored, derived where they are not.

With django-oauth-toolkit's ``COMPLIANT_BCP_RFC9700_TOKEN_STORAGE`` a token's text is not kept, so a token
that is to be answered again must be recoverable without being stored: it is then an HMAC, under a key that
the database does not have, of a random seed that is kept beside the token's checksum.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.conf import settings
from django.utils.crypto import constant_time_compare, salted_hmac
from oauth2_provider.settings import oauth2_settings
from oauthlib.common import generate_token

if TYPE_CHECKING:
    from oauth_binding.models import BoundAccessToken, BoundRefreshToken


@dataclass(frozen=True, slots=True)
class TokenValue:
    """A token's text, and the seed to keep where it was derived from one."""

    text: str
    seed: str | None = None

    def __repr__(self) -> str:
        return "<TokenValue>"


def new_value() -> TokenValue:
    """Return a fresh opaque token: 30 random characters as django-oauth-toolkit's, or 43 derived ones."""
    if oauth2_settings.COMPLIANT_BCP_RFC9700_TOKEN_STORAGE:
        seed = secrets.token_urlsafe(32)
        return TokenValue(_derive(seed, settings.SECRET_KEY), seed)
    return TokenValue(generate_token())


def recover(row: BoundAccessToken | BoundRefreshToken) -> TokenValue | None:
    """Return the value of a stored opaque token, or None where nothing brings it back.

    It can't be brought back where it was signed, where it was redacted without a seed, and where the
    ``SECRET_KEY`` it was derived under is no longer in ``SECRET_KEY_FALLBACKS``.
    """
    if row.token:
        return TokenValue(row.token)
    if row.token_seed is None:
        return None
    for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
        text = _derive(row.token_seed, secret)
        if constant_time_compare(hashlib.sha256(text.encode()).hexdigest(), row.token_checksum):
            return TokenValue(text, row.token_seed)
    return None


def _derive(seed: str, secret: str | bytes) -> str:
    digest = salted_hmac("oauth_binding.values", seed, secret=secret, algorithm="sha256").digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
