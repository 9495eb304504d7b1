"""Refusals with the challenge of RFC 6750."""

from __future__ import annotations

from django.http import HttpRequest
from rest_framework.exceptions import APIException

from oauth_binding.resource_server.bearer import BearerError


class BearerAPIException(APIException):
    """A request that is refused for its bearer token.

    It is no ``AuthenticationFailed``: that is answered with the challenge of the first of a view's
    authentication classes, or with 403 where it has none.
    """

    def __init__(self, error: BearerError, request: HttpRequest) -> None:
        super().__init__(error.description, error.error)
        self.status_code = error.status
        if error.status < 500:
            self.auth_header = error.challenge(request)
        else:
            self.wait = int(error.headers["Retry-After"])
