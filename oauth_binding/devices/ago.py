"""How long ago something was, in words."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from django.utils import timezone
from django.utils.timesince import timesince
from django.utils.translation import gettext, ngettext_lazy

# Whole phrases, not "%s ago" around Django's: in many languages, that needs a different case.
_PHRASES: Final[dict[str, Any]] = {
    "year": ngettext_lazy("%(num)d year ago", "%(num)d years ago", "num"),
    "month": ngettext_lazy("%(num)d month ago", "%(num)d months ago", "num"),
    "week": ngettext_lazy("%(num)d week ago", "%(num)d weeks ago", "num"),
    "day": ngettext_lazy("%(num)d day ago", "%(num)d days ago", "num"),
    "hour": ngettext_lazy("%(num)d hour ago", "%(num)d hours ago", "num"),
    "minute": ngettext_lazy("%(num)d minute ago", "%(num)d minutes ago", "num"),
}


def ago(moment: datetime) -> str:
    """Return how long ago a moment was, in the active language ("3 hours ago").

    :param moment: with or without a time zone, according to ``USE_TZ``. One in the future, by another
        machine's clock, was just now.
    """
    now = timezone.now()
    if now - moment < timedelta(minutes=1):
        return gettext("just now")
    return timesince(moment, now, time_strings=_PHRASES, depth=1)
