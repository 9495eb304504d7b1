"""Ending tokens so that requests which are being answered with them come to no harm.

A row stays until ``cleartokens``, because the request that issued it may not have read it back yet. An
access token without its ``source_refresh_token`` is as good as deleted for what django-oauth-toolkit makes of
a replay. Refresh tokens come first: django-oauth-toolkit locks the two in this order.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import models
from django.db.models import Q
from django.utils import timezone

from oauth_binding.core.databases import written
from oauth_binding.core.settings import binding_settings
from oauth_binding.models import BoundAccessToken, RevokedToken
from oauth_binding.storage.liveness import live_access_tokens


def not_ended() -> Q:
    """Return the condition of access tokens that can still be used, or be brought back.

    A replay within the grace period brings an expired one back by the refresh token that it comes from.
    """
    return live_access_tokens() | Q(source_refresh_token__isnull=False)


def revoke_refresh_tokens(refresh_tokens: Any) -> int:
    """Revoke the refresh tokens of a queryset, and return how many were not revoked before."""
    now = timezone.now()
    unrevoked = refresh_tokens.filter(revoked__isnull=True)
    count: int = unrevoked.update(revoked=now, updated=now, access_token=None)
    return count


def expire_access_tokens(access_tokens: Any) -> int:
    """Let the access tokens of a queryset expire now and leave their slots, and return how many they are."""
    now = timezone.now()
    if binding_settings.revocation_feed:
        add_to_revocation_feed(access_tokens.filter(live_access_tokens(), jti__isnull=False))
    count: int = access_tokens.update(slot=None, expires=now, updated=now, source_refresh_token=None)
    return count


def add_to_revocation_feed(access_tokens: Iterable[BoundAccessToken]) -> None:
    """Let the revocation feed, where there is one, name the JWTs among some access tokens.

    :param access_tokens: which are about to end.
    """
    if not binding_settings.revocation_feed:
        return
    now = timezone.now()
    revoked = [
        RevokedToken(jti=token.jti, expires=token.expires)
        for token in access_tokens
        if token.jti is not None and token.expires > now
    ]
    if revoked:
        written(RevokedToken).bulk_create(revoked, ignore_conflicts=True)


def add_deleted_to_revocation_feed(sender: type[models.Model], instance: Any, **kwargs: Any) -> None:
    """Let the feed name a deleted access token, on ``pre_delete``: some revoking is deleting."""
    add_to_revocation_feed([instance])
