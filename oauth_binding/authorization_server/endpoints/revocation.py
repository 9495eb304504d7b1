"""The revocation endpoint (RFC 7009)."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from oauth2_provider import views
from oauthlib.oauth2.rfc6749.errors import OAuth2Error

from oauth_binding.authorization_server.endpoints.audited import audited
from oauth_binding.authorization_server.endpoints.responses import (
    challenge_as_tried,
    check_form,
    check_query,
    check_repetition,
    error_response,
    json_errors,
)
from oauth_binding.core.audit import Event


@method_decorator((audited(Event.REVOCATION_REFUSED), json_errors, challenge_as_tried), name="dispatch")
class RevokeTokenView(views.RevokeTokenView):
    """The revocation endpoint (RFC 7009)."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            check_form(request)
            check_query(request)
            check_repetition(request.POST)
        except OAuth2Error as error:
            return error_response(error)
        # If the database gives it up for others, the answer is 503 (json_errors), as in RFC 7009 section
        # 2.2.1: the client must assume that the token is still valid, and may ask again.
        response: HttpResponse = super().post(request, *args, **kwargs)
        return response
