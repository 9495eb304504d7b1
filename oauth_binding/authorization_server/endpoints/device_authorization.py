"""The device authorization endpoint (RFC 8628)."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from oauth2_provider import views


class DeviceAuthorizationView(views.DeviceAuthorizationView):
    """The device authorization endpoint (RFC 8628 section 3.1)."""

    def create_device_authorization_response(self, request: HttpRequest) -> tuple[Any, Any, int]:
        headers, body, status = super().create_device_authorization_response(request)
        if status == 200:
            # oauthlib 4 adds the scope, which django-oauth-toolkit does not expect. RFC 8628 has none here.
            body.pop("scope", None)
        return headers, body, status
