"""Plain Django views that bearer tokens open: a decorator and a mixin, for coroutines, too.

django-oauth-toolkit has both. These answer a refused token with the status and the challenge of RFC 6750, and
know what a token is bound to. They also work in a project that is not the server.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Sequence
from typing import Any

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.cache import patch_vary_headers
from django.views.decorators.csrf import csrf_exempt

from oauth_binding.core.reasons import Reason
from oauth_binding.resource_server.bearer import (
    BearerError,
    InsufficientScopeError,
    InvalidTokenError,
    MissingTokenError,
    add_proof_headers,
    attach_token,
    get_authenticator,
    is_bound,
    require_sender_constrained,
    tell_refusal,
)


def authorize(
    request: HttpRequest,
    *,
    scopes: Sequence[str] = (),
    bound: bool = False,
    binding_types: Collection[str] = (),
    presented_binding: bool = False,
    sender_constrained: bool = False,
) -> Any:
    """Return the access token of a request, if it has all that a resource asks for.

    :param request: the request to the resource.
    :param scopes: the scopes that the token must have, all of them.
    :param bound: whether the token has to be bound.
    :param binding_types: the binding types, one of which the token has to have; implies ``bound``.
    :param presented_binding: whether the request has to name what the token is bound to; implies ``bound``.
    :param sender_constrained: whether the token has to come with a proof of its key (RFC 9449).
    :raises BearerError: it does not; the error can make the answer (RFC 6750 section 3, RFC 9449 section
        7.1).
    """
    authenticator = get_authenticator()
    try:
        token = authenticator.authenticate(request)
        if token is None:
            raise MissingTokenError(scopes=scopes)
        if not token.allow_scopes(scopes):
            raise InsufficientScopeError("The access token does not have the scope.", scopes=scopes)
        if (bound or binding_types) and not is_bound(token, binding_types):
            tell_refusal(request.META, InvalidTokenError.error, Reason.TOKEN_NOT_BOUND, token)
            raise InvalidTokenError("The access token is not bound to what this resource asks for.")
        if sender_constrained:
            require_sender_constrained(request, token)
        if presented_binding:
            authenticator.check_presented_binding(request, token)
    except BearerError as error:
        error.takes_proofs_alone = sender_constrained
        if error.status == 401:
            error.scopes = list(scopes)
        raise
    return token


def protected_resource(
    scopes: Sequence[str] = (),
    *,
    bound: bool = False,
    binding_types: Collection[str] = (),
    presented_binding: bool = False,
    sender_constrained: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a view that only a bearer token opens.

    The view finds the token at ``request.access_token`` and its user, or None, at ``request.resource_owner``.
    No cookie opens it, so it is exempt from CSRF protection. The view may be a coroutine function: its
    token is looked up in a thread.

    :param scopes: the scopes that the token must have, all of them.
    :param bound: whether the token has to be bound.
    :param binding_types: the binding types, one of which the token has to have; implies ``bound``.
    :param presented_binding: whether the request has to name what the token is bound to; implies ``bound``.
    :param sender_constrained: whether the token has to come with a proof of its key (RFC 9449).
    """

    def refuse(request: HttpRequest) -> HttpResponse | None:
        return _refuse(
            request,
            scopes=scopes,
            bound=bound,
            binding_types=binding_types,
            presented_binding=presented_binding,
            sender_constrained=sender_constrained,
        )

    def decorator(view: Callable[..., Any]) -> Callable[..., Any]:
        protected: Callable[..., Any]
        if iscoroutinefunction(view):

            @functools.wraps(view)
            async def protected(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
                refusal = await sync_to_async(refuse)(request)
                return refusal or _answer(request, await view(request, *args, **kwargs))

        else:

            @functools.wraps(view)
            def protected(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
                return refuse(request) or _answer(request, view(request, *args, **kwargs))

        protected.takes_bearer_tokens = True  # type: ignore[attr-defined]
        protected.takes_proofs_alone = sender_constrained  # type: ignore[attr-defined]
        return csrf_exempt(protected)

    return decorator


class ProtectedResourceMixin:
    """Lets only a bearer token open a class-based view; see ``protected_resource``.

    The handlers of the view may be coroutines, all of them.
    """

    #: The scopes that the token must have, all of them.
    required_scopes: Sequence[str] = ()
    #: Whether the token has to be bound.
    require_bound: bool = False
    #: The binding types, one of which the token has to have.
    required_binding_types: Collection[str] = ()
    #: Whether the request has to name what the token is bound to.
    require_presented_binding: bool = False
    #: Whether the token has to come with a proof of its key.
    require_sender_constrained: bool = False

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Callable[..., HttpResponseBase]:
        """Return the view, exempt from CSRF protection: no cookie opens it."""
        view: Callable[..., HttpResponseBase] = super().as_view(**initkwargs)  # type: ignore[misc]
        view.takes_bearer_tokens = True  # type: ignore[attr-defined]
        view.takes_proofs_alone = initkwargs.get(  # type: ignore[attr-defined]
            "require_sender_constrained", cls.require_sender_constrained
        )
        return csrf_exempt(view)

    def get_required_scopes(self, request: HttpRequest) -> Sequence[str]:
        """Return the scopes that the token of a request must have, all of them."""
        return self.required_scopes

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Answer a request, or return the coroutine that does so if the view's handlers are coroutines."""
        if self.view_is_async:  # type: ignore[attr-defined]
            return self._dispatch_async(request, *args, **kwargs)
        refusal = self._refuse(request)
        return refusal or _answer(request, super().dispatch(request, *args, **kwargs))  # type: ignore[misc]

    async def _dispatch_async(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        refusal = await sync_to_async(self._refuse)(request)
        return refusal or _answer(request, await super().dispatch(request, *args, **kwargs))  # type: ignore[misc]

    def _refuse(self, request: HttpRequest) -> HttpResponse | None:
        if request.method == "OPTIONS":
            return None  # a preflight request has no token (Fetch standard, CORS preflight)
        return _refuse(
            request,
            scopes=self.get_required_scopes(request),
            bound=self.require_bound,
            binding_types=self.required_binding_types,
            presented_binding=self.require_presented_binding,
            sender_constrained=self.require_sender_constrained,
        )


def _refuse(request: HttpRequest, **demands: Any) -> HttpResponse | None:
    """Return the answer to a request that is refused; attach its token to one that is not.

    :param demands: as for ``authorize``.
    """
    try:
        attach_token(request, authorize(request, **demands))
    except BearerError as error:
        return error.response(request)
    return None


def _answer(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Return an answer that no cache may give to others, with what the client's next proof needs."""
    patch_vary_headers(response, ["Authorization"])
    add_proof_headers(request, response)
    return response
