"""What the permissions of django-oauth-toolkit ask for."""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request

from oauth_binding.core.toolkit_paths import TokenHasScope


def required_scopes(request: Request, view: Any) -> list[str]:
    """Return the scopes that django-oauth-toolkit's permissions ask for on behalf of a view.

    Permissions that are combined with ``|`` ask for none in particular.
    """
    scopes: list[str] = []
    for permission in view.get_permissions():
        if isinstance(permission, TokenHasScope):
            scopes += permission.get_scopes(request, view)
    return list(dict.fromkeys(scopes))
