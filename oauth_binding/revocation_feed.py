"""The revocation feed: which JWT access tokens were revoked or superseded before they expired.

An API that validates JWTs on its own fetches it now and then, instead of asking for every request. It is a
JWT itself, signed like access tokens with the site's default algorithm.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import jwt
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import ImproperlyConfigured
from django.db import router
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.utils import timezone
from django.utils.cache import get_conditional_response
from django.utils.decorators import method_decorator
from django.views.generic import View
from oauth2_provider.settings import oauth2_settings

from oauth_binding.conf import binding_settings
from oauth_binding.keys import get_signing_key
from oauth_binding.models import RevokedToken

#: The ``typ`` header, which no access token has (RFC 8725 section 3.11).
TYPE: Final = "revoked-tokens+jwt"

#: How long an answer may be relied on, in seconds.
LIFETIME: Final = 600

#: How long an expired token is still named, in seconds: an API whose clock is behind may still accept it.
LEEWAY: Final = 300

#: How far an answer reaches back behind the last one, in seconds. A transaction that revokes may be open for
#: so long, and the clocks of the server's hosts so far apart, without a revocation being missed.
OVERLAP: Final = 300

#: Answers begin at full minutes, in seconds, so that many APIs ask for the same one.
GRID: Final = 60


@method_decorator(login_not_required, name="dispatch")
class RevokedTokensView(View):
    """Answers the revoked tokens that have not long expired: all, or those revoked at ``since`` or later.

    ``since`` is the ``next`` of an earlier answer, in seconds since the epoch. An answer has the claims
    ``iss``, ``iat``, ``exp``, ``since`` where there was one, ``next``, and ``revoked``: a dict of the ``jti``
    of each token with its ``exp``.
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
        rows = RevokedToken.objects.using(router.db_for_write(RevokedToken))
        rows = rows.filter(expires__gt=now - timedelta(seconds=LEEWAY)).order_by("pk")
        if since is not None:
            rows = rows.filter(revoked__gte=datetime.fromtimestamp(since, UTC))
        revoked = {jti: int(expires.timestamp()) for jti, expires in rows.values_list("jti", "expires")}
        try:
            key = get_signing_key()
        except ImproperlyConfigured:
            raise Http404 from None  # it is not set up (manage.py check: E009)
        issuer = oauth2_settings.oidc_issuer(request)
        window = int(now.timestamp()) // (LIFETIME // 2)
        parts = [key.kid, issuer, str(since), str(window), *revoked]
        etag = f'"{hashlib.sha256(" ".join(parts).encode()).hexdigest()}"'
        response = get_conditional_response(request, etag=etag)
        if response is None:
            claims: dict[str, Any] = {
                "iss": issuer,
                "iat": int(now.timestamp()),
                "exp": int(now.timestamp()) + LIFETIME,
                "next": (int(now.timestamp()) - OVERLAP) // GRID * GRID,
                "revoked": revoked,
            }
            if since is not None:
                claims["since"] = since
            headers = {"typ": TYPE, "kid": key.kid}
            text = jwt.encode(claims, key.private_key, algorithm=key.algorithm, headers=headers)
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
