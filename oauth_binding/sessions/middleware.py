"""Logging a browser out of the whole site whose login session was ended from elsewhere."""

from __future__ import annotations

from django.http import HttpRequest
from django.utils.deprecation import MiddlewareMixin

from oauth_binding.sessions.browser import follow


class LoginSessionMiddleware(MiddlewareMixin):
    """Logs a browser out whose login session has ended: by its user on another device, or by an operator.

    The pages of the server do that without it. It goes behind ``AuthenticationMiddleware``, and asks the
    database once for each request of a browser that has signed in to an application.
    """

    def process_request(self, request: HttpRequest) -> None:
        """Log the browser out, or note that it was seen: at most once in five minutes."""
        follow(request)
