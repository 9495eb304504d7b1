"""Plain Django views and sites that bearer tokens open: a decorator, a mixin and a middleware.

django-oauth-toolkit has all three, too. These answer a refused token with the status and the challenge of
RFC 6750, and know what a token is bound to. They work also in a project that is not the server.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Sequence
from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django.utils.cache import patch_vary_headers
from django.views.decorators.csrf import csrf_exempt

from oauth_binding.resource_server.bearer import (
    BearerError,
    InsufficientScopeError,
    InvalidTokenError,
    MissingTokenError,
    attach_token,
    get_authenticator,
    is_bound,
)


def authorize(
    request: HttpRequest,
    *,
    scopes: Sequence[str] = (),
    bound: bool = False,
    binding_types: Collection[str] = (),
    presented_binding: bool = False,
) -> Any:
    """Return the access token of a request that has what a resource asks for.

    :param scopes: what the token has to have all of.
    :param bound: whether the token has to be bound.
    :param binding_types: what it has to be bound to one of; implies ``bound``.
    :param presented_binding: whether the request has to name what the token is bound to; implies ``bound``.
    :raises BearerError: the request has not.
    """
    authenticator = get_authenticator()
    token = authenticator.authenticate(request)
    if token is None:
        raise MissingTokenError(scopes=scopes)
    if not token.allow_scopes(scopes):
        raise InsufficientScopeError("The access token does not have the scope.", scopes=scopes)
    if (bound or binding_types) and not is_bound(token, binding_types):
        raise InvalidTokenError("The access token is not bound to what this resource asks for.")
    if presented_binding:
        authenticator.check_presented_binding(request, token)
    return token


def protected_resource(
    scopes: Sequence[str] = (),
    *,
    bound: bool = False,
    binding_types: Collection[str] = (),
    presented_binding: bool = False,
) -> Callable[[Callable[..., HttpResponseBase]], Callable[..., HttpResponseBase]]:
    """Decorate a view that only a bearer token opens.

    The view finds the token at ``request.access_token`` and its user, or None, at ``request.resource_owner``.
    No cookie opens it, so it is exempt from CSRF protection.

    :param scopes: what the token has to have all of.
    :param bound: whether the token has to be bound.
    :param binding_types: what it has to be bound to one of; implies ``bound``.
    :param presented_binding: whether the request has to name what the token is bound to; implies ``bound``.
    """

    def decorator(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
        @functools.wraps(view)
        def protected(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            try:
                attach_token(
                    request,
                    authorize(
                        request,
                        scopes=scopes,
                        bound=bound,
                        binding_types=binding_types,
                        presented_binding=presented_binding,
                    ),
                )
            except BearerError as error:
                return error.response(request)
            response = view(request, *args, **kwargs)
            patch_vary_headers(response, ["Authorization"])
            return response

        return csrf_exempt(protected)

    return decorator


class ProtectedResourceMixin:
    """Lets only a bearer token open a class-based view; see :func:`protected_resource`."""

    #: What the token has to have all of.
    required_scopes: Sequence[str] = ()
    #: Whether the token has to be bound.
    require_bound: bool = False
    #: What it has to be bound to one of.
    required_binding_types: Collection[str] = ()
    #: Whether the request has to name what the token is bound to.
    require_presented_binding: bool = False

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Callable[..., HttpResponseBase]:
        """Return the view, exempt from CSRF protection: no cookie opens it."""
        view: Callable[..., HttpResponseBase] = super().as_view(**initkwargs)  # type: ignore[misc]
        return csrf_exempt(view)

    def get_required_scopes(self, request: HttpRequest) -> Sequence[str]:
        """Return what the token of a request has to have all of."""
        return self.required_scopes

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        # A preflight request has no token (Fetch standard, CORS preflight).
        if request.method != "OPTIONS":
            try:
                attach_token(
                    request,
                    authorize(
                        request,
                        scopes=self.get_required_scopes(request),
                        bound=self.require_bound,
                        binding_types=self.required_binding_types,
                        presented_binding=self.require_presented_binding,
                    ),
                )
            except BearerError as error:
                return error.response(request)
        response: HttpResponseBase = super().dispatch(request, *args, **kwargs)  # type: ignore[misc]
        patch_vary_headers(response, ["Authorization"])
        return response
