"""The endpoint of the revocation feed."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from time import monotonic
from typing import Any, Final

from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import ImproperlyConfigured
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.utils import timezone
from django.utils.cache import get_conditional_response
from django.utils.decorators import method_decorator
from django.views.generic import View

from oauth_binding.authorization_server.endpoints.responses import json_errors
from oauth_binding.authorization_server.revocation import feed
from oauth_binding.authorization_server.signing.signing_key import get_signing_key
from oauth_binding.core.addresses import get_issuer
from oauth_binding.core.settings import binding_settings


@method_decorator((login_not_required, json_errors), name="dispatch")
class RevokedTokensView(View):
    """Answers the revoked tokens that have not long expired: all, or those revoked at ``since`` or later.

    ``since`` is the ``next`` of an answer of the last two hours, in seconds since the epoch. An answer has
    the claims ``iss``, ``iat``, ``exp``, ``since`` where there was one, ``next``, and two dicts of the
    ``jti`` of each token with its ``exp``: ``revoked``, and ``suspended`` with the tokens of users who are
    not active now, always all of them.
    """

    http_method_names = ["get", "head", "options"]

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not binding_settings.revocation_feed:
            raise Http404
        return super().dispatch(request, *args, **kwargs)

    def get(self, request: HttpRequest) -> HttpResponse:
        now = timezone.now().replace(microsecond=0)
        try:
            since = _read_since(request, int(now.timestamp()))
        except ValueError:
            description = "since is not the next of an answer of the last two hours."
            return JsonResponse({"error": "invalid_request", "error_description": description}, status=400)
        try:
            key = get_signing_key()
        except ImproperlyConfigured:
            raise Http404 from None  # it is not set up (manage.py check: E009)
        issuer = get_issuer(request)
        suspended = feed.read_suspended(now)
        window = int(now.timestamp()) // (feed.LIFETIME // 2)
        parts = [key.kid, issuer, str(since), str(window), feed.fingerprint(now, since), *suspended]
        etag = f'"{hashlib.sha256(" ".join(parts).encode()).hexdigest()}"'
        response = get_conditional_response(request, etag=etag)
        if response is None:
            text = _signed.get(etag)
            if text is None:
                revoked = feed.read_revoked(now, since)
                text = feed.sign(key, issuer, int(now.timestamp()), since, revoked, suspended)
                _signed.keep(etag, text)
            response = HttpResponse(text, content_type="application/jwt", headers={"ETag": etag})
        # May be kept, and asked for anew each time: an answer is as old as the request that gets it.
        response["Cache-Control"] = "public, no-cache"
        return response


class _Signed:
    """The answers that were signed last: strangers ask for them, too, and signing is what costs most."""

    #: How long one is answered again that has not changed, in seconds: its ``iat`` is no older.
    LIFETIME: Final = 5

    #: How many are kept; a list may be long.
    MAX_COUNT: Final = 16

    def __init__(self) -> None:
        self._answers: OrderedDict[str, tuple[float, str]] = OrderedDict()

    def get(self, etag: str) -> str | None:
        signed, text = self._answers.get(etag, (0.0, None))
        return text if text is not None and monotonic() - signed < self.LIFETIME else None

    def keep(self, etag: str, text: str) -> None:
        self._answers[etag] = monotonic(), text
        self._answers.move_to_end(etag)
        while len(self._answers) > self.MAX_COUNT:
            self._answers.popitem(last=False)


#: For the life of the process.
_signed = _Signed()


def _read_since(request: HttpRequest, now: int) -> int | None:
    """Return the ``since`` of a request, or None without one.

    :param now: what time it is, in seconds since the epoch.
    :raises ValueError: it is not one that an answer has had lately.
    """
    if "since" not in request.GET:
        return None
    text = request.GET["since"]
    if not (text.isascii() and text.isdecimal() and len(text) <= 11):
        raise ValueError
    since = int(text)
    if since % feed.GRID or not now - feed.MAX_AGE <= since <= now:
        raise ValueError
    return since
