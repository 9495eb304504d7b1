"""Moments in the form in which the site keeps them: aware, or without USE_TZ by the clock of ``TIME_ZONE``.

The two can't be compared, and most databases refuse the other form. All moments that do not come from
``django.utils.timezone.now()`` or a row go through here.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from django.conf import settings
from django.utils import timezone

#: The last one that local clocks keep: so near to the end of all dates, time zones do not matter.
_LATEST: Final = datetime(9999, 12, 30)  # noqa: DTZ001


def at(seconds: float) -> datetime:
    """Return a moment as the site keeps it.

    :param seconds: since the epoch (RFC 7519 section 2, NumericDate), no later than ``LAST_DATE`` in
        core/jose/claims.py.
    """
    return as_kept(datetime.fromtimestamp(seconds, UTC))


def as_kept(moment: datetime) -> datetime:
    """Return a moment as the site keeps it.

    :param moment: an aware one; any other already has the form in which it is kept.
    """
    if settings.USE_TZ or timezone.is_naive(moment):
        return moment
    try:
        return min(timezone.make_naive(moment, timezone.get_default_timezone()), _LATEST)
    except OverflowError:
        return _LATEST  # the year 10000 there
