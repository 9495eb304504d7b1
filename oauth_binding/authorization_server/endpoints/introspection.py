"""The introspection endpoint (RFC 7662)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from oauth2_provider import views
from oauth2_provider.models import AbstractApplication, get_access_token_model, get_refresh_token_model
from oauthlib.oauth2.rfc6749.errors import OAuth2Error

from oauth_binding.authorization_server.endpoints.audited import audited
from oauth_binding.authorization_server.endpoints.responses import (
    BASIC,
    challenge_for,
    check_form,
    check_repetition,
    error_response,
    json_errors,
)
from oauth_binding.authorization_server.signing.jwt_access_tokens import read_claims
from oauth_binding.authorization_server.signing.user_claims import user_claims
from oauth_binding.binding.confirmation import Confirmation
from oauth_binding.core import audit
from oauth_binding.core.addresses import get_issuer
from oauth_binding.core.audit import Event
from oauth_binding.core.claim_sources import REGISTERED_CLAIMS
from oauth_binding.core.databases import deciding, written
from oauth_binding.core.errors import InvalidClientError, InvalidRequestError
from oauth_binding.core.reasons import Reason
from oauth_binding.core.toolkit_paths import ProtectedResourceMetadataMixin
from oauth_binding.models import client_subject
from oauth_binding.proof.dpop import DPOP
from oauth_binding.proof.server_rules import api_rules
from oauth_binding.resource_server.bearer import UnavailableError, add_proof_headers, is_proof_tried
from oauth_binding.resource_server.proven_request import with_proof_challenge
from oauth_binding.storage.last_used import note_use
from oauth_binding.storage.liveness import (
    access_token_faults,
    refresh_token_expiry,
    refresh_token_faults,
)
from oauth_binding.storage.standing import offered_scopes, token_has_standing
from oauth_binding.storage.token_values import token_checksum

if TYPE_CHECKING:
    from oauth_binding.models import BoundAccessToken, BoundRefreshToken


#: Credentials, which must not be in a URL (RFC 6749 section 2.3.1, RFC 7521 section 4.2, RFC 9700 section
#: 4.3.2).
_CREDENTIALS: Final = ("client_secret", "client_assertion", "access_token")


# Overriding dispatch() drops what the overridden class was decorated with, so it stands here again.
@method_decorator(
    (
        csrf_exempt,
        login_not_required,
        never_cache,
        deciding(),
        audited(Event.INTROSPECTION_REFUSED),
        json_errors,
    ),
    name="dispatch",
)
class IntrospectTokenView(ProtectedResourceMetadataMixin, views.IntrospectTokenView):
    """The introspection endpoint (RFC 7662).

    The caller is a confidential client that authenticates itself, or presents an access token with the
    ``introspection`` scope (section 2.1). A refresh token is active only for the client it was issued to: no
    resource server may take it for an access token.
    """

    client: Any = None

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            _check_request(request)
            response: HttpResponseBase = super().dispatch(request, *args, **kwargs)
        except OAuth2Error as error:
            response = error_response(error)
            if isinstance(error, InvalidClientError):
                response["WWW-Authenticate"] = BASIC  # two clients are named, one of them by HTTP Basic
            return response
        except ValueError:
            # oauthlib could not decode the query string.
            return error_response(
                InvalidRequestError(Reason.REQUEST_MALFORMED, description="The query string is malformed.")
            )
        add_proof_headers(request, response)
        return response

    def unauthenticated_response(self, request: HttpRequest, oauthlib_request: Any = None) -> HttpResponse:
        response: HttpResponse = super().unauthenticated_response(request, oauthlib_request)
        error = getattr(oauthlib_request, "oauth2_error", None)  # of the token, if one was presented
        if error is not None and error["error"] == UnavailableError.error:
            return JsonResponse(error, status=UnavailableError.status, headers=UnavailableError.headers)
        tokens = with_proof_challenge(response["WWW-Authenticate"])
        if is_proof_tried(request):
            challenge: str | None = DPOP.challenge(api_rules(), error or {})
        else:
            challenge = tokens if error is not None else challenge_for(request, tokens)
        return JsonResponse(
            error or {"error": "invalid_client"},
            status=response.status_code,
            headers={} if challenge is None else {"WWW-Authenticate": challenge},
        )

    def authenticate_client(self, request: HttpRequest) -> bool:
        client = self.get_oauthlib_core().authenticate_client(request)
        # Public clients have nothing that others could not send, whatever grant_type they name.
        is_known = client is not None and client.client_type == AbstractApplication.CLIENT_CONFIDENTIAL
        self.client = client if is_known else None
        if client is not None and not is_known:
            audit.note("invalid_client", Reason.CLIENT_NOT_CONFIDENTIAL)
        return is_known

    def verify_request(self, request: HttpRequest) -> tuple[bool, Any]:
        valid, oauthlib_request = super().verify_request(request)
        if valid and not isinstance(oauthlib_request.access_token, get_access_token_model()):
            # An ID token: it tells a client who has signed in, and is not a credential.
            description = "An ID token is not an access token."
            oauthlib_request.oauth2_error = {"error": "invalid_token", "error_description": description}
            valid = False
        self.client = oauthlib_request.client if valid else None
        return valid, oauthlib_request

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._introspect(request, request.GET.get("token"))

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._introspect(request, request.POST.get("token"))

    def _introspect(self, request: HttpRequest, token: str | None) -> HttpResponse:
        if not token:
            return error_response(
                InvalidRequestError(Reason.PARAMETER_MISSING, description="Missing token parameter.")
            )
        validator = self.get_oauthlib_core().server.request_validator
        row = validator.find_access_token(token)
        if row is not None:
            if not self._has_standing(request, row):
                return JsonResponse({"active": False})
            return self._access_token_response(request, row, token)
        checksum = token_checksum(token)
        related = ("user", "application__token_policy", "binding", "exchange", "access_token")
        refresh = written(get_refresh_token_model()).select_related(*related)
        unrevoked = refresh.filter(token_checksum=checksum, revoked__isnull=True)
        row = unrevoked.filter(application=self.client).first()
        if row is not None and self._has_standing(request, row):
            return self._refresh_token_response(request, row)
        return JsonResponse({"active": False})

    def _has_standing(self, request: HttpRequest, row: BoundAccessToken | BoundRefreshToken) -> bool:
        return token_has_standing(row, self.get_oauthlib_core().oauthlib_request(request))

    def _scope(self, request: HttpRequest, row: BoundAccessToken | BoundRefreshToken, scope: str) -> str:
        """Return what is left of a token's scope: a scope that is no longer offered is left out."""
        if row.application is None:
            return scope
        oauthlib_request = self.get_oauthlib_core().oauthlib_request(request)
        return " ".join(offered_scopes(scope.split(), row.application, oauthlib_request))

    def _access_token_response(self, request: HttpRequest, row: BoundAccessToken, token: str) -> HttpResponse:
        if next(access_token_faults(row), None) is not None:
            return JsonResponse({"active": False})
        note_use(row.binding)  # somebody calls an API elsewhere with it
        answer = self._common(request, row) | {
            "scope": self._scope(request, row, row.scope),
            "token_type": "Bearer" if row.binding_confirmation is None else DPOP.scheme,
            "exp": int(row.expires.timestamp()),
        }
        claims = read_claims(token)
        if claims is None:
            # An opaque token says nothing by itself, so this is what holds now.
            claims = {} if row.application is None else user_claims(row.application, row.user)
        said = {name: claims[name] for name in ("iss", "iat", "jti", "aud") if name in claims}
        own = {name: value for name, value in claims.items() if name not in REGISTERED_CLAIMS}
        # One of the site's own claims may have the name of a member that every token has.
        return JsonResponse(own | answer | said)

    def _refresh_token_response(self, request: HttpRequest, row: BoundRefreshToken) -> HttpResponse:
        if next(refresh_token_faults(row), None) is not None:
            return JsonResponse({"active": False})
        assert row.access_token is not None  # noqa: S101
        expires = refresh_token_expiry(row)
        answer = self._common(request, row) | {
            "scope": self._scope(request, row, row.access_token.scope),
            "token_type": "refresh_token",
        }
        if expires is not None:
            answer["exp"] = int(expires.timestamp())
        return JsonResponse(answer)

    def _common(self, request: HttpRequest, row: BoundAccessToken | BoundRefreshToken) -> dict[str, Any]:
        answer: dict[str, Any] = {
            "active": True,
            "iss": get_issuer(request),
            "iat": int(row.created.timestamp()),
        }
        if row.application is not None:
            answer["client_id"] = row.application.client_id
        if row.user is not None:
            answer |= {"username": row.user.get_username(), "sub": str(row.user.pk)}
        elif row.application is not None and (subject := client_subject(row.application)) is not None:
            answer["sub"] = subject
        if row.resource:
            answer["aud"] = row.resource
        if row.binding is not None:
            answer |= row.binding.claims
        if row.exchange is not None:
            answer |= row.exchange.claims
        confirmation = Confirmation.from_stored(row.binding_confirmation)
        if confirmation is not None:
            answer |= confirmation.claims
        return answer


def _check_request(request: HttpRequest) -> None:
    """Refuse a body that is not a form, credentials in the query string, and repeated parameters.

    :raises InvalidRequestError: it names the media type that is wanted, or the parameter.
    """
    check_form(request)
    for name in _CREDENTIALS:
        if name in request.GET:
            raise InvalidRequestError(
                Reason.PARAMETER_MISPLACED,
                description=f"{name} must be in the body, not in the query string.",
            )
    check_repetition(request.GET, request.POST)
