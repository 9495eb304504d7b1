"""The endpoint of the revocation feed."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
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
from oauth_binding.authorization_server.signing.key_file import SigningKey
from oauth_binding.authorization_server.signing.signing_key import get_signing_key
from oauth_binding.core.addresses import get_issuer
from oauth_binding.core.settings import binding_settings
from oauth_binding.storage.ending import CLOCK_LEEWAY

#: How long an answer that is not closed is given to everybody before the tables are looked into again, in
#: seconds. So strangers can have little looked up and signed, and a revocation is in the answers after that.
LOOK_UP_INTERVAL: Final = 1

#: How old the ``iat`` of the head may be, in seconds.
SIGNING_INTERVAL: Final = 5

#: How long the first moment of the feed is kept, in seconds. Finding it means looking at all that is named.
FIRST_INTERVAL: Final = 600


@method_decorator((login_not_required, json_errors), name="dispatch")
class RevokedTokensView(View):
    """Serves the pieces of the feed, each a JWT with the claims ``iss``, ``iat`` and ``exp``.

    - Without parameters the head: ``first``, before which there is nothing; ``closed``, before which nothing
      is added; ``listed`` and ``slices``, the minutes as of ``listed`` in which something was revoked, each
      with its state; and ``suspended``, the state of that piece, or null.
    - ``from``, a moment in seconds since the epoch: what was ``revoked`` as of then, before ``until``. Where
      it is not closed, it has the ``state`` of its minute.
    - ``list=suspended``: the tokens of users who are not active now, always all of them, and their ``state``.

    ``revoked`` and ``suspended`` are dicts of the ``jti`` of each token with its ``exp``.
    """

    http_method_names = ["get", "head", "options"]

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not binding_settings.revocation_feed:
            raise Http404
        return super().dispatch(request, *args, **kwargs)

    def get(self, request: HttpRequest) -> HttpResponse:
        now = timezone.now().replace(microsecond=0)
        try:
            key = get_signing_key()
        except ImproperlyConfigured:
            raise Http404 from None  # it is not set up (manage.py check: E009)
        issuer = get_issuer(request)
        signer = _Signer(key, issuer, now)
        try:
            name, make = _asked(request, signer)
        except ValueError:
            description = "from is not a moment of the feed, or list is not suspended."
            return JsonResponse({"error": "invalid_request", "error_description": description}, status=400)
        answer = _kept.get((issuer, key.kid, name), int(now.timestamp()), make)
        response = get_conditional_response(request, etag=answer.etag)
        if response is None:
            response = HttpResponse(
                answer.text, content_type="application/jwt", headers={"ETag": answer.etag}
            )
        if answer.end is None:
            # May be kept, but has to be asked for anew each time.
            response["Cache-Control"] = "public, no-cache"
        else:
            age = max(0, answer.end - int(now.timestamp()))
            response["Cache-Control"] = f"public, max-age={age}, immutable"
        return response


@dataclass(frozen=True, slots=True)
class _Answer:
    """A signed piece."""

    etag: str
    text: str
    #: Until when it does not change, in seconds since the epoch; None for one that is not closed.
    end: int | None
    #: When the tables were looked into, and when it was signed, on the clock of ``time.monotonic``.
    looked_up: float
    signed: float


#: Makes an answer; it is given the one that there is, which it may return with another ``looked_up``.
_Make = Callable[[_Answer | None], _Answer]


@dataclass(frozen=True, slots=True)
class _Signer:
    key: SigningKey
    issuer: str
    now: datetime

    @property
    def seconds(self) -> int:
        return int(self.now.timestamp())

    def make_head(self, kept: _Answer | None) -> _Answer:
        looked_up = monotonic()
        listed, slices = feed.read_listed(self.seconds)
        claims = {
            "first": _kept.first(self.issuer, self.now),
            "closed": feed.closed_until(self.seconds),
            "listed": listed,
            "slices": {str(start): slices[start] for start in sorted(slices)},
            "suspended": feed.state_of_suspended(feed.read_suspended(self.now)),
        }
        return self._renew(kept, looked_up, str(claims), claims, SIGNING_INTERVAL)

    def make_suspended(self, kept: _Answer | None) -> _Answer:
        looked_up = monotonic()
        suspended = feed.read_suspended(self.now)
        state = feed.state_of_suspended(suspended)
        return self._renew(kept, looked_up, f"suspended {state}", {"suspended": suspended, "state": state})

    def make_piece(self, start: int, kept: _Answer | None) -> _Answer:
        looked_up = monotonic()
        piece = feed.read_piece(start, self.now)
        claims: dict[str, Any] = {"from": start, "until": piece.until, "revoked": piece.revoked}
        if piece.state is not None:
            return self._renew(
                kept, looked_up, f"{start} {piece.until} {piece.state}", {**claims, "state": piece.state}
            )
        end = piece.end or self.seconds + feed.LIFETIME
        return self._sign(f"{start} closed {self.seconds}", {**claims, "exp": end}, looked_up, end)

    def _renew(
        self,
        kept: _Answer | None,
        looked_up: float,
        content: str,
        claims: dict[str, Any],
        interval: float = feed.LIFETIME / 2,
    ) -> _Answer:
        window = self.seconds // (feed.LIFETIME // 2)
        answer_etag = self._etag(f"{window} {content}")
        if kept is not None and kept.etag == answer_etag and monotonic() - kept.signed < interval:
            return replace(kept, looked_up=looked_up)
        return self._sign(f"{window} {content}", claims, looked_up)

    def _sign(
        self, content: str, claims: dict[str, Any], looked_up: float, end: int | None = None
    ) -> _Answer:
        common = {"iss": self.issuer, "iat": self.seconds, "exp": self.seconds + feed.LIFETIME}
        text = feed.sign(self.key, {**common, **claims})
        return _Answer(self._etag(content), text, end, looked_up, monotonic())

    def _etag(self, content: str) -> str:
        parts = f"{self.key.kid} {self.issuer} {content}"
        return f'"{hashlib.sha256(parts.encode()).hexdigest()}"'


class _Kept:
    """The answers that were signed last: strangers ask for them, too, and to make them is what costs."""

    #: How many characters are kept altogether: those of a million tokens.
    MAX_SIZE: Final = 64 * 1024 * 1024

    #: How many answers are kept.
    MAX_COUNT: Final = 4096

    def __init__(self) -> None:
        self._answers: OrderedDict[tuple[str, ...], _Answer] = OrderedDict()
        self._size = 0
        self._firsts: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: tuple[str, ...], now: int, make: _Make) -> _Answer:
        """Return an answer, made by one thread at a time where it is not there, or may have changed.

        :param now: what time it is, in seconds since the epoch.
        """
        with self._lock:
            answer = self._answers.get(name)
            if answer is None or not _is_good(answer, now):
                self._keep(name, make(answer))
            self._answers.move_to_end(name)
            return self._answers[name]

    def _keep(self, name: tuple[str, ...], answer: _Answer) -> None:
        before = self._answers.pop(name, None)
        self._size += len(answer.text) - (0 if before is None else len(before.text))
        self._answers[name] = answer
        while len(self._answers) > self.MAX_COUNT or (self._size > self.MAX_SIZE and len(self._answers) > 1):
            _name, oldest = self._answers.popitem(last=False)
            self._size -= len(oldest.text)

    def first(self, issuer: str, now: datetime) -> int:
        """Return ``feed.read_first``, as it was lately."""
        read, first = self._firsts.get(issuer, (0.0, 0))
        if issuer not in self._firsts or monotonic() - read >= FIRST_INTERVAL:
            read, first = monotonic(), feed.read_first(now)
            self._firsts[issuer] = read, first
            self._firsts.move_to_end(issuer)
            while len(self._firsts) > self.MAX_COUNT:
                self._firsts.popitem(last=False)
        return first


def _is_good(answer: _Answer, now: int) -> bool:
    if answer.end is not None:
        return now < answer.end
    return monotonic() - answer.looked_up < LOOK_UP_INTERVAL


#: For the life of the process.
_kept = _Kept()


def _asked(request: HttpRequest, signer: _Signer) -> tuple[str, _Make]:
    """Return the name of the piece that a request asks for, and what makes it.

    :raises ValueError: there is no such piece.
    """
    if "list" in request.GET:
        if request.GET["list"] != "suspended":
            raise ValueError
        return "suspended", signer.make_suspended
    if "from" not in request.GET:
        return "", signer.make_head
    text = request.GET["from"]
    if not (text.isascii() and text.isdecimal() and len(text) <= 11):
        raise ValueError
    start = int(text)
    if not signer.seconds - feed.MAX_AGE <= start <= signer.seconds + CLOCK_LEEWAY:
        raise ValueError
    # Before the first moment there is little that can be asked for.
    if start % feed.SPANS[0] and start < _kept.first(signer.issuer, signer.now):
        raise ValueError
    return str(start), lambda kept: signer.make_piece(start, kept)
