"""Clients that nobody has added in the admin: their token policy begins with the site's limits."""

from __future__ import annotations

from typing import Any

from django.db.models.signals import post_save
from oauth2_provider.models import get_application_model

from oauth_binding.core.settings import binding_settings
from oauth_binding.models import TokenPolicy


def connect() -> None:
    """Limit the applications that register themselves, or whose metadata document was read."""
    post_save.connect(_limit, sender=get_application_model())


def _limit(instance: Any, created: bool, raw: bool, using: str, **kwargs: Any) -> None:
    limits = binding_settings.registration_limits
    is_registered = instance.registration_source != instance.RegistrationSource.MANUAL
    if created and not raw and is_registered and limits:
        instance.token_policy = TokenPolicy.objects.using(using).create(application=instance, **limits)
