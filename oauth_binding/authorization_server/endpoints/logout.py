"""RP-initiated logout (OpenID Connect RP-Initiated Logout 1.0)."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from oauth2_provider import views
from oauth2_provider.settings import oauth2_settings

from oauth_binding.authorization_server.revocation.login_sessions import end_session
from oauth_binding.authorization_server.revocation.revoke import revoke_tokens_of_clients
from oauth_binding.core.jose import jws
from oauth_binding.models import LoginSession, TerminationReason
from oauth_binding.sessions.browser import current
from oauth_binding.storage import login_sessions


class RPInitiatedLogoutView(views.RPInitiatedLogoutView):
    """Logs a user out, and ends whatever the policies of the applications say a logout ends.

    For applications whose policy says nothing, django-oauth-toolkit deletes all tokens of the user, on
    whatever device; what was exchanged from them ends, too.
    """

    token_deletion_client_types: list[str] = views.RPInitiatedLogoutView.token_deletion_client_types
    token_deletion_grant_types: list[str] = views.RPInitiatedLogoutView.token_deletion_grant_types

    #: The login session that the ``id_token_hint`` was issued in, if there was one.
    hinted_session: LoginSession | None = None

    def validate_logout_request_user(self, id_token_hint: str | None, client_id: str | None) -> Any:
        id_token = super().validate_logout_request_user(id_token_hint, client_id)
        if id_token is not None and id_token_hint:
            # It has been verified; but if the key is the client's secret, the client could have written the
            # sid itself.
            hinted = login_sessions.find(jws.unverified_claims(id_token_hint).get("sid"))
            if hinted is not None and login_sessions.has_client(hinted, id_token.application):
                self.hinted_session = hinted
        return id_token

    def must_prompt(self, token_user: Any) -> bool:
        """Return whether the user is asked: also if the ID token is from another browser (section 2)."""
        if super().must_prompt(token_user):
            return True
        is_signed_in = self.request.user.is_authenticated
        return is_signed_in and self.hinted_session not in {None, current(self.request)}

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
        if self.hinted_session is not None and not self.request.user.is_authenticated:
            # The application's request may have come without the cookie of the browser.
            end_session(self.hinted_session, TerminationReason.LOGOUT)
        # It would also delete those of applications whose policy says otherwise.
        self.token_deletion_client_types, self.token_deletion_grant_types = [], []
        response: HttpResponse = super().do_logout(application, post_logout_redirect_uri, state, token_user)
        return response
