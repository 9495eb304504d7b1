"""The endpoint of the revocation feed."""

from __future__ import annotations

import hashlib
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import ImproperlyConfigured
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.utils import timezone
from django.utils.cache import get_conditional_response
from django.utils.decorators import method_decorator
from django.views.generic import View
from oauth2_provider.settings import oauth2_settings

from oauth_binding.authorization_server.revocation import feed
from oauth_binding.authorization_server.signing.signing_key import get_signing_key
from oauth_binding.core.settings import binding_settings


@method_decorator(login_not_required, name="dispatch")
class RevokedTokensView(View):
    """Answers the revoked tokens that have not long expired: all, or those revoked at ``since`` or later.

    ``since`` is the ``next`` of an earlier answer, in seconds since the epoch. An answer has the claims
    ``iss``, ``iat``, ``exp``, ``since`` where there was one, ``next``, and two dicts of the ``jti`` of each
    token with its ``exp``: ``revoked``, and ``suspended`` with the tokens of users who are not active now,
    always all of them.
    """

    http_method_names = ["get", "head", "options"]

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not binding_settings.revocation_feed:
            raise Http404
        return super().dispatch(request, *args, **kwargs)

    def get(self, request: HttpRequest) -> HttpResponse:
        now = timezone.now().replace(microsecond=0)
        try:
            since = _read_since(request)
        except ValueError:
            description = "since is not the next of an earlier answer."
            return JsonResponse({"error": "invalid_request", "error_description": description}, status=400)
        revoked, suspended = feed.read_revoked(now, since), feed.read_suspended(now)
        try:
            key = get_signing_key()
        except ImproperlyConfigured:
            raise Http404 from None  # it is not set up (manage.py check: E009)
        issuer = oauth2_settings.oidc_issuer(request)
        window = int(now.timestamp()) // (feed.LIFETIME // 2)
        parts = [key.kid, issuer, str(since), str(window), *revoked, "suspended", *suspended]
        etag = f'"{hashlib.sha256(" ".join(parts).encode()).hexdigest()}"'
        response = get_conditional_response(request, etag=etag)
        if response is None:
            text = feed.sign(key, issuer, int(now.timestamp()), since, revoked, suspended)
            response = HttpResponse(text, content_type="application/jwt", headers={"ETag": etag})
        # May be kept, and asked for anew each time: an answer is as old as the request that gets it.
        response["Cache-Control"] = "public, no-cache"
        return response


def _read_since(request: HttpRequest) -> int | None:
    """Return the ``since`` of a request, or None without one.

    :raises ValueError: it is not one that an answer has had.
    """
    if "since" not in request.GET:
        return None
    text = request.GET["since"]
    if not (text.isascii() and text.isdecimal() and len(text) <= 11):
        raise ValueError
    return int(text)
