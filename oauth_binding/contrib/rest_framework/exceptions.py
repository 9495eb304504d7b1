"""Refusals with the challenge of RFC 6750."""

from __future__ import annotations

from rest_framework.exceptions import APIException
from rest_framework.request import Request

from oauth_binding.contrib.rest_framework.scopes import required_scopes, takes_proofs_alone
from oauth_binding.resource_server.bearer import BearerError


class BearerAPIException(APIException):
    """A request that is refused for its bearer token.

    It is not an ``AuthenticationFailed``: that is answered with the challenge of the first of a view's
    authentication classes, or with 403 if that has none.
    """

    def __init__(self, error: BearerError, request: Request) -> None:
        super().__init__(error.description, error.error)
        self.status_code = error.status
        self._error, self._request = error, request
        if error.status >= 500:
            self.wait = int(error.headers["Retry-After"])

    @property
    def auth_header(self) -> str | None:
        """The challenge, if any; it is made when it is sent, since permissions may ask who the user is."""
        if self._error.status >= 500:
            return None
        view = (self._request.parser_context or {}).get("view")
        if view is not None:
            self._error.takes_proofs_alone = takes_proofs_alone(view.get_permissions())
            if self._error.status == 401:
                self._error.scopes = required_scopes(self._request, view)
        return self._error.challenge(self._request._request)
