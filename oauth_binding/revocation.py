"""Ending tokens so that requests which are being answered with them come to no harm.

A row stays until ``cleartokens``, because the request that issued it may not have read it back yet. An
access token without its ``source_refresh_token`` is as good as deleted for what django-oauth-toolkit makes of
a replay. Refresh tokens come first: django-oauth-toolkit locks the two in this order.
"""

from __future__ import annotations

from typing import Any

from django.db import router, transaction
from django.utils import timezone
from oauth2_provider.models import get_access_token_model, get_refresh_token_model

from oauth_binding.models import TokenBinding


def revoke_binding(binding: TokenBinding) -> None:
    """Revoke all access and refresh tokens of a binding: sign a device out.

    A request that is being answered for the same binding is waited for, and its tokens are revoked, too.
    """
    database = router.db_for_write(get_access_token_model())
    with transaction.atomic(using=database):
        # Issuing locks the same row.
        TokenBinding.objects.using(database).select_for_update().filter(pk=binding.pk).first()
        revoke_refresh_tokens(get_refresh_token_model().objects.using(database).filter(binding=binding))
        access_tokens = get_access_token_model().objects.using(database).filter(binding=binding)
        expire_access_tokens(access_tokens.filter(expires__gt=timezone.now()))


def revoke_refresh_tokens(refresh_tokens: Any) -> int:
    """Revoke the refresh tokens of a queryset, and return how many were not revoked before."""
    now = timezone.now()
    unrevoked = refresh_tokens.filter(revoked__isnull=True)
    count: int = unrevoked.update(revoked=now, updated=now, access_token=None)
    return count


def expire_access_tokens(access_tokens: Any) -> int:
    """Let the access tokens of a queryset expire now and leave their slots, and return how many they are."""
    now = timezone.now()
    count: int = access_tokens.update(slot=None, expires=now, updated=now, source_refresh_token=None)
    return count
