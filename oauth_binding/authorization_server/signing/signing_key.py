"""The key that signs: one of ``SIGNING_KEYS``, or django-oauth-toolkit's ``OIDC_RSA_PRIVATE_KEY``."""

from __future__ import annotations

import functools
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone
from oauth2_provider.settings import oauth2_settings

from oauth_binding.authorization_server.signing import key_file
from oauth_binding.authorization_server.signing.key_file import SigningKey
from oauth_binding.core.settings import binding_settings
from oauth_binding.core.toolkit_paths import jwk_from_pem


def get_signing_key(algorithm: str = "") -> SigningKey:
    """Return the key that signs now.

    :param algorithm: RS256, ES256 or EdDSA; empty for the site's default.
    :raises ImproperlyConfigured: there is none (``manage.py check``: E008, E009, E015).
    """
    algorithm = algorithm or binding_settings.signing_algorithm
    key = key_file.current_key(key_file.load(), algorithm, _now())
    if key is not None:
        return key
    if algorithm == "RS256":
        return get_toolkit_key()
    raise ImproperlyConfigured(f"OAUTH_BINDING['SIGNING_KEYS'] has no {algorithm} key that is in use now.")


def get_toolkit_key() -> SigningKey:
    """Return django-oauth-toolkit's own key.

    :raises ImproperlyConfigured: ``OIDC_RSA_PRIVATE_KEY`` is unset or is not an RSA private key in PEM.
    """
    pem = oauth2_settings.OIDC_RSA_PRIVATE_KEY
    if not pem:
        raise ImproperlyConfigured("OAUTH2_PROVIDER['OIDC_RSA_PRIVATE_KEY'] is not set.")
    return _parse(pem)


def get_published_jwks() -> list[dict[str, Any]]:
    """Return the public JWKs of ``SIGNING_KEYS`` that verifiers may need now.

    :raises KeyFileError: the file can't be used.
    """
    now = _now()
    return [key.public_jwk for key in key_file.load() if key_file.is_published(key, now)]


def _now() -> int:
    return int(timezone.now().timestamp())


@functools.lru_cache(maxsize=8)
def _parse(pem: str) -> SigningKey:
    try:
        private_key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        # "from None": the parser's message may quote the key.
        raise ImproperlyConfigured(
            f"OAUTH2_PROVIDER['OIDC_RSA_PRIVATE_KEY'] can't be read as PEM ({type(error).__name__})."
        ) from None
    if not isinstance(private_key, RSAPrivateKey):
        raise ImproperlyConfigured("OAUTH2_PROVIDER['OIDC_RSA_PRIVATE_KEY'] is not an RSA key.")
    return SigningKey(jwk_from_pem(pem).thumbprint(), "RS256", private_key)
