"""The token exchange grant (RFC 8693) for oauthlib's servers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from oauth2_provider.models import get_access_token_model
from oauthlib.oauth2.rfc6749.errors import OAuth2Error
from oauthlib.oauth2.rfc6749.grant_types.base import GrantTypeBase

from oauth_binding.authorization_server.exchange.parameters import (
    TYPE_REFRESH,
    check_parameters,
    issued_token_type,
)
from oauth_binding.authorization_server.exchange.policy import authorize, may_exchange
from oauth_binding.authorization_server.issuing.client_authentication import require_client
from oauth_binding.authorization_server.issuing.request_state import state_of
from oauth_binding.core.errors import UnauthorizedClientError
from oauth_binding.core.reasons import Reason
from oauth_binding.core.signals import send_after_commit, token_exchanged
from oauth_binding.storage.tokens import tokens_database

if TYPE_CHECKING:
    from oauthlib.common import Request

    from oauth_binding.models import TokenExchangeRule


class TokenExchangeGrant(GrantTypeBase):
    """Exchanges a token for another one. It is shared by all requests, and keeps no state of theirs."""

    def create_token_response(self, request: Request, token_handler: Any) -> tuple[Any, str, int]:
        """Return headers, body and status of the answer (RFC 8693 section 2.2)."""
        headers = {"Content-Type": "application/json", "Cache-Control": "no-store", "Pragma": "no-cache"}
        try:
            rule = self.validate_token_request(request)
        except OAuth2Error as error:
            headers.update(error.headers)
            return headers, error.json, error.status_code
        request.refresh_token = None  # what the client calls by this name is not the token to be issued
        token = token_handler.create_token(request, refresh_token=rule.refresh_tokens)
        token["expires_in"] = request.expires_in
        token["issued_token_type"] = issued_token_type(request)
        self.request_validator.save_token(token, request)
        self._announce(request, token["scope"].split())
        if token["issued_token_type"] == TYPE_REFRESH:
            # The access token of the pair is not in the answer (RFC 8693 section 2.2.1).
            token["access_token"], token["token_type"] = token.pop("refresh_token"), "N_A"
            del token["expires_in"]
        return headers, json.dumps(token), 200

    def validate_token_request(self, request: Request) -> TokenExchangeRule:
        """Authenticate the client, check the request, and return the rule that allows it.

        :raises OAuth2Error: the request can't be answered with a token.
        """
        require_client(self.request_validator, request)
        self.validate_grant_type(request)
        if not may_exchange(request.client):
            raise UnauthorizedClientError(
                Reason.EXCHANGE_NOT_ALLOWED,
                description="A public client may not exchange tokens.",
                request=request,
            )
        check_parameters(request)
        return authorize(request)

    def _announce(self, request: Request, scopes: list[str]) -> None:
        exchange = state_of(request).exchange
        assert exchange is not None  # noqa: S101
        send_after_commit(
            token_exchanged,
            get_access_token_model(),
            tokens_database(),
            client=request.client,
            subject_client=exchange.record.subject_client,
            user=request.user,
            act=exchange.record.act,
            scopes=scopes,
            facts=state_of(request).facts,
        )
