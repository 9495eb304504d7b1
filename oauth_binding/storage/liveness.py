"""Which tokens are live; as conditions of queries, and of rows that have been read."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import Q
from django.utils import timezone
from oauth2_provider.models import refresh_token_expire_timedelta


def live_access_tokens() -> Q:
    """Return the condition of access tokens that are neither expired nor revoked."""
    return Q(expires__gt=timezone.now())


def live_refresh_tokens() -> Q:
    """Return the condition of refresh tokens that can still be used.

    :raises ImproperlyConfigured: ``REFRESH_TOKEN_EXPIRE_SECONDS`` is malformed.
    """
    # The same rules by which django-oauth-toolkit accepts one.
    live = Q(revoked__isnull=True, access_token__isnull=False)
    lifetime = refresh_token_expire_timedelta()
    return live if lifetime is None else live & Q(access_token__expires__gt=timezone.now() - lifetime)


def is_live(expires: datetime | None) -> bool:
    """Return whether what expires then can still be used; None stands for never."""
    return expires is None or expires > timezone.now()


def refresh_token_expiry(access_token: Any) -> datetime | None:
    """Return when the refresh token of an access token expires, or None where it never does.

    :raises ImproperlyConfigured: ``REFRESH_TOKEN_EXPIRE_SECONDS`` is malformed.
    """
    lifetime = refresh_token_expire_timedelta()
    expires: datetime | None = None if lifetime is None else access_token.expires + lifetime
    return expires
