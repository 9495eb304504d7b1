"""Permissions that ask what a token is bound to, and what it may do."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar

from django.utils.translation import gettext_lazy as _
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from oauth_binding.contrib.rest_framework.exceptions import BearerAPIException
from oauth_binding.core.toolkit_paths import TokenHasReadWriteScope, TokenHasResourceScope, TokenHasScope
from oauth_binding.resource_server.bearer import (
    BearerError,
    get_authenticator,
    is_bound,
    require_sender_constrained,
)

__all__ = [
    "IsBound",
    "IsSenderConstrained",
    "IsUserWithResourceScope",
    "PresentsBinding",
    "TokenHasReadWriteScope",
    "TokenHasResourceScope",
    "TokenHasScope",
]


class IsBound(BasePermission):
    """Allows requests whose access token is bound. ``IsBound.to("client-request")`` names binding types."""

    #: The binding types that count; empty for any.
    binding_types: ClassVar[Collection[str]] = ()

    message = _("The access token is not bound to what this resource asks for.")
    code = "not_bound"
    #: What the challenge says, in ASCII (RFC 6750 section 3).
    challenge: ClassVar[str] = "The access token is not bound to what this resource asks for."

    @classmethod
    def to(cls, *binding_types: str) -> type[IsBound]:
        """Return a permission for tokens that are bound by one of the given binding types.

        :param binding_types: the ``type`` of each binder that counts.
        """
        return type(cls.__name__, (cls,), {"binding_types": binding_types})

    def has_permission(self, request: Request, view: Any) -> bool:
        return _is_token(request.auth) and is_bound(request.auth, self.binding_types)


class PresentsBinding(BasePermission):
    """Refuses requests that do not name what their access token is bound to.

    They name it in the header that is set with ``BINDING_HEADER``, by default ``Token-Binding-Id``; it is
    compared in constant time. Whoever stole a token does not know it: a token contains only its digest.

    A token without it is refused as not valid (401 ``invalid_token``), as in RFC 8705 section 3 for
    certificates, rather than by just returning False; so this can't be combined with ``|``.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        """Return whether there is a token that is presented with what it is bound to.

        :raises BearerAPIException: there is a token, and it is not.
        """
        if not _is_token(request.auth):
            return False
        try:
            get_authenticator().check_presented_binding(request._request, request.auth)
        except BearerError as error:
            raise BearerAPIException(error, request) from None
        return True


class IsSenderConstrained(BasePermission):
    """Refuses requests whose access token is not constrained to a key (RFC 9449).

    If it is, each request has to prove the key anyway, whatever the permissions of a view are. A bearer token
    is refused as not valid (401 ``invalid_token``), so this can't be combined with ``|``.
    """

    #: For the challenges of a view, and its metadata.
    takes_proofs_alone: ClassVar[bool] = True

    def has_permission(self, request: Request, view: Any) -> bool:
        """Return whether there is a token that is constrained to a key.

        :raises BearerAPIException: there is a token, and it is not.
        """
        if not _is_token(request.auth):
            return False
        try:
            require_sender_constrained(request._request, request.auth)
        except BearerError as error:
            raise BearerAPIException(error, request) from None
        return True


class IsUserWithResourceScope(TokenHasResourceScope):
    """Allows users; a user who comes with a token needs the scopes of ``TokenHasResourceScope``.

    Those are ``<name>:read`` and ``<name>:write`` for each name in the ``required_scopes`` of the view. A
    token without a user is refused. A session needs no scope.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        if not request.user.is_authenticated:
            return False
        return request.auth is None or bool(super().has_permission(request, view))


def _is_token(auth: Any) -> bool:
    # Another authentication class may have let the request in.
    return hasattr(auth, "binding") and hasattr(auth, "scope")
