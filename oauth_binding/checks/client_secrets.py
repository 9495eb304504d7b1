"""Checks of the hashers of client secrets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django.apps import AppConfig
from django.contrib.auth.hashers import get_hasher, get_hashers
from django.core.checks import CheckMessage, Error, Tags, register
from oauth2_provider.settings import oauth2_settings

from oauth_binding.authorization_server.toolkit.client_secrets import (
    GeneratedSecretHasher,
    is_generated,
)

#: What sites write into ``PASSWORD_HASHERS``.
HASHER_PATH: Final = "oauth_binding.authorization_server.GeneratedSecretHasher"

#: What they write into ``CLIENT_SECRET_GENERATOR_CLASS``.
GENERATOR_PATH: Final = "oauth_binding.authorization_server.ClientSecretGenerator"


@register(Tags.security)
def check_hashers(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E020, E021 and E026: the hasher of client secrets is installed; the fast one is for generated ones."""
    messages: list[CheckMessage] = []
    if any(isinstance(first, GeneratedSecretHasher) for first in get_hashers()[:1]):
        messages.append(
            Error(
                f"{HASHER_PATH} is the first of PASSWORD_HASHERS, which is for users' passwords.",
                hint="Put it last, behind a hasher for passwords.",
                id="oauth_binding.E020",
            )
        )
    try:
        get_hasher(oauth2_settings.CLIENT_SECRET_HASHER)
    except ValueError:
        messages.append(
            Error(
                "OAUTH2_PROVIDER['CLIENT_SECRET_HASHER'] is "
                f"{oauth2_settings.CLIENT_SECRET_HASHER!r}, which is not the name of a hasher in "
                "PASSWORD_HASHERS.",
                hint=f"For 'oauth_binding_sha256', put {HASHER_PATH!r} last in PASSWORD_HASHERS.",
                id="oauth_binding.E021",
            )
        )
    if GeneratedSecretHasher.algorithm == oauth2_settings.CLIENT_SECRET_HASHER and not _generates_known():
        messages.append(
            Error(
                "OAUTH2_PROVIDER['CLIENT_SECRET_GENERATOR_CLASS'] makes client secrets that can't be "
                "recognized as generated later: none of them gets the fast hash.",
                hint=f"Set it to {GENERATOR_PATH!r}.",
                id="oauth_binding.E026",
            )
        )
    return messages


def _generates_known() -> bool:
    try:
        return is_generated(oauth2_settings.CLIENT_SECRET_GENERATOR_CLASS().hash())
    except (AttributeError, ImportError, TypeError):
        return False
