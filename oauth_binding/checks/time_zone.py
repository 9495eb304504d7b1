"""Checks of how the site keeps moments."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Tags, Warning, register
from django.utils import timezone


@register(Tags.models)
def check_time_zone(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """W020: if the site keeps local times, its clocks are never put back."""
    if settings.USE_TZ:
        return []
    zone = timezone.get_default_timezone()
    now = datetime.now(UTC)
    if len({(now + timedelta(weeks=week)).astimezone(zone).utcoffset() for week in range(53)}) == 1:
        return []
    return [
        Warning(
            f"USE_TZ is False, and clocks in TIME_ZONE {settings.TIME_ZONE!r} are put forward and back: once "
            "a year tokens live an hour longer than they should, and once an hour less.",
            hint='Set USE_TZ to True, or TIME_ZONE to "UTC".',
            id="oauth_binding.W020",
        )
    ]
