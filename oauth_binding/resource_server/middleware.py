"""A middleware that signs in the user of a bearer token."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.urls import Resolver404, ResolverMatch, resolve
from django.utils.cache import patch_vary_headers

from oauth_binding.core.addresses import NAMESPACE, is_of_server
from oauth_binding.resource_server.bearer import (
    BearerError,
    InsufficientScopeError,
    add_proof_headers,
    attach_token,
    get_authenticator,
)


class BearerTokenMiddleware:
    """Signs in the user of a bearer token for a request, and refuses a request whose token will not do.

    It takes the place of django-oauth-toolkit's ``OAuth2TokenMiddleware`` and ``OAuth2ExtraTokenMiddleware``,
    and needs no authentication backend. A site derives its own class from it, with the scopes that a token
    must have there. A request without a bearer token is let through as it is. Put it last in ``MIDDLEWARE``,
    or at least after ``AuthenticationMiddleware``: a token takes precedence over a session cookie.

    Pages of the apps in ``session_apps`` are left alone: no token signs anybody in there.

    :param get_response: the next middleware or the view, as Django hands it over.
    :raises ImproperlyConfigured: it does not say which scopes (``manage.py check``: E027).
    """

    #: The scopes that a token must have, all of them; an empty list lets any token sign in.
    required_scopes: Sequence[str] | None = None

    #: The apps whose pages only a session opens, by the ``app_name`` of their URLs: every admin site, and the
    #: pages of the server. What takes tokens there reads them itself.
    session_apps: Collection[str] = ("admin", "oauth2_provider")

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        # Only here, because the rest of this module also works without django.contrib.auth.
        from django.contrib.auth.models import AnonymousUser

        if self.required_scopes is None and not self.overrides_scopes():
            raise ImproperlyConfigured(
                f"{type(self).__name__} does not say which scopes a token has to have: derive one from "
                "it that sets required_scopes, and put that into MIDDLEWARE."
            )
        self.get_response = get_response
        self.anonymous = AnonymousUser

    @classmethod
    def overrides_scopes(cls) -> bool:
        """Return whether the class determines the scopes of each request itself."""
        return cls.get_required_scopes is not BearerTokenMiddleware.get_required_scopes

    def get_required_scopes(self, request: HttpRequest) -> Sequence[str]:
        """Return the scopes that the token of a request must have, all of them."""
        return self.required_scopes or ()

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.bearer_token_middleware = self  # type: ignore[attr-defined]  # for the metadata of what it opens
        if not self.is_for_session(_resolve(request)):
            try:
                self._sign_in(request)
            except BearerError as error:
                return error.response(request)
        response = self.get_response(request)
        patch_vary_headers(response, ["Authorization"])
        add_proof_headers(request, response)
        return response

    def process_view(self, request: Any, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        """Refuse a request that came to a page of ``session_apps`` by URLs other than expected.

        Another middleware has chosen these. By now, others have let the request in because of the token.
        """
        if getattr(request, "_is_signed_in_by_token", False) and self.is_for_session(request.resolver_match):
            return InsufficientScopeError("No access token opens this resource.").response(request)
        return None

    def is_for_session(self, match: ResolverMatch | None) -> bool:
        """Return whether a page is one of ``session_apps``.

        :param match: what the address of the page resolves to; None for nothing.
        """
        if match is None:
            return False
        # A site may have the pages of the server in a namespace of its own.
        view = getattr(match.func, "view_class", object)
        own = {NAMESPACE} if is_of_server(view) else set()
        return not own.union(match.app_names).isdisjoint(self.session_apps)

    def _sign_in(self, request: HttpRequest) -> None:
        """Sign in the user of a request's token, if it has one.

        :raises BearerError: the token is not valid, or does not have the scopes.
        """
        try:
            token = get_authenticator().authenticate(request)
        except BearerError as error:
            if error.status == 401:
                error.scopes = list(self.get_required_scopes(request))
            raise
        if token is None:
            return
        scopes = self.get_required_scopes(request)
        if not token.allow_scopes(scopes):
            raise InsufficientScopeError("The access token does not have the scope.", scopes=scopes)
        attach_token(request, token)
        request.user = token.user if token.user is not None else self.anonymous()
        # Otherwise AuthenticationMiddleware, and views that are coroutines, would ask the session.
        request._cached_user = request._acached_user = request.user  # type: ignore[attr-defined]
        request._is_signed_in_by_token = True  # type: ignore[attr-defined]
        # No cookie opens what follows, so no other site can have made the browser ask for it.
        request._dont_enforce_csrf_checks = True  # type: ignore[attr-defined]


def _resolve(request: HttpRequest) -> ResolverMatch | None:
    """Return where a request goes as far as can be told before the other middlewares, or None."""
    try:
        return resolve(request.path_info, getattr(request, "urlconf", None))
    except Resolver404:
        return None
