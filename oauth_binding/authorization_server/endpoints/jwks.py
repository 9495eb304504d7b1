"""The JWK set of this server (RFC 7517)."""

from __future__ import annotations

import json
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.decorators import method_decorator
from django.views.generic import View
from oauth2_provider import views
from oauth2_provider.settings import oauth2_settings

from oauth_binding.authorization_server.endpoints.responses import (
    error_response,
    json_errors,
    readable_anywhere,
)
from oauth_binding.authorization_server.signing.key_file import KeyFileError
from oauth_binding.authorization_server.signing.signing_key import get_published_jwks
from oauth_binding.core.errors import MisconfiguredError
from oauth_binding.core.reasons import Reason
from oauth_binding.core.settings import binding_settings


def has_keys() -> bool:
    """Return whether there are keys to publish."""
    return bool(oauth2_settings.OIDC_RSA_PRIVATE_KEY or binding_settings.signing_keys)


@method_decorator((login_not_required, readable_anywhere, json_errors), name="dispatch")
class JwksInfoView(views.JwksInfoView):
    """The JWK set (RFC 7517 section 5): django-oauth-toolkit's, and the published ones of ``SIGNING_KEYS``.

    It is there also where OIDC is off.
    """

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if has_keys():
            return View.dispatch(self, request, *args, **kwargs)
        response: HttpResponseBase = super().dispatch(request, *args, **kwargs)
        return response

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = super().get(request, *args, **kwargs)
        try:
            published = get_published_jwks()
        except KeyFileError:
            # Never a part of the set: whoever has the whole set keeps it.
            return error_response(
                MisconfiguredError(Reason.MISCONFIGURED, description="The keys can't be read.")
            )
        if published:
            jwks = {jwk["kid"]: jwk for jwk in [*json.loads(response.content)["keys"], *published]}
            response.content = json.dumps({"keys": list(jwks.values())})
        return response
