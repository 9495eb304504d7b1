"""What issuing asks of the site's validator: rows, and what django-oauth-toolkit knows about a request."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from oauth2_provider.settings import oauth2_settings

if TYPE_CHECKING:
    from oauthlib.common import Request

    from oauth_binding.models import BoundAccessToken, BoundRefreshToken


class TokenWriter(Protocol):
    """Makes the rows of tokens, in the caller's transaction."""

    def authenticate_user_again(self, request: Request) -> bool:
        """Return whether the password of a password request is still right for its user."""

    def save_unbound_token(self, request: Request, token: dict[str, Any]) -> None:
        """Let django-oauth-toolkit save a token, and bring the answer in line with what it has saved.

        :param token: the token response to be.
        """

    def sign_devices_out(self, bindings: Iterable[Any]) -> None:
        """End all tokens of bindings of a user, on whom the caller's transaction has an exclusive lock.

        :param bindings: their primary keys.
        """

    def set_resources(self, request: Request) -> None:
        """Make ``request.resource`` the list of the granted resources (RFC 8707 section 2.2).

        :raises OAuth2Error: the request asks for another resource than was granted.
        """

    def create_access_token(
        self, request: Request, token: dict[str, Any], source: BoundRefreshToken | None
    ) -> BoundAccessToken:
        """Make the row of a request's new access token.

        :param token: the token response to be.
        :param source: the refresh token that it comes from.
        """

    def create_refresh_token(
        self,
        request: Request,
        text: str,
        access_token: BoundAccessToken,
        predecessor: BoundRefreshToken | None,
    ) -> BoundRefreshToken:
        """Make the row of a request's new refresh token.

        :param text: the refresh token.
        :param predecessor: the one that was consumed for it.
        """

    def sign_id_token_again(self, token: dict[str, Any], request: Request) -> None:
        """Replace the ID token of a token response whose access token has changed.

        :param token: the token response; its ``access_token`` is the one to be answered.
        """


def get_writer() -> TokenWriter:
    """Return the validator that the site has configured."""
    writer: TokenWriter = oauth2_settings.OAUTH2_VALIDATOR_CLASS()
    return writer
