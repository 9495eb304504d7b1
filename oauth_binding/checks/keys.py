"""Checks of the keys that sign."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone
from oauth2_provider.settings import oauth2_settings

from oauth_binding.authorization_server.signing import key_file
from oauth_binding.authorization_server.signing.key_file import FileKey, KeyFileError, current_key
from oauth_binding.authorization_server.signing.signing_key import get_signing_key, get_toolkit_key
from oauth_binding.core.jose.algorithms import MIN_RSA_BITS, SIGNING_ALGORITHMS
from oauth_binding.core.settings import binding_settings

#: How long before the end of a key without a successor there is a warning, in seconds.
EXPIRY_WARNING: Final = 7 * 24 * 60 * 60


@register(Tags.security)
def check_signing_key(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E008, E009, E015, W003, W005 and W023: the signing keys can be used, and are sound."""
    messages = list(_check_toolkit_key())
    user_settings: Any = binding_settings.user_settings
    if not isinstance(user_settings, dict):
        return messages  # E005 says so
    messages += _check_key_file()
    # An algorithm that nobody chose matters only to those who have JWT applications.
    if user_settings.get("SIGNING_ALGORITHM") in SIGNING_ALGORITHMS:
        messages += check_algorithm(binding_settings.signing_algorithm, "The site's default")
    return messages


def _check_toolkit_key() -> Iterator[CheckMessage]:
    if not oauth2_settings.OIDC_RSA_PRIVATE_KEY:
        return
    try:
        private_key = get_toolkit_key().private_key
    except ImproperlyConfigured as error:
        yield Error(str(error), hint="Give an RSA private key in PEM.", id="oauth_binding.E008")
        return
    if isinstance(private_key, RSAPrivateKey) and private_key.key_size < MIN_RSA_BITS:
        yield Warning(
            f"OAUTH2_PROVIDER['OIDC_RSA_PRIVATE_KEY'] has {private_key.key_size} bits: "
            f"RS256 asks for {MIN_RSA_BITS} or more.",
            hint="Replace it, and keep it in OIDC_RSA_PRIVATE_KEYS_INACTIVE until its tokens have expired.",
            id="oauth_binding.W005",
        )


def _check_key_file() -> Iterator[CheckMessage]:
    path = binding_settings.signing_keys
    if path is None or not path.is_absolute():
        return  # of the latter, E016 says so
    try:
        key_file.read(path)
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        yield Error(
            f"The signing keys in {path} can't be used: {error}.",
            hint="Make the file with 'manage.py signingkeys create', or correct it.",
            id="oauth_binding.E015",
        )
        return
    if os.name == "posix" and mode & stat.S_IRWXO:
        yield Warning(
            f"Every user of this machine has access to the signing keys in {path}.",
            hint=f"Run 'chmod o= {path}'.",
            id="oauth_binding.W003",
        )


def check_algorithm(algorithm: str, whose: str) -> Iterator[CheckMessage]:
    try:
        get_signing_key(algorithm)
    except KeyFileError:
        pass  # E015 says so
    except ImproperlyConfigured as error:
        announced = key_file.announced_key(key_file.load(), algorithm, _now())
        if announced is not None:
            yield _announced(announced, whose)
            return
        hint = (
            f"Make a key with 'manage.py signingkeys create --algorithm {algorithm}'. It is announced first."
        )
        if algorithm == "RS256":
            hint = "Set OAUTH2_PROVIDER['OIDC_RSA_PRIVATE_KEY'] to an RSA private key in PEM."
        yield Error(
            f"{whose} algorithm of JWT access tokens is {algorithm}, but no key can sign: {error}",
            hint=hint,
            id="oauth_binding.E009",
        )


def _announced(key: FileKey, whose: str) -> CheckMessage:
    begins = datetime.fromtimestamp(key.used_from, tz=UTC)
    return Warning(
        f"{whose} algorithm of JWT access tokens is {key.algorithm}, whose first key is announced, and signs "
        f"from {begins:%Y-%m-%d %H:%M} UTC on. Until then, requests for such tokens are answered 503.",
        hint="Wait, or choose another algorithm until then. Where no API has read the JWK set yet, a key "
        "made with --announce-for 0 signs at once.",
        id="oauth_binding.W023",
    )


def check_successor(algorithm: str) -> Iterator[CheckMessage]:
    try:
        keys = key_file.load()
    except KeyFileError:
        return  # E015 says so
    now = _now()
    key = current_key(keys, algorithm, now)
    if key is None or key.used_until is None or key.used_until > now + EXPIRY_WARNING:
        return
    if current_key(keys, algorithm, key.used_until):
        return
    if algorithm == "RS256" and oauth2_settings.OIDC_RSA_PRIVATE_KEY:
        return
    yield Warning(
        f"The {algorithm} key {key.kid} is used for no longer than a week, and has no successor.",
        hint=f"Make one with 'manage.py signingkeys create --algorithm {algorithm}'.",
        id="oauth_binding.W004",
    )


def _now() -> int:
    return int(timezone.now().timestamp())
