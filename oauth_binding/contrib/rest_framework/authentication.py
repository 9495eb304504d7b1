"""Authentication by access tokens."""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request
from rest_framework.settings import api_settings

from oauth_binding.contrib.rest_framework.exceptions import BearerAPIException
from oauth_binding.contrib.rest_framework.scopes import required_scopes, takes_proofs_alone
from oauth_binding.core.toolkit_paths import OAuth2Authentication
from oauth_binding.resource_server.bearer import (
    BearerError,
    MissingTokenError,
    get_authenticator,
    proof_headers,
)


class BearerAuthentication(OAuth2Authentication):
    """Authenticates requests by their access token, in place of django-oauth-toolkit's class.

    The token is a bearer token (RFC 6750), or comes with a proof of the key that it is constrained to (RFC
    9449).

    ``request.auth`` is the access token, and ``request.auth.binding`` what it is bound to, or None.
    ``request.user`` is its user; for a client's own token, it is an AnonymousUser, or whatever else the
    setting ``UNAUTHENTICATED_USER`` of Django REST framework makes.

    A request whose token is not valid is refused, even if the view lets anonymous requests in, and even if
    another class comes first in ``authentication_classes``.

    It also works in a project that is not the server; see the setting ``OAUTH_RESOURCE_SERVER``.
    """

    #: Where to look for the protected resources of a site.
    takes_bearer_tokens = True

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        """Return user and access token, or None if the request presents no token.

        :raises BearerAPIException: what it presents is not valid here and now.
        """
        try:
            token = get_authenticator().authenticate(request._request)
        except BearerError as error:
            raise BearerAPIException(error, request) from None
        finally:
            _answer_with(request, proof_headers(request._request))
        if token is None:
            return None
        if token.user is not None:
            return token.user, token
        # AnonymousUser, unless the project says otherwise, as one without django.contrib.auth has to.
        no_user: Any = api_settings.UNAUTHENTICATED_USER
        return no_user() if no_user else None, token

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge for a request without a token, with the scopes that the view asks for."""
        view = (request.parser_context or {}).get("view")
        error = MissingTokenError()
        if view is not None:
            error.scopes = required_scopes(request, view)
            error.takes_proofs_alone = takes_proofs_alone(view.get_permissions())
        return error.challenge(request._request)

    @staticmethod
    def takes_proofs_alone(view: Any) -> bool:
        """Return whether a view refuses bearer tokens, as far as its permission classes tell.

        :param view: what ``as_view()`` returned.
        """
        # Not at the top: Django REST framework loads the classes of its settings while it loads its views.
        from rest_framework.views import APIView

        if view.cls.get_permissions is not APIView.get_permissions:
            return False  # each request has its own
        classes = view.initkwargs.get("permission_classes", view.cls.permission_classes)
        return takes_proofs_alone([permission() for permission in classes])


def _answer_with(request: Request, headers: dict[str, str]) -> None:
    """Add headers to the answer to a request, whether it is refused or not."""
    view = (request.parser_context or {}).get("view")
    if view is not None:
        view.headers.update(headers)  # APIView.finalize_response() puts these into its answer
