"""The authorization endpoint (RFC 6749 section 3.1)."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from oauth2_provider import views
from oauth2_provider.models import get_application_model
from oauthlib.oauth2.rfc6749.errors import InvalidClientIdError

from oauth_binding.core.toolkit_paths import OAuthToolkitError
from oauth_binding.storage.liveness import live_access_tokens
from oauth_binding.storage.tokens import access_tokens


class AuthorizationView(views.AuthorizationView):
    """The authorization endpoint (RFC 6749 section 3.1).

    With ``approval_prompt=auto`` django-oauth-toolkit asks no user whose live tokens of the application cover
    what is asked for. Here that takes a token that came of the user's consent, and its resources count, too.
    """

    def validate_authorization_request(self, request: HttpRequest) -> Any:
        scopes, credentials = super().validate_authorization_request(request)
        if not _has_consented(request, credentials["client_id"], set(scopes)):
            query = request.GET.copy()
            query["approval_prompt"] = "force"
            request.GET = query  # type: ignore[assignment]
        return scopes, credentials

    def form_valid(self, form: Any) -> HttpResponse:
        try:
            response: HttpResponse = super().form_valid(form)
        except get_application_model().DoesNotExist:
            # Deleted since the page was shown.
            response = self.error_response(OAuthToolkitError(error=InvalidClientIdError()), application=None)
        return response


def _has_consented(request: HttpRequest, client_id: str, scopes: set[str]) -> bool:
    """Return whether a live token of the user and a client covers scopes and the resources of a request.

    What a client has exchanged is no consent to it.
    """
    user: Any = request.user
    asked = {*request.GET.getlist("resource")}
    tokens = access_tokens().filter(
        live_access_tokens(), user=user.pk, application__client_id=client_id, exchange__isnull=True
    )
    return any(
        scopes <= set(scope.split()) and (not resources or (bool(asked) and asked <= set(resources)))
        for scope, resources in tokens.values_list("scope", "resource").iterator()
    )
