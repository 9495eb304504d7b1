"""Access tokens at an API that shares the database with the server that issues them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils.translation import override
from oauth2_provider.settings import oauth2_settings
from oauthlib.common import Request as OAuthlibRequest

from oauth_binding.core.databases import deciding
from oauth_binding.core.settings import binding_settings
from oauth_binding.core.toolkit_paths import OAuthLibCoreMixin
from oauth_binding.proof.server_rules import api_rules
from oauth_binding.resource_server.bearer import BearerAuthenticator, Credentials, InvalidTokenError
from oauth_binding.storage.presented import PROVEN

if TYPE_CHECKING:
    from django.http import HttpRequest

    from oauth_binding.models import BoundAccessToken
    from oauth_binding.proof.constraint import ProofRules


class _Resource(OAuthLibCoreMixin):
    """Has an oauthlib core of its own: django-oauth-toolkit keeps it on the class, and views inherit that."""


class Authenticator(BearerAuthenticator):
    """Finds access tokens in the database, opaque ones and JWTs alike, in one query."""

    @deciding()
    def find_token(self, credentials: Credentials, request: HttpRequest) -> BoundAccessToken:
        # Not with DOT's backend: with OIDC on, oauthlib there takes an ID token for an access token.
        core = _Resource.get_oauthlib_core()
        address = request.build_absolute_uri(request.path)
        headers = {**core.extract_headers(request), PROVEN: credentials.proven}
        oauthlib_request = OAuthlibRequest(address, request.method, None, headers)
        validator = core.server.request_validator
        with override(None):  # a header has no room for a translation
            if not validator.validate_bearer_token(credentials.token, [], oauthlib_request):
                error: dict[str, Any] = vars(oauthlib_request).get("oauth2_error", {})
                description = error.get("error_description", "The access token is invalid.")
                raise InvalidTokenError(str(description))
        token: BoundAccessToken = oauthlib_request.access_token
        return token

    @property
    def proof_rules(self) -> ProofRules:
        return api_rules()

    @property
    def binding_header(self) -> str:
        return binding_settings.binding_header

    @property
    def resources(self) -> list[str]:
        declared = oauth2_settings.OAUTH2_PROTECTED_RESOURCE_IDENTIFIER
        return [str(declared)] if declared else []

    #: django-oauth-toolkit compares the resources of a token with the requested address (RFC 8707).
    takes_other_resources = True
