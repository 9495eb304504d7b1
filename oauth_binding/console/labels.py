"""What the console calls a binding."""

from __future__ import annotations

from django.utils.translation import gettext

from oauth_binding.models import TokenBinding


def binding_label(binding: TokenBinding) -> str:
    """Return the name of a binding, or else the beginning of its reference; never its value."""
    return binding.label or gettext("(shared)")
