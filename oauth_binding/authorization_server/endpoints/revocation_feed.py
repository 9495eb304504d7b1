"""The endpoint of the revocation feed."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from math import inf
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

#: How long what may change is given to everybody before the tables are looked into again, in seconds. So
#: strangers can have little looked up and signed, and a revocation is in the answers after that.
LOOK_UP_INTERVAL: Final = 1

#: What part of the time is spent on looking for users who are not active, at most: it takes long where they
#: hold hundreds of thousands of live tokens.
MAX_SHARE: Final = 0.1

#: How old the ``iat`` of the head may be, in seconds.
SIGNING_INTERVAL: Final = 5

#: How long the first moment of the feed is kept, in seconds. Finding it means looking at all that is named.
FIRST_INTERVAL: Final = 600


@method_decorator((login_not_required, json_errors), name="dispatch")
class RevokedTokensView(View):
    """Serves the pieces of the feed, each a JWT with the claims ``iss``, ``iat`` and ``exp``.

    - Without parameters the head: ``first``, before which there is nothing; ``closed``, before which nothing
      is added; ``listed`` and ``slices``, the minutes as of ``listed`` in which something was revoked, each
      with its state; and ``suspended``, likewise the hours in which tokens expire whose users are not active.
    - ``from``, a moment in seconds since the epoch: the piece that it is in, with what was ``revoked`` as of
      its own ``from`` and before ``until``. Where it is not closed, it has the ``state`` of its minute.
    - ``suspended``, a moment: the piece that it is in, with the tokens of users who are not active now, and
      expire as of its own ``from`` and before ``until``, and the ``state`` of its hour.

    ``revoked`` and ``suspended`` are dicts of the ``jti`` of each token with its ``exp``.

    A moment that is asked for is not the name of an answer: there are as many as pieces, and each of them is
    signed once, whatever strangers ask for.
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
        try:
            answer = _find_answer(request, _Signer(key, get_issuer(request), now))
        except ValueError as error:
            error_json = {"error": "invalid_request", "error_description": str(error)}
            return JsonResponse(error_json, status=400)
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


def _find_answer(request: HttpRequest, signer: _Signer) -> _Answer:
    """Return what a request asks for.

    :raises ValueError: there is no such piece.
    """
    if "from" in request.GET:
        moment = _read_moment("from", request.GET["from"])
        if moment > signer.seconds + CLOCK_LEEWAY:
            raise ValueError("from is in the future.")
        return signer.revoked_at(moment)
    if "suspended" in request.GET:
        return signer.suspended_at(_read_moment("suspended", request.GET["suspended"]))
    return signer.head()


def _read_moment(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < len(str(feed.END))):
        raise ValueError(f"{name} is not a moment in seconds since the epoch.")
    return int(text)


@dataclass(frozen=True, slots=True)
class _Answer:
    """A signed piece."""

    etag: str
    text: str
    #: Until when it does not change, in seconds since the epoch; None for one that is not closed.
    end: int | None
    #: When it was signed, on the clock of ``time.monotonic``.
    signed: float


@dataclass(frozen=True, slots=True)
class _Found:
    """What was signed or looked up."""

    #: An ``_Answer``, or what was found in the tables.
    value: Any
    #: How many bytes it takes, beyond what each takes.
    size: int = 0
    #: Until when it is good, in seconds since the epoch.
    end: float = inf
    #: Likewise, on the clock of ``time.monotonic``.
    good_until: float = inf


#: Makes what is not kept; it is given the value that was, or None.
_Make = Callable[[Any], _Found]


