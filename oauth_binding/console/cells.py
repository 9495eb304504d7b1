"""What is shown in the cells of lists, so that they fit a page."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html

from oauth_binding.models.sightings import Sighted


def two_lines(first: str, second: str) -> str:
    """Return a text and, in smaller print below, another one, which may be empty."""
    return format_html('{}<div class="small quiet">{}</div>', first, second) if second else first


def short_moment(moment: datetime) -> str:
    """Return a moment in digits only, in the time zone of whoever looks."""
    return date_format(
        timezone.localtime(moment) if timezone.is_aware(moment) else moment, "SHORT_DATETIME_FORMAT"
    )


def where(sighted: Sighted) -> str:
    """Return where something was last seen, as far as that is kept: the address and the place."""
    return ", ".join(part for part in (sighted.last_address, sighted.last_place) if part)
