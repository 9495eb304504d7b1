"""Access tokens at an API in a project that is not the server."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from oauth_binding.core.jose.jws import is_jwt
from oauth_binding.core.log_lines import one_line
from oauth_binding.proof.constraint import ProofRules
from oauth_binding.proof.replay import CacheStore
from oauth_binding.resource_server.bearer import BearerAuthenticator, Credentials
from oauth_binding.resource_server.errors import RefusedTokenError
from oauth_binding.resource_server.introspection_client import introspect
from oauth_binding.resource_server.jwt_validation import validate
from oauth_binding.resource_server.revocation_feed_client import revocation_feed
from oauth_binding.resource_server.settings import resource_server_settings
from oauth_binding.resource_server.verified_token import AccessToken

if TYPE_CHECKING:
    from django.http import HttpRequest

logger = logging.getLogger(__name__)


class Authenticator(BearerAuthenticator):
    """Validates access tokens here, or asks the server that issued them, as ``VALIDATION`` says.

    - ``local``: JWTs only, validated here and, if there is a ``REVOCATION_FEED_URL``, looked up in the feed.
    - ``introspection``: the server is asked about every token.
    - ``local+introspection``: JWTs are validated here, and then looked up in the feed or, without one, asked
      about; the server is asked about all other tokens.
    """

    def find_token(self, credentials: Credentials, request: HttpRequest) -> AccessToken:
        try:
            token = AccessToken(_get_claims(credentials.token))
            token.user = resource_server_settings.get_user(token)
            if not getattr(token.user, "is_active", True):
                raise RefusedTokenError("its user is not active")
        except RefusedTokenError as error:
            logger.info("An access token is refused: %s", one_line(error.reason))
            raise
        if resource_server_settings.require_presented_binding:
            self.check_presented_binding(request, token)
        return token

    @property
    def proof_rules(self) -> ProofRules:
        return ProofRules(
            resource_server_settings.dpop_algorithms,
            nonces=resource_server_settings.dpop_nonces,
            store=CacheStore(resource_server_settings.dpop_replay_cache),
        )

    @property
    def binding_header(self) -> str:
        return resource_server_settings.binding_header

    @property
    def resources(self) -> frozenset[str]:
        return resource_server_settings.audience

    @property
    def takes_other_resources(self) -> bool:
        return not resource_server_settings.audience


def _get_claims(text: str) -> dict[str, Any]:
    is_local = resource_server_settings.validates_locally
    if not is_local or (resource_server_settings.introspects and not is_jwt(text)):
        return introspect(text)
    claims = validate(text)
    if feed_url := resource_server_settings.revocation_feed_url:
        revocation_feed(feed_url).check(claims)
    elif resource_server_settings.introspects:
        answer = introspect(text)
        if "cnf" in answer:  # the JWT may not name its key
            claims["cnf"] = answer["cnf"]
    return claims
