"""Ending tokens so that requests which are being answered with them come to no harm.

A row stays until ``cleartokens``, because the request that issued it may not have read it back yet. An
access token without its ``source_refresh_token`` is as good as deleted for what django-oauth-toolkit makes of
a replay. Refresh tokens come first: django-oauth-toolkit locks the two in this order.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from oauth_binding.core.databases import written
from oauth_binding.core.settings import binding_settings
from oauth_binding.models import BoundAccessToken, RevokedToken

#: How far the clocks of the server's hosts may be apart, in seconds.
CLOCK_LEEWAY: Final = 300

_ENDED: Final = datetime(1970, 1, 2, tzinfo=UTC)


def ended() -> datetime:
    """Return what ``expires`` is of an access token that was ended: long ago, whatever a clock says.

    A revocation would otherwise take effect elsewhere as late as the clock there is behind. When it was ended
    is in ``updated``.
    """
    return _ENDED if settings.USE_TZ else _ENDED.replace(tzinfo=None)


def not_ended() -> Q:
    """Return the condition of access tokens that can still be used, or be brought back.

    One that has expired by the clock here can be used where the clock is behind. A replay within the grace
    period brings an expired one back by the refresh token that it comes from.
    """
    oldest = timezone.now() - timedelta(seconds=CLOCK_LEEWAY)
    return Q(expires__gt=oldest) | Q(source_refresh_token__isnull=False)


def revoke_refresh_tokens(refresh_tokens: Any) -> int:
    """Revoke the refresh tokens of a queryset, and return how many were not revoked before."""
    now = timezone.now()
    unrevoked = refresh_tokens.filter(revoked__isnull=True)
    count: int = unrevoked.update(revoked=now, updated=now, access_token=None)
    return count


def expire_access_tokens(access_tokens: Any) -> int:
    """End the access tokens of a queryset: they leave their slots. Return how many they are."""
    if binding_settings.revocation_feed:
        add_to_revocation_feed(access_tokens.filter(jti__isnull=False).only("jti", "expires"))
    count: int = access_tokens.update(
        slot=None, expires=ended(), updated=timezone.now(), source_refresh_token=None
    )
    return count


def add_to_revocation_feed(access_tokens: Iterable[BoundAccessToken]) -> None:
    """Let the revocation feed, where there is one, name the JWTs among some access tokens.

    :param access_tokens: which are about to end.
    """
    if not binding_settings.revocation_feed:
        return
    # Also those that have expired by the clock here, and elsewhere have not.
    oldest = timezone.now() - timedelta(seconds=CLOCK_LEEWAY)
    revoked = [
        RevokedToken(jti=token.jti, expires=token.expires)
        for token in access_tokens
        if token.jti is not None and token.expires > oldest
    ]
    if revoked:
        written(RevokedToken).bulk_create(revoked, ignore_conflicts=True)
