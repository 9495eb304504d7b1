"""django-oauth-toolkit's ``OAUTH2_BACKEND_CLASS``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_plus, urlsplit, urlunsplit

from oauth2_provider.settings import oauth2_settings
from oauthlib.common import Request as OAuthlibRequest

from oauth_binding.authorization_server.exchange.grant import TokenExchangeGrant
from oauth_binding.authorization_server.exchange.parameters import GRANT_TYPE
from oauth_binding.authorization_server.issuing.request_state import ISSUING
from oauth_binding.core.databases import deciding
from oauth_binding.core.settings import binding_settings
from oauth_binding.core.toolkit_paths import OAuthLibCore

if TYPE_CHECKING:
    from django.http import HttpRequest

# What oauthlib and django-oauth-toolkit keep on oauthlib's Request, where a parameter of the same name
# would be taken for it. None is an OAuth parameter, so all are ignored (RFC 6749 section 3.2).
_SERVER_ATTRIBUTES: Final = frozenset(
    {"client", "user", "scopes", "extra_credentials", "refresh_token_instance"}
)


class BindingOAuthLibCore(OAuthLibCore):
    """Hands requests to oauthlib with every value of a binder's parameter, so that a repetition is seen.

    Token requests are marked, because oauthlib's request itself does not tell which endpoint it came to.
    """

    def _get_escaped_full_path(self, request: HttpRequest) -> str:
        path: str = super()._get_escaped_full_path(request)
        dropped = set(_SERVER_ATTRIBUTES)
        if oauth2_settings.COMPLIANT_BCP_RFC9700_ACCESS_TOKEN_TRANSPORT:
            # django-oauth-toolkit refuses it in verify_request() alone; the userinfo endpoint would take it.
            dropped.add("access_token")
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
        body = [
            (name, value) for name, value in super().extract_body(request) if name not in _SERVER_ATTRIBUTES
        ]
        repeatable = binding_settings.binder_parameters
        if request.POST.get("grant_type") == GRANT_TYPE:
            repeatable = [name for name in request.POST if name not in _SERVER_ATTRIBUTES | {"resource"}]
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
        return super().validate_authorization_request(request)

    @deciding()
    def create_authorization_response(self, *args: Any, **kwargs: Any) -> Any:
        return super().create_authorization_response(*args, **kwargs)

    @deciding()
    def create_device_authorization_response(self, request: HttpRequest) -> Any:
        return super().create_device_authorization_response(request)

    @deciding()
    def create_revocation_response(self, request: HttpRequest) -> Any:
        return super().create_revocation_response(request)

    @deciding()
    def create_userinfo_response(self, request: HttpRequest) -> Any:
        return super().create_userinfo_response(request)

    @deciding()
    def verify_request(self, request: HttpRequest, scopes: Any) -> Any:
        return super().verify_request(request, scopes)

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
