"""What django-oauth-toolkit computes in UTC, on a site that keeps local times (``USE_TZ = False``).

Without this, the device grant and registration tokens that never expire are a 500 on such a site.
"""

from __future__ import annotations

import functools
from typing import Any

from django.conf import settings
from django.db.models.signals import pre_save
from django.utils import timezone
from oauth2_provider.models import get_access_token_model, get_device_grant_model

from oauth_binding.core import moments


def connect() -> None:
    """Have device grants and registration tokens expire by the kind of moments that the site keeps."""
    if settings.USE_TZ:
        return
    grants = get_device_grant_model()
    for model in (grants, get_access_token_model()):
        pre_save.connect(_keep_expiry, sender=model)
    grants.is_expired = _compared_in_utc(grants.is_expired)


def _keep_expiry(instance: Any, **kwargs: Any) -> None:
    instance.expires = moments.as_kept(instance.expires)


def _compared_in_utc(is_expired: Any) -> Any:
    @functools.wraps(is_expired)
    def is_expired_by_any_clock(grant: Any) -> bool:
        kept = grant.expires
        try:
            if timezone.is_naive(kept):
                grant.expires = timezone.make_aware(kept, timezone.get_default_timezone())
            return bool(is_expired(grant))
        finally:
            grant.expires = kept

    return is_expired_by_any_clock
