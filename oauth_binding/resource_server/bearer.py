"""Bearer tokens at an API (RFC 6750): reading them, refusing them, and what an API may ask of them.

Where the tokens are looked up is for a :class:`BearerAuthenticator`: in the database of this project, or with
another server in a project that has the setting ``OAUTH_RESOURCE_SERVER``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any, ClassVar, Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.cache import patch_vary_headers
from django.utils.module_loading import import_string
from django.views.decorators.debug import sensitive_variables

from oauth_binding.binding.presented import find_fault
from oauth_binding.core.toolkit_paths import build_bearer_challenge
from oauth_binding.resource_server.resources import covers, get_address, get_metadata_url, takes_tokens

#: What challenges call the API (RFC 9110 section 11.5).
REALM: Final = "api"

#: The longest token that is looked at, in characters.
MAX_TOKEN_LENGTH: Final = 16 * 1024

#: RFC 6750 section 2.1; the scheme is compared without case (RFC 9110 section 11.1).
_SCHEME: Final = re.compile(r"bearer(?: |$)", re.IGNORECASE)
_CREDENTIALS: Final = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*) *", re.IGNORECASE)


class BearerError(Exception):
    """A request that is refused for its bearer token, or for having none (RFC 6750 section 3.1).

    :param description: the ``error_description``, in ASCII; nothing the client has sent.
    :param scopes: what the resource takes, where a client is to ask for a token, or for another.
    """

    #: The HTTP status.
    status: ClassVar[int] = 401
    #: The error code; empty where RFC 6750 section 3 wants none.
    error: ClassVar[str] = ""
    #: Further headers of the answer.
    headers: ClassVar[dict[str, str]] = {}

    def __init__(self, description: str = "", *, scopes: Sequence[str] = ()) -> None:
        super().__init__(description)
        self.description = description
        self.scopes = list(scopes)

    def challenge(self, request: HttpRequest) -> str:
        """Return the ``WWW-Authenticate`` header, with the address of the API's RFC 9728 metadata, if any."""
        attributes = {
            "error": self.error,
            "error_description": self.description,
            "scope": " ".join(self.scopes),
        }
        present = {name: value for name, value in attributes.items() if value}
        challenge: str = build_bearer_challenge(
            request,
            oauth2_error=present,
            realm=REALM,
            resource_metadata_url=_find_metadata(request),
        )
        return challenge

    def response(self, request: HttpRequest) -> HttpResponse:
        """Return the answer of a view without Django REST framework."""
        body = {"error": self.error, "error_description": self.description} if self.error else {}
        response = JsonResponse(body, status=self.status, headers=self.headers)
        if self.status < 500:
            response["WWW-Authenticate"] = self.challenge(request)
        patch_vary_headers(response, ["Authorization"])
        return response


class MissingTokenError(BearerError):
    """There is no token: a challenge without an error code (RFC 6750 section 3)."""


class MalformedRequestError(BearerError):
    """``invalid_request``: the Authorization header can't be read."""

    status = 400
    error = "invalid_request"


class InvalidTokenError(BearerError):
    """``invalid_token``: expired, revoked, malformed, or not for this resource."""

    error = "invalid_token"


class InsufficientScopeError(BearerError):
    """``insufficient_scope``: the token is valid, and not for this."""

    status = 403
    error = "insufficient_scope"


class UnavailableError(BearerError):
    """It can't be told now whether the token is valid: the server that knows does not answer."""

    status = 503
    error = "temporarily_unavailable"
    headers = {"Retry-After": "10"}


def read_bearer_token(request: HttpRequest) -> str | None:
    """Return the bearer token of a request (RFC 6750 section 2.1), or None where it presents none.

    Tokens in the body or in the query string are not looked for.

    :raises MalformedRequestError: the Authorization header announces a bearer token and has not just one.
    :raises InvalidTokenError: the token is longer than any.
    """
    header = request.META.get("HTTP_AUTHORIZATION", "")
    if not _SCHEME.match(header):
        return None
    credentials = _CREDENTIALS.fullmatch(header)
    if credentials is None:
        raise MalformedRequestError("The Authorization header has not just one bearer token.")
    if len(credentials[1]) > MAX_TOKEN_LENGTH:
        raise InvalidTokenError("The access token is invalid.")
    return credentials[1]


