"""Logging a browser out of the whole site if its login session was ended from elsewhere."""

from __future__ import annotations

from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.utils.deprecation import MiddlewareMixin

from oauth_binding.sessions.browser import follow
from oauth_binding.sessions.given_up import given_up_page
from oauth_binding.storage.attempts import is_given_up


class LoginSessionMiddleware(MiddlewareMixin):
    """Logs a browser out whose login session has ended: by its user on another device, or by an operator.

    The pages of the server do that without it. It goes after ``AuthenticationMiddleware``, and asks the
    database once for each request of a browser that has signed in to an application.
    """

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        """Log the browser out, or note that it was seen: at most once in five minutes."""
        try:
            follow(request)
        except OperationalError as error:
            if not is_given_up(error):
                raise
            return given_up_page(request, error)
        return None
