"""A check of the queue of logout tokens."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from django.apps import AppConfig
from django.core.checks import CheckMessage, Tags, Warning, register
from django.utils import timezone

from oauth_binding.checks.application_table import DatabaseOutOfReachError, get_applications, has_columns
from oauth_binding.core.databases import write_alias, written
from oauth_binding.models import LogoutNotification

#: How long a logout token can be due if something sends them.
_OVERDUE: Final = timedelta(hours=1)


@register(Tags.models)
def check_logout_queue(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """W027: something sends the logout tokens that are due."""
    try:
        if get_applications() is None or not has_columns(write_alias(LogoutNotification), LogoutNotification):
            return []  # they are not migrated yet
    except DatabaseOutOfReachError:
        return []  # I001 says so
    overdue = written(LogoutNotification).filter(next_attempt__lt=timezone.now() - _OVERDUE)
    if not overdue.exists():
        return []
    return [
        Warning(
            "There are logout tokens that have been due for more than an hour: nobody sends them.",
            hint="Run 'manage.py sendlogouts' every minute.",
            id="oauth_binding.W027",
        )
    ]
