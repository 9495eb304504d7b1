"""Why an access token of another server is refused."""

from __future__ import annotations

from oauth_binding.resource_server.bearer import InvalidTokenError, UnavailableError


class RefusedTokenError(InvalidTokenError):
    """``invalid_token``; the client is told no more than that, and the reason goes into the log."""

    def __init__(self, reason: str, description: str = "The access token is invalid.") -> None:
        """:param reason: for the log; no part of the token."""
        super().__init__(description)
        self.reason = reason


class ExpiredTokenError(RefusedTokenError):
    """``invalid_token``: it has expired."""

    def __init__(self) -> None:
        super().__init__("it has expired", "The access token has expired.")


class ServerUnavailableError(UnavailableError):
    """The server that issues the tokens does not answer, and what is known without it is not enough."""

    def __init__(self) -> None:
        super().__init__("The server that issues the access tokens does not answer.")
