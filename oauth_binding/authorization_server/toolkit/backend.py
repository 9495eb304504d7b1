"""django-oauth-toolkit's ``OAUTH2_BACKEND_CLASS``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_plus, urlsplit, urlunsplit

from oauth2_provider.settings import oauth2_settings
from oauthlib.common import Request as OAuthlibRequest
from oauthlib.oauth2.rfc6749.errors import InvalidRequestError

from oauth_binding.authorization_server.exchange.grant import TokenExchangeGrant
from oauth_binding.authorization_server.exchange.parameters import GRANT_TYPE
from oauth_binding.authorization_server.issuing.request_state import ISSUING
from oauth_binding.core.databases import deciding
from oauth_binding.core.settings import binding_settings
from oauth_binding.core.toolkit_paths import OAuthLibCore
from oauth_binding.resource_server.bearer import InsufficientScopeError

if TYPE_CHECKING:
    from django.http import HttpRequest

#: What oauthlib and django-oauth-toolkit keep on oauthlib's Request, or ask it for: it answers with a
#: parameter of the same name. None is an OAuth parameter, so all are ignored (RFC 6749 section 3.2).
SERVER_ATTRIBUTES: Final = frozenset(
    {
        "body",
        "client",
        "decoded_body",
        "duplicate_params",
        "encoding",
        "expires_in",
        "extra_credentials",
        "headers",
        "http_method",
        "id_token",
        "oauth2_error",
        "oauth_params",
        "refresh_token_instance",
        "request_token",
        "scopes",
        "token_type",
        "uri",
        "uri_query",
        "uri_query_params",
        "user",
        "using_default_redirect_uri",
        "validator_log",
    }
)

#: Parameters of the token endpoint and those like it, which mean nothing at the authorization endpoint
#: (RFC 6749 section 3.1). oauthlib's Request has one set of attributes for all endpoints, and a token that is
#: issued at the authorization endpoint would be one of the client itself with grant_type=client_credentials.
TOKEN_REQUEST_PARAMETERS: Final = frozenset(
    {
        "access_token",
        "actor_token",
        "actor_token_type",
        "assertion",
        "client_assertion",
        "client_assertion_type",
        "client_secret",
        "code",
        "code_verifier",
        "device_code",
        "grant_type",
        "password",
        "refresh_token",
        "requested_token_type",
        "subject_token",
        "subject_token_type",
        "token",
        "token_type_hint",
        "username",
    }
)

# Marks requests to the authorization endpoint in their META; no HTTP header has a dot in WSGI.
_AUTHORIZING: Final = "oauth_binding.authorizing"


class BindingOAuthLibCore(OAuthLibCore):
    """Hands requests to oauthlib with every value of a binder's parameter, so that a repetition is seen.

    Token requests are marked, because oauthlib's request itself does not tell which endpoint it came to.
    """

    def _get_escaped_full_path(self, request: HttpRequest) -> str:
        path: str = super()._get_escaped_full_path(request)
        dropped = _meaningless(request)
        if oauth2_settings.COMPLIANT_BCP_RFC9700_ACCESS_TOKEN_TRANSPORT:
            # django-oauth-toolkit refuses it in verify_request() alone; the userinfo endpoint would take it.
            dropped |= {"access_token"}
        if dropped.isdisjoint(request.GET):
            return path
        address = urlsplit(path)
        parameters = [
            parameter
            for parameter in address.query.split("&")
            if unquote_plus(parameter.partition("=")[0]) not in dropped
        ]
        return urlunsplit(address._replace(query="&".join(parameters)))

    def extract_body(self, request: HttpRequest) -> list[tuple[str, str]]:
        dropped = _meaningless(request)
        body = [(name, value) for name, value in super().extract_body(request) if name not in dropped]
        repeatable = binding_settings.binder_parameters
        if request.POST.get("grant_type") == GRANT_TYPE:
            repeatable = [name for name in request.POST if name not in dropped | {"resource"}]
        for parameter in repeatable:
            # django-oauth-toolkit passes on the last value, but all of resource (RFC 8707).
            body += [(parameter, value) for value in request.POST.getlist(parameter)[:-1]]
        return body

    @deciding()
    def create_token_response(self, request: HttpRequest) -> tuple[str | None, dict[str, str], str, int]:
        # django-oauth-toolkit hands META to oauthlib as the headers.
        request.META[ISSUING] = "1"
        if GRANT_TYPE not in self.server.grant_types:
            self.server.grant_types[GRANT_TYPE] = TokenExchangeGrant(self.server.request_validator)
        response: tuple[str | None, dict[str, str], str, int] = super().create_token_response(request)
        return response

    @deciding()
    def validate_authorization_request(self, request: HttpRequest) -> Any:
        request.META[_AUTHORIZING] = "1"
        return super().validate_authorization_request(request)

    @deciding()
    def create_authorization_response(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        request.META[_AUTHORIZING] = "1"
        return super().create_authorization_response(request, *args, **kwargs)

    @deciding()
    def create_device_authorization_response(self, request: HttpRequest) -> Any:
        return super().create_device_authorization_response(request)

    @deciding()
    def create_revocation_response(self, request: HttpRequest) -> Any:
        return super().create_revocation_response(request)

    @deciding()
    def create_userinfo_response(self, request: HttpRequest) -> Any:
        try:
            self.check_query_string(request)
        except InvalidRequestError as error:
            return None, {"Content-Type": "application/json"}, error.json, error.status_code
        answer = super().create_userinfo_response(request)
        # oauthlib calls a token invalid also where all that it lacks is the scope (RFC 6750 section 3.1).
        if answer[-1] == 401 and self.verify_request(request, scopes=[])[0]:
            lacking = InsufficientScopeError("The access token does not have the scope.", scopes=["openid"])
            refused = lacking.response(request)
            return None, dict(refused.items()), refused.content.decode(), refused.status_code
        return answer

    @deciding()
    def verify_request(self, request: HttpRequest, scopes: Any) -> Any:
        return super().verify_request(request, scopes)

    def check_query_string(self, request: HttpRequest) -> None:
        """Refuse a query string that oauthlib can't decode, for instance ``?a=%zz``.

        :raises InvalidRequestError: it can't.
        """
        try:
            self.oauthlib_request(request)
        except ValueError:
            raise InvalidRequestError(description="The query string is malformed.") from None

    def oauthlib_request(self, request: HttpRequest) -> OAuthlibRequest:
        """Return what oauthlib makes of a request."""
        return OAuthlibRequest(*self._extract_params(request))

    @deciding()
    def authenticate_client(self, request: HttpRequest) -> Any:
        """Return the application that authenticates itself with a request (RFC 6749 section 2.3), or None."""
        oauthlib_request = self.oauthlib_request(request)
        if not self.server.request_validator.authenticate_client(oauthlib_request):
            return None
        return oauthlib_request.client


def _meaningless(request: HttpRequest) -> frozenset[str]:
    """Return the names of the parameters that are kept from oauthlib."""
    is_authorizing = _AUTHORIZING in request.META
    return SERVER_ATTRIBUTES | TOKEN_REQUEST_PARAMETERS if is_authorizing else SERVER_ATTRIBUTES
