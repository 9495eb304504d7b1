"""Template tags for the page "Your devices"."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import template

from oauth_binding.devices.ago import ago

register = template.Library()


@register.inclusion_tag("oauth_binding/moment.html")
def moment(value: datetime) -> dict[str, Any]:
    """Show how long ago a moment was; the moment itself is shown on hover, and read aloud."""
    return {"moment": value, "ago": ago(value)}
