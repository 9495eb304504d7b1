"""What users and their devices may call a device."""

from __future__ import annotations

from typing import Final

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from oauth_binding.core.display_texts import is_misleading

#: The longest name of a device, in characters.
MAX_NAME_LENGTH: Final = 100


def validate_name(name: str) -> None:
    """Check the name of a device for control characters, including those that turn the direction of a text.

    :param name: of any length; ``MAX_NAME_LENGTH`` is the caller's to check.
    :raises ValidationError: it has some.
    """
    if any(map(is_misleading, name)):
        raise ValidationError(_("A name must not have control characters."), code="control_characters")
