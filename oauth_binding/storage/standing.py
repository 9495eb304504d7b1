"""Standing: whether those that a credential stands for may use it. Each door asks; nothing is written."""

from __future__ import annotations

from typing import Any


def has_standing(user: Any, application: Any, request: Any) -> bool:
    """Return whether a user is active, and an application usable.

    A user who was deactivated, be it by SQL alone, is so at once. What may never be used again, also when the
    user is active again, has to be ended.

    :param user: None where the client acts for itself.
    :param application: None for what belongs to none.
    :param request: oauthlib's, for the application's ``is_usable()``.
    """
    return (user is None or bool(user.is_active)) and (
        application is None or bool(application.is_usable(request))
    )
