"""The endpoints that differ from django-oauth-toolkit's."""

from __future__ import annotations

import json
from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from oauth2_provider import views
from oauth2_provider.models import AbstractApplication
from oauthlib.oauth2.rfc6749.errors import OAuth2Error

from oauth_binding.authorization_server.endpoints.audited import audited
from oauth_binding.authorization_server.endpoints.preflight import allow_origin
from oauth_binding.authorization_server.endpoints.responses import (
    NO_STORE,
    challenge_as_tried,
    check_form,
    check_query,
    check_repetition,
    error_response,
    json_errors,
    posted_parameters,
    without_content_type,
)
from oauth_binding.authorization_server.issuing.limits import TOKEN, check_characters, check_stored
from oauth_binding.core.audit import Event
from oauth_binding.core.databases import deciding
from oauth_binding.core.errors import InvalidRequestError
from oauth_binding.core.reasons import Reason
from oauth_binding.core.toolkit_paths import app_authorized
from oauth_binding.storage.token_values import token_checksum
from oauth_binding.storage.tokens import access_tokens

# Parameters that are looked up in the database as they are. PostgreSQL refuses NUL there, too.
_LOOKED_UP: Final = ("code", "device_code")


def _check_parameters(request: HttpRequest) -> None:
    """Refuse what django-oauth-toolkit and oauthlib would stumble over.

    :raises InvalidRequestError: it names the parameter.
    """
    for name in _LOOKED_UP:
        for value in request.POST.getlist(name):
            check_characters(name, value)
    check_stored(TOKEN, posted_parameters(request))
    if not request.POST.get("code_verifier", "").isascii():
        raise InvalidRequestError(
            Reason.PARAMETER_INVALID, description="code_verifier has characters that RFC 7636 does not allow."
        )
    is_device_grant = request.POST.get("grant_type") == AbstractApplication.GRANT_DEVICE_CODE
    if is_device_grant and not request.POST.get("device_code"):
        raise InvalidRequestError(Reason.PARAMETER_MISSING, description="Missing device_code parameter.")


@method_decorator(
    (
        sensitive_post_parameters(),
        deciding(),
        audited(Event.TOKEN_REFUSED),
        json_errors,
        challenge_as_tried,
    ),
    name="dispatch",
)
class TokenView(views.TokenView):
    """The token endpoint (RFC 6749 section 3.2)."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            check_form(request)
            check_query(request)
            check_repetition(request.POST)
            _check_parameters(request)
        except OAuth2Error as error:
            refused = error_response(error)
            for name, value in self.get_oauthlib_core().cors_headers(request).items():
                refused[name] = value
            return refused
        response: HttpResponse = super().post(request, *args, **kwargs)
        return response

    def options(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return allow_origin(request, super().options(request, *args, **kwargs))

    def device_flow_token_response(
        self, request: HttpRequest, device_code: str, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        # The overridden method looks at the code before the client has authenticated itself. The validator
        # knows the status of the code; like the overridden method, this sends no signal.
        _url, headers, body, status = self.create_token_response(request)
        return _answer(headers, body, status)

    def authorization_flow_token_response(
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        # As the overridden method, except that a token that was revoked as soon as it was committed is no
        # reason for an error here, and that it is not read back if nobody listens.
        _url, headers, body, status = self.create_token_response(request)
        if status == 200 and app_authorized.has_listeners(self):
            checksum = token_checksum(json.loads(body)["access_token"])
            token = access_tokens().filter(token_checksum=checksum).first()
            if token is not None:
                app_authorized.send(sender=self, request=request, token=token)
        return _answer(headers, body, status)


def _answer(headers: dict[str, str], body: str | None, status: int) -> HttpResponse:
    return HttpResponse(
        body,
        status=status,
        content_type="application/json",
        headers={**NO_STORE, **without_content_type(headers)},
    )