class BearerAuthenticator:
    """Tells which access token a request presents.

    What it returns as one has ``user`` or None, ``scope``, ``is_valid()``, ``allow_scopes()`` and
    ``is_expired()`` as django-oauth-toolkit's access tokens, and ``binding``: None, or what the token is
    bound to, with ``binding_type`` and ``reference``.
    """

    @sensitive_variables()
    def authenticate(self, request: HttpRequest) -> Any:
        """Return the access token of a request, or None where the request presents none.

        :raises BearerError: what it presents is not valid here and now.
        """
        text = read_bearer_token(request)
        if text is None:
            return None
        return self.find_token(text, request)

    def find_token(self, text: str, request: HttpRequest) -> Any:
        """Return the access token of a text.

        :raises BearerError: it is not valid here and now, or does not come with what is demanded.
        """
        raise NotImplementedError

    @property
    def binding_header(self) -> str:
        """The header in which a request names what its token is bound to."""
        raise NotImplementedError

    @property
    def resources(self) -> Collection[str]:
        """The identifiers of the protected resources that the site has declared (RFC 9728 section 1.2)."""
        raise NotImplementedError

    @property
    def takes_other_resources(self) -> bool:
        """Whether a token that was asked for on behalf of another resource, by its address, opens that."""
        raise NotImplementedError

    @sensitive_variables()
    def check_presented_binding(self, request: HttpRequest, token: Any) -> None:
        """Check that a request names what its token is bound to, in the :attr:`binding_header`.

        :raises InvalidTokenError: it does not, or the token is bound to nothing.
        """
        header = self.binding_header
        fault = find_fault(token, header, request.headers.get(header, ""))
        if fault:
            raise InvalidTokenError(fault)


def is_bound(token: Any, binding_types: Collection[str] = ()) -> bool:
    """Return whether an access token is bound; a token of the shared slot is not.

    :param binding_types: those that count; empty for any.
    """
    binding = token.binding
    if binding is None or not binding.reference:
        return False
    return not binding_types or binding.binding_type in binding_types


def find_resource(request: HttpRequest, path: str) -> str | None:
    """Return the identifier of the protected resource at a path (RFC 9728 section 1.2), or None.

    It is one that the site has declared and that covers the path, or else the address itself, if what is
    there takes tokens. The root stands for the whole host.

    :param request: any of this site.
    :param path: from the root of the host on, not escaped.
    """
    authenticator = get_authenticator()
    address = get_address(request, path)
    covering = [resource for resource in authenticator.resources if covers(resource, address)]
    if covering:
        return max(covering, key=len)
    is_resource = authenticator.takes_other_resources and (path == "/" or takes_tokens(request, path))
    return address if is_resource else None


def _find_metadata(request: HttpRequest) -> str | None:
    # A view that calls authorize() itself can't be told from others.
    resource = find_resource(request, request.path) or find_resource(request, "/")
    return None if resource is None else get_metadata_url(request, resource)


def attach_token(request: Any, token: Any) -> None:
    """Let a view find a request's access token at ``access_token``, and its user at ``resource_owner``."""
    request.access_token = token
    request.resource_owner = token.user


def get_authenticator() -> BearerAuthenticator:
    """Return what tells the access tokens of this project's requests."""
    is_elsewhere = hasattr(settings, "OAUTH_RESOURCE_SERVER")
    module = "elsewhere" if is_elsewhere else "database"
    authenticator: BearerAuthenticator = import_string(
        f"oauth_binding.resource_server.{module}.Authenticator"
    )()
    return authenticator
