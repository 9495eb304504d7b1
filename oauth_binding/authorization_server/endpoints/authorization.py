"""The authorization endpoint (RFC 6749 section 3.1)."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from oauth2_provider import views
from oauth2_provider.models import get_application_model
from oauthlib.oauth2.rfc6749.errors import InvalidClientIdError

from oauth_binding.core.toolkit_paths import OAuthToolkitError


class AuthorizationView(views.AuthorizationView):
    """The authorization endpoint (RFC 6749 section 3.1)."""

    def form_valid(self, form: Any) -> HttpResponse:
        try:
            response: HttpResponse = super().form_valid(form)
        except get_application_model().DoesNotExist:
            # Deleted since the page was shown.
            response = self.error_response(OAuthToolkitError(error=InvalidClientIdError()), application=None)
        return response
