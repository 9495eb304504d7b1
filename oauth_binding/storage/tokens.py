"""The rows of access and refresh tokens, where they are written."""

from __future__ import annotations

from typing import Any

from django.db.models import Q
from oauth2_provider.models import get_access_token_model, get_refresh_token_model
from oauth2_provider.settings import oauth2_settings

from oauth_binding.core.databases import write_alias, written


def tokens_database() -> str:
    """Return the alias of the database that tokens are written to."""
    return write_alias(get_access_token_model())


def access_tokens() -> Any:
    """Return a queryset of the access tokens."""
    return written(get_access_token_model())


def refresh_tokens() -> Any:
    """Return a queryset of the refresh tokens."""
    return written(get_refresh_token_model())


def not_registration_token() -> Q:
    """Return the condition of access tokens that are not a client's registration token (RFC 7592 section 3).

    django-oauth-toolkit keeps those among access tokens; but whoever registered a client is not signed in by
    it.
    """
    return ~Q(scope=oauth2_settings.DCR_REGISTRATION_SCOPE)