@dataclass(frozen=True, slots=True)
class _Signer:
    """Finds what a request asks for, or makes it."""

    key: SigningKey
    issuer: str
    now: datetime

    @property
    def seconds(self) -> int:
        return int(self.now.timestamp())

    def head(self) -> _Answer:
        first, suspended = self._first(), self._suspended()

        def make(kept: _Answer | None) -> _Found:
            good_until = min(monotonic() + LOOK_UP_INTERVAL, suspended.good_until)
            listed, slices = feed.read_listed(self.seconds)
            claims = {
                "first": first,
                "closed": feed.closed_until(self.seconds),
                "listed": listed,
                "slices": {str(start): slices[start] for start in sorted(slices)},
                "suspended": {str(start): state for start, state in suspended.value.states.items()},
            }
            return self._renew(kept, str(claims), claims, good_until, SIGNING_INTERVAL)

        return self._answer("head", make)

    def revoked_at(self, moment: int) -> _Answer:
        """Return the piece of what was revoked that has a moment."""
        first = self._first()
        if moment < first:
            return self._answer(f"before {first}", lambda _kept: self._make_before(first))
        found = (
            self._find(f"{start} {span}", partial(self._make_piece, start, span))
            for start, span in feed.spans_at(moment, self.seconds)
        )
        answer: _Answer = next(each for each in found if each is not None)
        return answer

    def suspended_at(self, moment: int) -> _Answer:
        """Return the piece of the tokens of users who are not active that has a moment."""
        suspended: feed.Suspended = self._suspended().value
        start, span = suspended.piece_at(moment)
        looked_for = suspended.states.get(start // feed.SPANS[0] * feed.SPANS[0], "0")

        def make(_kept: _Answer | None) -> _Found:
            named, state = suspended.read_piece(start, span, self.now)
            pause = LOOK_UP_INTERVAL if state is None else feed.LIFETIME / 2
            claims = {"from": start, "until": start + span, "suspended": named, "state": state or "changing"}
            content = f"suspended {start} {span} {state} {self.seconds}"
            return self._sign(content, claims, good_until=monotonic() + pause)

        return self._answer(f"suspended {start} {span} {looked_for}", make)

    def _make_before(self, first: int) -> _Found:
        """Make the piece of all that is before the first moment: there is nothing."""
        end = self.seconds + feed.LIFETIME
        claims = {"from": 0, "until": first, "revoked": {}}
        return self._sign(f"before {first} {self.seconds}", claims, end=end)

    def _make_piece(self, start: int, span: int, kept: _Answer | None) -> _Found:
        good_until = monotonic() + LOOK_UP_INTERVAL
        piece = feed.read_piece(start, span, self.now)
        is_closed = start < feed.closed_until(self.seconds)
        end = self.seconds + feed.LIFETIME
        if piece is None:
            return _Found(None, end=end) if is_closed else _Found(None, good_until=good_until)
        claims: dict[str, Any] = {"from": start, "until": piece.until, "revoked": piece.revoked}
        if piece.state is None:
            return self._sign(f"{start} {span} {self.seconds}", claims, end=piece.end or end)
        content = f"{start} {span} {piece.state}"
        return self._renew(kept, content, {**claims, "state": piece.state}, good_until)

    def _renew(
        self,
        kept: _Answer | None,
        content: str,
        claims: dict[str, Any],
        good_until: float,
        interval: float = feed.LIFETIME / 2,
    ) -> _Found:
        content = f"{self.seconds // (feed.LIFETIME // 2)} {content}"
        if kept is not None and kept.etag == self._etag(content) and monotonic() - kept.signed < interval:
            return _Found(kept, len(kept.text), good_until=good_until)
        return self._sign(content, claims, good_until=good_until)

    def _sign(
        self, content: str, claims: dict[str, Any], *, end: int | None = None, good_until: float = inf
    ) -> _Found:
        """Sign an answer.

        :param content: what differs where the answer does.
        :param end: until when it stays as it is, in seconds since the epoch; None for one that is not closed.
        """
        expires = self.seconds + feed.LIFETIME if end is None else end
        common = {"iss": self.issuer, "iat": self.seconds, "exp": expires}
        text = feed.sign(self.key, {**common, **claims})
        answer = _Answer(self._etag(content), text, end, monotonic())
        return _Found(answer, len(text), inf if end is None else end, good_until)

    def _etag(self, content: str) -> str:
        parts = f"{self.key.kid} {self.issuer} {content}"
        return f'"{hashlib.sha256(parts.encode()).hexdigest()}"'

    def _answer(self, name: str, make: _Make) -> _Answer:
        answer: _Answer = self._find(name, make)
        return answer

    def _find(self, name: str, make: _Make) -> Any:
        return _kept.get((self.issuer, self.key.kid, name), self.seconds, make).value

    def _first(self) -> int:
        """Return ``feed.read_first``, as it was lately."""

        def look(_kept: Any) -> _Found:
            return _Found(feed.read_first(self.now), good_until=monotonic() + FIRST_INTERVAL)

        return int(_kept.get((self.issuer, "first"), self.seconds, look).value)

    def _suspended(self) -> _Found:
        """Return ``feed.read_suspended``, as it was lately."""

        def look(_kept: Any) -> _Found:
            began = monotonic()
            suspended = feed.read_suspended(self.now)
            pause = LOOK_UP_INTERVAL * max(1.0, (monotonic() - began) / MAX_SHARE)
            return _Found(suspended, 400 * len(suspended.minutes), good_until=began + pause)

        return _kept.get((self.issuer, "suspended"), self.seconds, look)


class _Kept:
    """What was signed or looked up last: strangers ask for it, too, and to make it is what costs.

    What was not asked for longest goes first where it takes too much memory.
    """

    #: How many bytes it takes altogether: those of a million tokens.
    MAX_SIZE: Final = 64 * 1024 * 1024

    #: How many bytes each takes beside its text: its name, its ``ETag`` and what Python makes of them.
    OVERHEAD: Final = 1024

    def __init__(self) -> None:
        self._found: OrderedDict[tuple[str, ...], _Found] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def get(self, name: tuple[str, ...], now: int, make: _Make) -> _Found:
        """Return what is kept by a name, made by one thread at a time where it is not there, or not good.

        :param now: what time it is, in seconds since the epoch.
        :param make: is given the value that there is.
        """
        with self._lock:
            found = self._found.get(name)
            if found is None or now >= found.end or monotonic() >= found.good_until:
                self._keep(name, make(None if found is None else found.value))
            self._found.move_to_end(name)
            return self._found[name]

    def _keep(self, name: tuple[str, ...], found: _Found) -> None:
        before = self._found.pop(name, None)
        self._size += found.size - (-self.OVERHEAD if before is None else before.size)
        self._found[name] = found
        while self._size > self.MAX_SIZE and len(self._found) > 1:
            _name, oldest = self._found.popitem(last=False)
            self._size -= oldest.size + self.OVERHEAD


#: For the life of the process.
_kept = _Kept()
