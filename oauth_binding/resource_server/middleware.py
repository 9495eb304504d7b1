"""A middleware that signs in the user of a bearer token."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers

from oauth_binding.resource_server.bearer import BearerError, attach_token, get_authenticator


class BearerTokenMiddleware:
    """Signs the user of a bearer token in for a request, and refuses a request whose token is not valid.

    It takes the place of django-oauth-toolkit's ``OAuth2TokenMiddleware`` and
    ``OAuth2ExtraTokenMiddleware``, and needs no authentication backend. A request without a bearer token is
    let through as it is. Put it after ``AuthenticationMiddleware``: a token that is presented goes before the
    cookie of a session.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        # Only here, as the rest of this module works also where there is no django.contrib.auth.
        from django.contrib.auth.models import AnonymousUser

        self.get_response = get_response
        self.anonymous = AnonymousUser

    def __call__(self, request: HttpRequest) -> HttpResponse:
        try:
            token = get_authenticator().authenticate(request)
        except BearerError as error:
            return error.response(request)
        if token is not None:
            attach_token(request, token)
            request.user = token.user if token.user is not None else self.anonymous()
            # Or AuthenticationMiddleware, and views that are coroutines, would ask the session.
            request._cached_user = request._acached_user = request.user  # type: ignore[attr-defined]
            # No cookie has opened what comes now, so no other site can have made the browser ask for it.
            request._dont_enforce_csrf_checks = True  # type: ignore[attr-defined]
        response = self.get_response(request)
        patch_vary_headers(response, ["Authorization"])
        return response
