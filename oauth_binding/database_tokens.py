"""Access tokens at an API that shares the database with the server that issues them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils.translation import override
from oauth2_provider.views.mixins import OAuthLibMixin
from oauthlib.common import Request as OAuthlibRequest

from oauth_binding.bearer import BearerAuthenticator, InvalidTokenError
from oauth_binding.conf import binding_settings

if TYPE_CHECKING:
    from django.http import HttpRequest

    from oauth_binding.models import BoundAccessToken


class Authenticator(BearerAuthenticator):
    """Finds access tokens in the database, opaque ones and JWTs alike, in one query."""

    def find_token(self, text: str, request: HttpRequest) -> BoundAccessToken:
        # Not by DOT's backend: with OIDC on, oauthlib takes an ID token for an access token there.
        core = OAuthLibMixin.get_oauthlib_core()
        address = request.build_absolute_uri(request.path)
        oauthlib_request = OAuthlibRequest(address, request.method, None, core.extract_headers(request))
        validator = core.server.request_validator
        with override(None):  # a header has no room for a translation
            if not validator.validate_bearer_token(text, [], oauthlib_request):
                error: dict[str, Any] = vars(oauthlib_request).get("oauth2_error", {})
                description = error.get("error_description", "The access token is invalid.")
                raise InvalidTokenError(str(description))
        token: BoundAccessToken = oauthlib_request.access_token
        if token.user is not None and not token.user.is_active:
            raise InvalidTokenError("The access token is invalid.")
        return token

    def requires_presented_binding(self, token: BoundAccessToken) -> bool:
        return token.application is not None and token.application.require_presented_binding

    @property
    def binding_header(self) -> str:
        return binding_settings.binding_header
