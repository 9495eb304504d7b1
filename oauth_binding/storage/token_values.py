"""The values of opaque tokens: random if they are stored, derived if they are not.

With django-oauth-toolkit's ``COMPLIANT_BCP_RFC9700_TOKEN_STORAGE`` a token's text is not kept, so a token
that is to be returned again must be recoverable without being stored: it is then an HMAC, under a key that
the database does not have, of a random seed that is kept beside the token's checksum.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass

from django.conf import settings
from django.utils.crypto import constant_time_compare, salted_hmac
from oauth2_provider.settings import oauth2_settings


@dataclass(frozen=True, slots=True)
class TokenValue:
    """A token's text, and what is kept with it."""

    text: str
    #: The seed of a derived token.
    seed: str | None = None

    def __repr__(self) -> str:
        return "<TokenValue>"


def token_checksum(text: str) -> str:
    """Return the ``token_checksum`` that a token is looked up by: 64 lower-case hexadecimal characters."""
    return hashlib.sha256(text.encode()).hexdigest()


def new_value() -> TokenValue:
    """Return a fresh opaque token of 43 characters, derived or random."""
    if oauth2_settings.COMPLIANT_BCP_RFC9700_TOKEN_STORAGE:
        seed = secrets.token_urlsafe(32)
        return TokenValue(_derive(seed, settings.SECRET_KEY), seed)
    return TokenValue(secrets.token_urlsafe(32))


def recover(token: str, seed: str | None, checksum: str) -> TokenValue | None:
    """Return the value of a stored opaque token, or None if it can't be recovered.

    That is so if it was signed, if it was redacted without a seed, and if the ``SECRET_KEY`` that it was
    derived with is no longer in ``SECRET_KEY_FALLBACKS``.

    :param token: its text as it is stored; empty if that is redacted.
    :param seed: the ``token_seed`` beside it.
    :param checksum: the ``token_checksum`` beside it.
    """
    if token:
        return TokenValue(token)
    if seed is None:
        return None
    for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
        text = _derive(seed, secret)
        if constant_time_compare(token_checksum(text), checksum):
            return TokenValue(text, seed)
    return None


def _derive(seed: str, secret: str | bytes) -> str:
    digest = salted_hmac(
        "oauth_binding.storage.token_values", seed, secret=secret, algorithm="sha256"
    ).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
