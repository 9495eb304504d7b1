"""The key that signs access tokens: django-oauth-toolkit's ``OIDC_RSA_PRIVATE_KEY``."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from django.core.exceptions import ImproperlyConfigured
from oauth2_provider.settings import oauth2_settings
from oauth2_provider.utils import jwk_from_pem

#: The JWS algorithm of access tokens (RFC 7518 section 3.3).
ALGORITHM: Final = "RS256"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A parsed private key and its ``kid``, the RFC 7638 thumbprint that the JWKS endpoint publishes."""

    kid: str
    private_key: RSAPrivateKey

    def __repr__(self) -> str:
        return f"<SigningKey {self.kid}>"


def get_signing_key() -> SigningKey:
    """Return the key for new access tokens.

    :raises ImproperlyConfigured: ``OIDC_RSA_PRIVATE_KEY`` is unset or is not an RSA private key in PEM.
    """
    pem = oauth2_settings.OIDC_RSA_PRIVATE_KEY
    if not pem:
        raise ImproperlyConfigured("OAUTH2_PROVIDER['OIDC_RSA_PRIVATE_KEY'] is not set.")
    return _parse(pem)


@functools.lru_cache(maxsize=8)
def _parse(pem: str) -> SigningKey:
    try:
        private_key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError) as error:
        # "from None": the parser's message may quote the key.
        raise ImproperlyConfigured(
            f"OAUTH2_PROVIDER['OIDC_RSA_PRIVATE_KEY'] can't be read as PEM ({type(error).__name__})."
        ) from None
    if not isinstance(private_key, RSAPrivateKey):
        raise ImproperlyConfigured("OAUTH2_PROVIDER['OIDC_RSA_PRIVATE_KEY'] is not an RSA key.")
    return SigningKey(kid=jwk_from_pem(pem).thumbprint(), private_key=private_key)
