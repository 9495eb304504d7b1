"""Ending tokens so that requests which are being answered with them come to no harm.

A row stays until ``cleartokens``, because the request that issued it may not have read it back yet. An
access token without its ``source_refresh_token`` is as good as deleted for what django-oauth-toolkit makes of
a replay. Refresh tokens come first: django-oauth-toolkit locks the two in this order.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from django.db import OperationalError, models, router, transaction
from django.db.models import Q
from django.utils import timezone
from oauth2_provider.models import get_access_token_model, get_refresh_token_model

from oauth_binding.models import TokenBinding

#: How often revoking is tried where the database gives it up for another transaction.
MAX_ATTEMPTS: Final = 5


def revoke_binding(binding: TokenBinding) -> None:
    """Revoke all access and refresh tokens of a binding: sign a device out.

    A request that is being answered for the same binding is waited for, and its tokens are revoked, too.
    """
    _revoke_locked(binding, Q(binding=binding), Q(binding=binding, expires__gt=timezone.now()))


def revoke_bound_token(token: str, application: models.Model) -> bool:
    """Revoke a bound access or refresh token and the one it was issued with (RFC 7009 section 2.1).

    Return whether the application has such a token. django-oauth-toolkit deletes the rows of what it revokes,
    and on MariaDB its transaction is then given up now and then for one that issues.
    """
    lookup = {
        "token_checksum": hashlib.sha256(token.encode()).hexdigest(),
        "application": application,
        "binding__isnull": False,
    }
    access = _access_tokens().select_related("binding").filter(**lookup).first()
    if access is not None:
        _revoke_locked(access.binding, Q(access_token=access), Q(pk=access.pk))
        return True
    refresh = _refresh_tokens().select_related("binding").filter(**lookup, revoked__isnull=True).first()
    if refresh is not None:
        _revoke_locked(refresh.binding, Q(pk=refresh.pk), Q(pk=refresh.access_token_id))
        return True
    return False


def _revoke_locked(binding: TokenBinding, refresh_tokens: Q, access_tokens: Q) -> None:
    """Revoke tokens of a binding under the lock that issuing takes, too."""
    database = router.db_for_write(get_access_token_model())
    for attempt in range(1, MAX_ATTEMPTS + 1):
        try:
            with transaction.atomic(using=database):
                TokenBinding.objects.using(database).select_for_update().filter(pk=binding.pk).first()
                revoke_refresh_tokens(_refresh_tokens().filter(refresh_tokens))
                expire_access_tokens(_access_tokens().filter(access_tokens))
            return
        except OperationalError:
            # A deadlock or serialization failure; in a transaction of the caller's nothing can be retried.
            if attempt == MAX_ATTEMPTS or transaction.get_connection(database).in_atomic_block:
                raise


def _access_tokens() -> Any:
    model = get_access_token_model()
    return model.objects.using(router.db_for_write(model))


def _refresh_tokens() -> Any:
    model = get_refresh_token_model()
    return model.objects.using(router.db_for_write(model))


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
