"""RP-initiated logout (OpenID Connect RP-Initiated Logout 1.0)."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from oauth2_provider import views
from oauth2_provider.settings import oauth2_settings

from oauth_binding.authorization_server.revocation.revoke import revoke_tokens_of_clients


class RPInitiatedLogoutView(views.RPInitiatedLogoutView):
    """Logs a user out, and ends what was exchanged from the tokens that django-oauth-toolkit deletes."""

    def do_logout(
        self,
        application: Any = None,
        post_logout_redirect_uri: str | None = None,
        state: str | None = None,
        token_user: Any = None,
    ) -> HttpResponse:
        user = token_user or self.request.user
        if oauth2_settings.OIDC_RP_INITIATED_LOGOUT_DELETE_TOKENS and user.is_authenticated:
            revoke_tokens_of_clients(
                user,
                client_types=self.token_deletion_client_types,
                grant_types=self.token_deletion_grant_types,
            )
        response: HttpResponse = super().do_logout(application, post_logout_redirect_uri, state, token_user)
        return response
