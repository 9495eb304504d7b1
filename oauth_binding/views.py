"""The endpoints that differ from django-oauth-toolkit's."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from typing import TYPE_CHECKING, Any, Final

from django.contrib.auth.decorators import login_not_required
from django.db import router
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_post_parameters
from django.views.generic import View
from oauth2_provider import views
from oauth2_provider.models import (
    AbstractApplication,
    get_access_token_model,
    get_refresh_token_model,
    refresh_token_expire_timedelta,
)
from oauth2_provider.settings import oauth2_settings
from oauth2_provider.signals import app_authorized
from oauth2_provider.views.mixins import ProtectedResourceMetadataMixin
from oauthlib.common import Request as OAuthlibRequest
from oauthlib.oauth2.rfc6749.errors import InvalidRequestError, OAuth2Error

from oauth_binding.access_tokens import read_claims
from oauth_binding.conf import binding_settings
from oauth_binding.errors import MisconfiguredError
from oauth_binding.exchanges import GRANT_TYPE
from oauth_binding.key_file import KeyFileError
from oauth_binding.keys import get_published_jwks
from oauth_binding.models import TokenExchangeRule
from oauth_binding.server import binder_parameters

if TYPE_CHECKING:
    from oauth_binding.models import BoundAccessToken, BoundRefreshToken

# Parameters that reach the database as they come. None may have control characters (RFC 6749 appendix A), and
# PostgreSQL refuses NUL.
_STORED: Final = ("code", "device_code", "resource", "audience")

_NO_STORE: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}


def _error_response(error: OAuth2Error) -> HttpResponse:
    """Return an error as RFC 6749 section 5.2 has it."""
    return HttpResponse(
        error.json,
        status=error.status_code,
        content_type="application/json",
        headers={**_NO_STORE, **error.headers},
    )


def _check_query(request: HttpRequest) -> None:
    """Refuse parameters in the query string (RFC 6749 section 3.2, RFC 7009 section 2.1).

    :raises InvalidRequestError: naming the parameter, where a binder reads it.
    """
    for parameter in binder_parameters():
        if parameter in request.GET:
            raise InvalidRequestError(
                description=f"{parameter} must be in the body, not in the query string."
            )
    if request.META.get("QUERY_STRING"):
        # oauthlib says the same, but not before it fails to decode some query strings.
        raise InvalidRequestError(description="URL query parameters are not allowed")


def _check_parameters(request: HttpRequest) -> None:
    """Refuse what django-oauth-toolkit and oauthlib would stumble over.

    :raises InvalidRequestError: naming the parameter.
    """
    for name in _STORED:
        for value in request.POST.getlist(name):
            if any(unicodedata.category(character) == "Cc" for character in value):
                raise InvalidRequestError(description=f"{name} has control characters.")
    if not request.POST.get("code_verifier", "").isascii():
        raise InvalidRequestError(description="code_verifier has characters that RFC 7636 does not allow.")
    is_device_grant = request.POST.get("grant_type") == AbstractApplication.GRANT_DEVICE_CODE
    if is_device_grant and not request.POST.get("device_code"):
        raise InvalidRequestError(description="Missing device_code parameter.")


@method_decorator(sensitive_post_parameters(), name="dispatch")
class TokenView(views.TokenView):
    """The token endpoint (RFC 6749 section 3.2)."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            _check_query(request)
            _check_parameters(request)
        except OAuth2Error as error:
            return _error_response(error)
        response: HttpResponse = super().post(request, *args, **kwargs)
        return response

    def authorization_flow_token_response(
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        # As the overridden method, but for a token that was revoked as soon as it was committed, which is no
        # reason for an error here; and it is not read back where nobody listens.
        _url, headers, body, status = self.create_token_response(request)
        if status == 200 and app_authorized.has_listeners(self):
            checksum = hashlib.sha256(json.loads(body)["access_token"].encode()).hexdigest()
            model = get_access_token_model()
            written = model.objects.using(router.db_for_write(model))  # a replica may not have it yet
            token = written.filter(token_checksum=checksum).first()
            if token is not None:
                app_authorized.send(sender=self, request=request, token=token)
        return HttpResponse(
            body,
            status=status,
            content_type="application/json",
            headers={**_NO_STORE, **_without_type(headers)},
        )


def _has_keys() -> bool:
    return bool(oauth2_settings.OIDC_RSA_PRIVATE_KEY or binding_settings.signing_keys)


def _without_type(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() != "content-type"}


class DeviceAuthorizationView(views.DeviceAuthorizationView):
    """The device authorization endpoint (RFC 8628 section 3.1)."""

    def create_device_authorization_response(self, request: HttpRequest) -> tuple[Any, Any, int]:
        headers, body, status = super().create_device_authorization_response(request)
        if status == 200:
            # oauthlib 4 adds the scope, which django-oauth-toolkit does not expect. RFC 8628 has none here.
            body.pop("scope", None)
        return headers, body, status


class RevokeTokenView(views.RevokeTokenView):
    """The revocation endpoint (RFC 7009)."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            _check_query(request)
        except OAuth2Error as error:
            return _error_response(error)
        response: HttpResponse = super().post(request, *args, **kwargs)
        return response


# Overriding dispatch() drops what the overridden class was decorated with, so it stands here again.
@method_decorator((csrf_exempt, login_not_required, never_cache), name="dispatch")
class IntrospectTokenView(ProtectedResourceMetadataMixin, views.IntrospectTokenView):
    """The introspection endpoint (RFC 7662).

    Clients authenticate themselves, or present a bearer token with the ``introspection`` scope. A refresh
    token is active only for the client it was issued to: no resource server may take it for an access token.
    """

    client: Any = None

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            response: HttpResponseBase = super().dispatch(request, *args, **kwargs)
        except ValueError:
            # oauthlib could not decode the query string.
            return _error_response(InvalidRequestError(description="The query string is malformed."))
        return response

    def unauthenticated_response(self, request: HttpRequest, oauthlib_request: Any = None) -> HttpResponse:
        response: HttpResponse = super().unauthenticated_response(request, oauthlib_request)
        if response.status_code == 401:
            response["WWW-Authenticate"] = f'Basic realm="introspection", {response["WWW-Authenticate"]}'
        return response

    def authenticate_client(self, request: HttpRequest) -> bool:
        core = self.get_oauthlib_core()
        oauthlib_request = OAuthlibRequest(*core._extract_params(request))
        authenticated: bool = core.server.request_validator.authenticate_client(oauthlib_request)
        self.client = oauthlib_request.client if authenticated else None
        return authenticated

    def verify_request(self, request: HttpRequest) -> tuple[bool, Any]:
        valid, oauthlib_request = super().verify_request(request)
        self.client = oauthlib_request.client if valid else None
        return valid, oauthlib_request

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._introspect(request, request.GET.get("token"))

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._introspect(request, request.POST.get("token"))

    def _introspect(self, request: HttpRequest, token: str | None) -> HttpResponse:
        if not token:
            return _error_response(InvalidRequestError(description="Missing token parameter."))
        validator = self.get_oauthlib_core().server.request_validator
        row = validator._load_access_token(token)
        if row is not None:
            return self._access_token_response(request, row, token)
        checksum = hashlib.sha256(token.encode()).hexdigest()
        related = ("user", "application", "binding", "exchange", "access_token")
        refresh = get_refresh_token_model().objects.select_related(*related)
        unrevoked = refresh.filter(token_checksum=checksum, revoked__isnull=True)
        row = unrevoked.filter(application=self.client).first()
        if row is not None:
            return self._refresh_token_response(request, row)
        return JsonResponse({"active": False})

    def _access_token_response(self, request: HttpRequest, row: BoundAccessToken, token: str) -> HttpResponse:
        if row.is_expired():
            return JsonResponse({"active": False})
        answer = self._common(request, row) | {
            "scope": row.scope,
            "token_type": "Bearer",
            "exp": int(row.expires.timestamp()),
        }
        claims = read_claims(token)
        if claims is not None:
            answer |= {name: claims[name] for name in ("iss", "iat", "jti")}
        return JsonResponse(answer)

    def _refresh_token_response(self, request: HttpRequest, row: BoundRefreshToken) -> HttpResponse:
        # The same rules by which django-oauth-toolkit accepts one.
        lifetime = refresh_token_expire_timedelta()
        if row.access_token is None:
            return JsonResponse({"active": False})
        answer = self._common(request, row) | {"scope": row.access_token.scope, "token_type": "refresh_token"}
        if lifetime is not None:
            expires = row.access_token.expires + lifetime
            if expires <= timezone.now():
                return JsonResponse({"active": False})
            answer["exp"] = int(expires.timestamp())
        return JsonResponse(answer)

    def _common(self, request: HttpRequest, row: BoundAccessToken | BoundRefreshToken) -> dict[str, Any]:
        answer: dict[str, Any] = {
            "active": True,
            "iss": oauth2_settings.oidc_issuer(request),
            "iat": int(row.created.timestamp()),
        }
        if row.application is not None:
            answer |= {"client_id": row.application.client_id, "sub": row.application.client_id}
        if row.user is not None:
            answer |= {"username": row.user.get_username(), "sub": str(row.user.pk)}
        if row.resource:
            answer["aud"] = row.resource
        if row.binding is not None:
            answer |= row.binding.claims
        if row.exchange is not None:
            answer |= row.exchange.claims
        return answer


@method_decorator(login_not_required, name="dispatch")
class JwksInfoView(views.JwksInfoView):
    """The JWK set (RFC 7517 section 5): django-oauth-toolkit's, and the published ones of ``SIGNING_KEYS``.

    It is there also where OIDC is off.
    """

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if _has_keys():
            return View.dispatch(self, request, *args, **kwargs)
        response: HttpResponseBase = super().dispatch(request, *args, **kwargs)
        return response

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = super().get(request, *args, **kwargs)
        try:
            published = get_published_jwks()
        except KeyFileError:
            # Not a part of the set: who has the whole one keeps it.
            return _error_response(MisconfiguredError(description="The keys can't be read."))
        if published:
            jwks = {jwk["kid"]: jwk for jwk in [*json.loads(response.content)["keys"], *published]}
            response.content = json.dumps({"keys": list(jwks.values())})
        return response


class OAuthServerMetadataView(views.OAuthServerMetadataView):
    """The authorization server metadata (RFC 8414), with ``jwks_uri`` also where OIDC is off.

    Token exchange is named as soon as there is a rule that allows one.
    """

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = super().get(request, *args, **kwargs)
        metadata = json.loads(response.content)
        if _has_keys():
            metadata.setdefault("jwks_uri", self._get_endpoint_url(request, "jwks-info", required=True))
        if TokenExchangeRule.objects.exists():
            metadata["grant_types_supported"].append(GRANT_TYPE)
        response.content = json.dumps(metadata)
        return response
