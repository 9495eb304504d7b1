"""Which JWTs were revoked before they expired: a consumer of the server's revocation feed.

The delay of a revocation is bounded. As long as the feed can be fetched, what is known is no older than
``REVOCATION_INTERVAL``: the first request after half of it fetches what has changed, while others go on with
what is there; after all of it, everybody waits for the one that fetches, up to ``TIMEOUT`` in
core/jose/remote_document.py. While the feed can't be fetched, what is known is used until it is
``REVOCATION_MAX_STALE`` old. After that, or if there never was anything, requests with JWTs are answered with
503.

The feed comes in pieces: its head says which of the minutes that are still open have changed, and what is
older is read once. After a break, reading goes on where it stopped. If there is much to read, a request reads
for up to ``TIMEOUT``, and the next one goes on.

What is known is never forgotten before it expires, and its time never goes back, even if answers come in turn
from several hosts whose clocks differ. An answer older than what is known, which a cache or a mirror may
give, counts as none.

Each process keeps this for itself, in memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from time import time
from typing import Any, Final
from urllib.error import HTTPError

import jwt

from oauth_binding.core.jose import jws, remote_document
from oauth_binding.core.jose.jwk_sets import remote_jwk_set
from oauth_binding.core.setting_rules import is_number, is_text
from oauth_binding.resource_server.errors import ExpiredTokenError, RefusedTokenError, ServerUnavailableError
from oauth_binding.resource_server.settings import resource_server_settings
from oauth_binding.resource_server.token_digests import TokenDigests

#: How far the clocks of a server's hosts may be apart, in seconds: the same as ``CLOCK_LEEWAY`` in
#: storage/ending.py, which an API elsewhere can't import.
CLOCKS_APART: Final = 300

#: The largest piece that is read, in bytes: a few hundred thousand tokens. The server makes smaller ones.
MAX_SIZE: Final = 16 * 1024 * 1024

#: How old the server's answers may be, in seconds: for that long it does not look into its tables again.
SERVER_DELAY: Final = 1

#: How long to pause if there is more to read than one request can, in seconds: until the next one.
_SHORT_PAUSE: Final = 0.1

#: The head lists minutes in which something was revoked, and hours in which tokens expire, in seconds.
MINUTE: Final = 60
HOUR: Final = 3600


@dataclass(frozen=True, slots=True)
class Head:
    """The last head of the feed."""

    #: The server's time, by the latest head. The feed says nothing about a token that had expired by then.
    as_of: float
    #: Until when the head may be relied on (its ``exp``).
    expires: float
    #: Its validator (RFC 9110 section 8.8.3).
    etag: str | None


@dataclass(slots=True)
class Suspended:
    """Tokens of users who are not active, that expire within an hour."""

    #: Until when they are read, in seconds since the epoch.
    until: int
    tokens: TokenDigests = field(default_factory=TokenDigests)
    #: Those of the pieces that have named them: several where they have changed meanwhile.
    states: set[str | None] = field(default_factory=set)

    @property
    def state(self) -> str | None:
        """The state of all of them; None where they have to be read again."""
        return next(iter(self.states)) if len(self.states) == 1 else None


class RevocationFeed(remote_document.RemoteDocument):
    """The revocation feed at an address."""

    name = "revocation feed"

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.head: Head | None = None
        #: The tokens that are revoked.
        self.revoked = TokenDigests()
        #: Those of users who are not active, by the beginning of the hour in which they expire.
        self._suspended: dict[int, Suspended] = {}
        self._being_read: dict[int, Suspended] = {}
        #: The moment up to which what is closed was read, in seconds since the epoch; None for nothing yet.
        self._position: int | None = None
        #: The states of the listed minutes, as they were when they were read.
        self._states: dict[int, str] = {}
        self._is_behind = False

    @property
    def pause(self) -> float:
        if self._is_behind:
            return _SHORT_PAUSE
        return min(super().pause, resource_server_settings.revocation_interval / 2)

    def check(self, claims: dict[str, Any]) -> None:
        """Check that a token is not revoked.

        :param claims: of a valid JWT.
        :raises RefusedTokenError: it is, or it has expired and the server has forgotten about it.
        :raises ServerUnavailableError: what is known is too old, or nothing is known.
        """
        interval = resource_server_settings.revocation_interval
        self.refresh(interval / 2, wait=False)
        # While the feed is out of reach, requests use what is known, and need not wait to find that out.
        self.refresh(max(interval / 2, interval - SERVER_DELAY), wait=not self.is_out_of_reach)
        head = self.head
        if head is None or self.age > resource_server_settings.revocation_max_stale:
            raise ServerUnavailableError
        if claims["exp"] <= head.as_of:
            raise ExpiredTokenError
        if claims["jti"] in self.revoked:
            raise RefusedTokenError("it is revoked")
        if any(claims["jti"] in suspended.tokens for suspended in list(self._suspended.values())):
            raise RefusedTokenError("its user is not active")

    def load(self) -> None:
        began = remote_document.now()
        self._is_behind = False
        known = self.head
        headers = {"Accept": "application/jwt"}
        if known is not None and known.etag and known.expires > time():
            headers["If-None-Match"] = known.etag
        try:
            answer = remote_document.download(self.url, headers, max_size=MAX_SIZE)
        except HTTPError as error:
            if error.code == 304 and "If-None-Match" in headers:
                return  # nothing has changed
            raise
        head = _read_head(answer.body)
        if known is not None and head["iat"] < known.as_of - CLOCKS_APART:
            raise ValueError("it is older than what is known")
        as_of = head["iat"] if known is None else max(head["iat"], known.as_of)
        self._read_suspended(head, began, is_latest=as_of == head["iat"])
        self._read_revoked(head, began)
        self.revoked.forget(as_of)
        for suspended in self._suspended.values():
            suspended.tokens.forget(as_of)
        self.head = Head(as_of, head["exp"], answer.etag)

    def _read_suspended(self, head: dict[str, Any], began: float, *, is_latest: bool) -> None:
        """Read which tokens are those of users who are not active, where that has changed.

        :param began: when the head was asked for.
        :param is_latest: whether no later head is known. By which of two clocks a user was not active last,
            can't be told: then nobody is taken away.
        """
        named = head["suspended"]
        for hours in (self._suspended, self._being_read):
            for start in (hours.keys() - named.keys()) if is_latest else ():
                del hours[start]
        for start, state in sorted(named.items()):
            known = self._suspended.get(start)
            if known is None or known.state != state:
                self._read_hour(start, began, known, is_latest=is_latest)

    def _read_hour(self, start: int, began: float, known: Suspended | None, *, is_latest: bool) -> None:
        found = self._being_read.setdefault(start, Suspended(start))
        while found.until < start + HOUR:
            self._stop_if_late(began)
            claims, found.until = self._read_piece("suspended", found.until)
            tokens = _expiries(claims, "suspended")
            found.tokens.add(tokens)
            found.states.add(claims.get("state"))
            if known is not None:
                known.tokens.add(tokens)
        del self._being_read[start]
        if known is None or is_latest:
            self._suspended[start] = found

    def _read_revoked(self, head: dict[str, Any], began: float) -> None:
        """Read what was revoked since the last time.

        :param began: when the head was asked for.
        """
        position = max(self._position or 0, head["first"])
        covered = head["listed"]
        while position < head["listed"]:
            position = self._position = covered = self._read_revoked_piece(position, head)[0]
            # What was read is kept, and need not be read again.
            if position < head["listed"]:
                self._stop_if_late(began)
        for start, state in sorted(head["slices"].items()):
            if start >= covered and self._states.get(start) != state:
                self._read_minute(start, state, head)
        self._states = {start: state for start, state in self._states.items() if start >= head["listed"]}
        self._position = max(position, head["closed"])

    def _read_minute(self, start: int, state: str, head: dict[str, Any]) -> None:
        read, position = set(), start
        while position < start + MINUTE:
            position, read_state = self._read_revoked_piece(position, head)
            read.add(state if read_state is None else read_state)
        if len(read) == 1:
            self._states[start] = read.pop()
        else:  # something was added in between, perhaps to what had been read
            self._states.pop(start, None)

    def _read_revoked_piece(self, moment: int, head: dict[str, Any]) -> tuple[int, str | None]:
        """Read what was revoked as of a moment; return until when, and the state if that may change."""
        claims, until = self._read_piece("from", moment)
        state: str | None = claims.get("state")
        if state is not None and claims["iat"] < head["iat"] - CLOCKS_APART:
            raise ValueError("it is older than what is known")
        self.revoked.add(_expiries(claims, "revoked"))
        return until, state

    def _read_piece(self, parameter: str, moment: int) -> tuple[dict[str, Any], int]:
        """Return the claims of the piece with a moment, which may begin before it, and until when it is."""
        claims = self._read(f"{parameter}={moment}")
        start, until, state = claims.get("from"), claims.get("until"), claims.get("state")
        if not is_number(start) or int(start or 0) > moment:
            raise ValueError("it is not what was asked for")
        if not is_number(until) or int(until or 0) <= moment:
            raise ValueError("it has no until")
        if state is not None and not is_text(state):
            raise ValueError("it has no state")
        return claims, int(until or 0)

    def _stop_if_late(self, began: float) -> None:
        """Leave the rest to the next request, if this one has read for as long as it may.

        :param began: when the head was asked for.
        :raises ValueError: it has.
        """
        if remote_document.now() - began > remote_document.TIMEOUT:
            self._is_behind = True
            raise ValueError("there is more of it than one request reads, and the next goes on")

    def _read(self, query: str) -> dict[str, Any]:
        url = f"{self.url}{'&' if '?' in self.url else '?'}{query}"
        answer = remote_document.download(url, {"Accept": "application/jwt"}, max_size=MAX_SIZE)
        return _read_claims(answer.body)


def _read_head(body: bytes) -> dict[str, Any]:
    """Return the claims of the head.

    :raises ValueError, RecursionError: it is not valid, or not a head.
    """
    claims = _read_claims(body)
    if not all(is_number(claims.get(name)) for name in ("first", "closed", "listed")):
        raise ValueError("it has no first, closed or listed")
    states = {}
    for name in ("slices", "suspended"):
        found = claims.get(name)
        if not isinstance(found, dict) or not all(map(is_text, found.values())):
            raise ValueError(f"it has no {name}")
        states[name] = {int(start): state for start, state in found.items()}
    return {**claims, **states, **{name: int(claims[name]) for name in ("first", "closed", "listed")}}


def _read_claims(body: bytes) -> dict[str, Any]:
    """Return the claims of an answer of the feed.

    :raises ValueError, RecursionError: it is not valid.
    """
    try:
        claims = jws.read(
            body.decode("ascii"),
            types=(jws.REVOKED_TOKENS_TYPE,),
            algorithms=resource_server_settings.algorithms,
            find_key=remote_jwk_set(resource_server_settings.jwks_url).find_key,
        )
    except jwt.PyJWTError as error:
        raise ValueError(f"{error} ({type(error).__name__})") from error
    if claims.get("iss") != resource_server_settings.issuer:
        raise ValueError("its iss is not ISSUER")
    if not all(is_number(claims.get(name)) for name in ("iat", "exp")):
        raise ValueError("it has no iat or exp")
    now, leeway = time(), resource_server_settings.leeway
    if claims["iat"] > now + leeway or claims["exp"] <= now - leeway:
        raise ValueError("its iat is in the future, or its exp has passed")
    return claims


def _expiries(claims: dict[str, Any], name: str) -> dict[str, float]:
    tokens = claims.get(name)
    if not isinstance(tokens, dict) or not all(map(is_number, tokens.values())):
        raise ValueError(f"it has no list of {name} tokens")
    return tokens


#: By address, for the life of the process.
_feeds: dict[str, RevocationFeed] = {}


def revocation_feed(url: str) -> RevocationFeed:
    """Return the revocation feed at an address."""
    return _feeds.setdefault(url, RevocationFeed(url))
