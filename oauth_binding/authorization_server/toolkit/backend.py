"""django-oauth-toolkit's ``OAUTH2_BACKEND_CLASS``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_plus, urlsplit, urlunsplit

from oauth2_provider.models import AbstractApplication
from oauth2_provider.settings import oauth2_settings
from oauthlib.common import Request as OAuthlibRequest
from oauthlib.oauth2.rfc6749.grant_types.base import GrantTypeBase
from oauthlib.oauth2.rfc6749.tokens import BearerToken
from oauthlib.oauth2.rfc6749.utils import is_secure_transport

from oauth_binding.authorization_server.exchange.grant import TokenExchangeGrant
from oauth_binding.authorization_server.exchange.parameters import GRANT_TYPE
from oauth_binding.authorization_server.issuing.client_authentication import require_client
from oauth_binding.authorization_server.issuing.lifetimes import with_policy
from oauth_binding.authorization_server.issuing.request_state import ISSUING
from oauth_binding.core.databases import deciding
from oauth_binding.core.errors import InvalidRequestError, UnauthorizedClientError
from oauth_binding.core.reasons import Reason
from oauth_binding.core.settings import binding_settings
from oauth_binding.core.toolkit_paths import OAuthLibCore, set_oauthlib_user_to_device_request_user
from oauth_binding.proof.constraint import RequestFacts
from oauth_binding.proof.presented import PRESENTED, PresentedProof
from oauth_binding.proof.server_rules import public_origin, token_endpoint_rules
from oauth_binding.resource_server.bearer import (
    BearerError,
    InsufficientScopeError,
    InvalidTokenError,
    proof_headers,
)
from oauth_binding.resource_server.proven_request import prove, with_proof_challenge

if TYPE_CHECKING:
    from django.http import HttpRequest

#: What oauthlib and django-oauth-toolkit keep on oauthlib's Request, or ask it for: it would return a
#: parameter of the same name. None of these is an OAuth parameter, so all are ignored (RFC 6749 section 3.2).
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

#: Parameters of the token endpoint and those like it, which mean nothing at the authorization endpoint (RFC
#: 6749 section 3.1). oauthlib's Request has one set of attributes for all endpoints, so that with
#: grant_type=client_credentials a token from the authorization endpoint would be one of the client itself.
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

#: The grants whose answers oauthlib lets scripts of an application's ``allowed_origins`` read.
_CORS_GRANTS: Final = frozenset({"authorization_code", "refresh_token"})

# Marks requests to the authorization endpoint in their META; in WSGI, no HTTP header has a dot.
_AUTHORIZING: Final = "oauth_binding.authorizing"

# Marks requests to the userinfo endpoint likewise.
_ASKING_USERINFO: Final = "oauth_binding.asking_userinfo"


class BindingOAuthLibCore(OAuthLibCore):
    """Hands requests to oauthlib with every value of a binder's parameter, so that repetition is noticed.

    Parameters without a value count as omitted (RFC 6749 sections 3.1 and 3.2), and so does a ``scope`` of
    white space: oauthlib takes it for a malformed one.

    Token requests are marked, because oauthlib's request itself does not tell which endpoint it came to.

    :param server: oauthlib's server; None for one by the settings.
    """

    def __init__(self, server: Any = None) -> None:
        super().__init__(server)
        # The device authorization endpoint has a server of its own, which issues no tokens.
        bearer = getattr(self.server, "default_token_type", None)
        if isinstance(bearer, BearerToken):
            bearer.expires_in = with_policy(bearer.expires_in)

    def _get_escaped_full_path(self, request: HttpRequest) -> str:
        path: str = super()._get_escaped_full_path(request)
        if "?" not in path:
            return path
        dropped = _meaningless(request)
        if oauth2_settings.COMPLIANT_BCP_RFC9700_ACCESS_TOKEN_TRANSPORT:
            # django-oauth-toolkit refuses it only in verify_request(); the userinfo endpoint would take it.
            dropped |= {"access_token"}
        address = urlsplit(path)
        parameters = []
        for parameter in address.query.split("&"):
            sent, _equals, value = parameter.partition("=")
            name = unquote_plus(sent)
            # oauthlib may refuse what is escaped.
            if name not in dropped and (_has_value(name, unquote_plus(value)) or "%" in sent):
                parameters.append(parameter)
        return urlunsplit(address._replace(query="&".join(parameters)))

    def _extract_params(self, request: HttpRequest) -> Any:
        uri, method, body, headers = super()._extract_params(request)
        if _ASKING_USERINFO in request.META:
            # As in verify_request(); otherwise, a token for a resource would never be for this endpoint.
            uri = request.build_absolute_uri(uri)
        return uri, method, body, headers

    def extract_body(self, request: HttpRequest) -> list[tuple[str, str]]:
        dropped = _meaningless(request)
        body = [
            (name, value)
            for name, value in super().extract_body(request)
            if name not in dropped and _has_value(name, value)
        ]
        repeatable = binding_settings.binder_parameters
        if request.POST.get("grant_type") == GRANT_TYPE:
            repeatable = [name for name in request.POST if name not in dropped | {"resource"}]
        for parameter in repeatable:
            # django-oauth-toolkit passes on only the last value, except for resource (RFC 8707).
            body += [(parameter, value) for value in request.POST.getlist(parameter)[:-1]]
        return body

    @deciding()
    def create_token_response(self, request: HttpRequest) -> tuple[str | None, dict[str, str], str, int]:
        # django-oauth-toolkit hands META to oauthlib as the headers.
        request.META[ISSUING] = "1"
        presented = PresentedProof(
            lambda: RequestFacts.of(request, public_origin(), request.POST), token_endpoint_rules
        )
        request.META[PRESENTED] = presented
        if GRANT_TYPE not in self.server.grant_types:
            self.server.grant_types[GRANT_TYPE] = TokenExchangeGrant(self.server.request_validator)
            self._let_clients_authenticate_first()
        url, headers, body, status = super().create_token_response(request)
        if status != 200:
            headers = {**headers, **self.cors_headers(request)}
        headers = {**headers, **presented.response_headers()}
        if presented.is_asked and "Access-Control-Allow-Origin" in headers:
            headers["Access-Control-Expose-Headers"] = "DPoP-Nonce"
        return url, headers, body, status

    def _let_clients_authenticate_first(self) -> None:
        """Remove the check that looks a device code up before anything else from the grant.

        Our validator finds the user and the scopes of a device code itself.
        """
        grant = self.server.grant_types.get(AbstractApplication.GRANT_DEVICE_CODE)
        if grant is not None:
            validators = grant.custom_validators
            looks_up = set_oauthlib_user_to_device_request_user
            validators.pre_token = [each for each in validators.pre_token if each is not looks_up]

    @deciding()
    def validate_device_authorization_request(self, request: HttpRequest) -> OAuthlibRequest:
        """Return what a device asks for (RFC 8628 section 3.1), with the ``client`` and the ``scopes``.

        oauthlib's endpoint does not accept HTTP Basic alone, and lets all clients in.

        :raises OAuth2Error: the client is not authenticated, or may not have what it asks for.
        """
        asking, validator = self.oauthlib_request(request), self.server.request_validator
        require_client(validator, asking)
        if not asking.client.allows_grant_type(AbstractApplication.GRANT_DEVICE_CODE):
            raise UnauthorizedClientError(Reason.GRANT_TYPE_NOT_ALLOWED, request=asking)
        GrantTypeBase(validator).validate_scopes(asking)
        return asking

    @deciding()
    def cors_headers(self, request: HttpRequest) -> dict[str, str]:
        """Return the headers that let a browser show an error to a client that would be shown a token (CORS).

        oauthlib has them in the answers of two grants, but not in their errors.
        """
        origin, client_id = request.headers.get("Origin"), request.POST.get("client_id")
        if request.POST.get("grant_type") not in _CORS_GRANTS or not origin or not client_id:
            return {}
        asking = self.oauthlib_request(request)
        asking.headers.pop(ISSUING, None)  # the binding is not read, as it may be what is wrong
        asking.client = self.server.request_validator.find_application(client_id)
        is_allowed = (
            asking.client is not None
            and asking.client.is_usable(asking)
            and is_secure_transport(origin)
            and self.server.request_validator.is_origin_allowed(client_id, origin, asking)
        )
        return {"Access-Control-Allow-Origin": origin} if is_allowed else {}

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
        request.META[_ASKING_USERINFO] = "1"
        try:
            return self._answer_userinfo(request)
        except BearerError as error:
            refused = error.response(request)
            return None, dict(refused.items()), refused.content.decode(), refused.status_code

    def _answer_userinfo(self, request: HttpRequest) -> Any:
        """Return the answer; what is wrong with a token of the scheme DPoP is raised instead.

        :raises BearerError: it is refused.
        """
        proven = prove(request)
        asked = request if proven is None else proven.request
        answer = super().create_userinfo_response(asked)
        if answer[-1] == 401:
            # oauthlib calls a token invalid even if all that it lacks is the scope (RFC 6750 section 3.1).
            if super().verify_request(asked, scopes=[])[0]:
                raise InsufficientScopeError("The access token does not have the scope.", scopes=["openid"])
            if proven is not None:
                raise InvalidTokenError("The access token is invalid.")
        url, headers, body, status = answer
        if proven is None:
            if status == 401:
                headers = {**headers, "WWW-Authenticate": with_proof_challenge(headers["WWW-Authenticate"])}
            return url, headers, body, status
        proven.record()
        return url, {**headers, **proof_headers(request)}, body, status

    @deciding()
    def verify_request(self, request: HttpRequest, scopes: Any) -> Any:
        """Return whether a request has a valid access token with some scopes, and oauthlib's request.

        A token of the scheme DPoP (RFC 9449 section 7.1), which oauthlib does not know, counts, too.
        """
        try:
            proven = prove(request)
            if proven is None:
                return super().verify_request(request, scopes)
            valid, verified = super().verify_request(proven.request, scopes)
            if valid:
                proven.record()
        except BearerError as error:
            refused = self.oauthlib_request(request)
            refused.oauth2_error = {"error": error.error, "error_description": error.description}
            return False, refused
        return valid, verified

    def check_query_string(self, request: HttpRequest) -> None:
        """Refuse a query string that oauthlib can't decode, for instance ``?a=%zz``.

        :raises InvalidRequestError: it can't.
        """
        try:
            self.oauthlib_request(request)
        except ValueError:
            raise InvalidRequestError(
                Reason.REQUEST_MALFORMED, description="The query string is malformed."
            ) from None

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


def _has_value(name: str, value: str) -> bool:
    return bool(value.strip() if name == "scope" else value)


def _meaningless(request: HttpRequest) -> frozenset[str]:
    """Return the names of the parameters that oauthlib does not get to see."""
    is_authorizing = _AUTHORIZING in request.META
    return SERVER_ATTRIBUTES | TOKEN_REQUEST_PARAMETERS if is_authorizing else SERVER_ATTRIBUTES
