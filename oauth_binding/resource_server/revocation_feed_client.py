"""Which JWTs were revoked before they expired: a consumer of the server's revocation feed.

The delay of a revocation is bounded. As long as the feed can be fetched, the list that is looked into is no
older than ``REVOCATION_INTERVAL``: the first request after half of it fetches the list, while others go on
with the one that is there; after all of it everybody waits for the one that fetches, as long as
``TIMEOUT`` in core/jose/remote_document.py. While the feed can't be fetched, the last list serves until it is
``REVOCATION_MAX_STALE`` old. Then, or where there never was one, requests with JWTs are answered 503.

What is known is never forgotten before it expires, and the time of the list never goes back, also where
answers of several hosts come by turns, whose clocks differ. An answer that is older than that, as one of a
cache or a mirror may be, counts as none.

Each process has a list of its own, in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import time
from typing import Any, Final
from urllib.error import HTTPError

import jwt

from oauth_binding.core.jose import jws, remote_document
from oauth_binding.core.jose.jwk_sets import remote_jwk_set
from oauth_binding.core.setting_rules import is_number
from oauth_binding.resource_server.errors import ExpiredTokenError, RefusedTokenError, ServerUnavailableError
from oauth_binding.resource_server.settings import resource_server_settings

#: How long answers are merged before the complete list is fetched anew, in seconds.
COMPLETE_INTERVAL: Final = 3600

#: How far the clocks of the hosts of a server may be apart, in seconds: as much as ``CLOCK_LEEWAY`` in
#: storage/ending.py, which an API elsewhere can't import.
CLOCKS_APART: Final = 300

#: The largest answer that is read, in bytes: a few hundred thousand tokens.
MAX_SIZE: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class RevokedTokens:
    """The list of revoked tokens as it is at a moment."""

    #: The ``exp`` of each by its ``jti``.
    tokens: dict[str, float]
    #: The same of the tokens of users who are not active; each answer has them all.
    suspended: dict[str, float]
    #: What time it was for the server, by the latest answer. Of a token that had expired by then, the list
    #: says nothing.
    as_of: float
    #: Until when the answer may be relied on (its ``exp``).
    expires: float
    #: What to ask for next.
    next: int
    #: Where the last answer came from, and its validator (RFC 9110 section 8.8.3).
    url: str
    etag: str | None
    #: When the complete list was asked for, on the clock of :func:`time.monotonic`.
    completed: float


class RevocationFeed(remote_document.RemoteDocument):
    """The revocation feed at an address."""

    name = "revocation feed"

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.revoked: RevokedTokens | None = None

    @property
    def pause(self) -> float:
        return min(super().pause, resource_server_settings.revocation_interval / 2)

    def check(self, claims: dict[str, Any]) -> None:
        """Check that a token is not revoked.

        :param claims: of a valid JWT.
        :raises RefusedTokenError: it is, or the server has forgotten about it, as it has expired.
        :raises ServerUnavailableError: the list is too old, or there is none.
        """
        interval = resource_server_settings.revocation_interval
        self.refresh(interval / 2, wait=False)
        # Who comes while the feed is out of reach has the last list, and need not wait to find it so.
        self.refresh(interval, wait=not self.is_out_of_reach)
        revoked = self.revoked
        if revoked is None or self.age > resource_server_settings.revocation_max_stale:
            raise ServerUnavailableError
        if claims["exp"] <= revoked.as_of:
            raise ExpiredTokenError
        if claims["jti"] in revoked.tokens:
            raise RefusedTokenError("it is revoked")
        if claims["jti"] in revoked.suspended:
            raise RefusedTokenError("its user is not active")

    def load(self) -> None:
        asked = remote_document.now()
        known = self.revoked
        last = known
        if last is not None and asked - last.completed > COMPLETE_INTERVAL:
            last = None
        url = self.url if last is None else f"{self.url}{'&' if '?' in self.url else '?'}since={last.next}"
        headers = {"Accept": "application/jwt"}
        if last is not None and last.url == url and last.etag and last.expires > time():
            headers["If-None-Match"] = last.etag
        try:
            answer = remote_document.download(url, headers, max_size=MAX_SIZE)
        except HTTPError as error:
            if error.code == 304 and "If-None-Match" in headers:
                return  # nothing has changed
            raise
        since = None if last is None else last.next
        claims = _read_page(answer.body, since)
        as_of, tokens, suspended = claims["iat"], claims["revoked"], claims["suspended"]
        if known is not None:
            if as_of < known.as_of - CLOCKS_APART:
                raise ValueError("it is older than what is known")
            # A token is never valid again that was revoked.
            tokens = {**known.tokens, **tokens}
            if as_of < known.as_of:
                # By which of the two clocks a user was not active last, can't be told.
                suspended = {**known.suspended, **suspended}
                as_of = known.as_of
        self.revoked = RevokedTokens(
            tokens=_unexpired(tokens, as_of),
            suspended=_unexpired(suspended, as_of),
            as_of=as_of,
            expires=claims["exp"],
            next=claims["next"],
            url=url,
            etag=answer.etag,
            completed=asked if last is None else last.completed,
        )


def _unexpired(tokens: dict[str, float], as_of: float) -> dict[str, float]:
    return {jti: expires for jti, expires in tokens.items() if expires > as_of}


def _read_page(body: bytes, since: int | None) -> dict[str, Any]:
    """Return the claims of an answer of the feed.

    :param since: what was asked for.
    :raises ValueError, RecursionError: it is not valid, or not the answer to that.
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
    if not all(is_number(claims.get(name)) for name in ("iat", "exp", "next")):
        raise ValueError("it has no iat, exp or next")
    now, leeway = time(), resource_server_settings.leeway
    if claims["iat"] > now + leeway or claims["exp"] <= now - leeway:
        raise ValueError("it is not of this time")
    if claims.get("since") != since:
        raise ValueError("it is not what was asked for")
    claims.setdefault("suspended", {})  # which earlier releases do not say
    for name in ("revoked", "suspended"):
        tokens = claims.get(name)
        if not isinstance(tokens, dict) or not all(map(is_number, tokens.values())):
            raise ValueError(f"it has no list of {name} tokens")
    return {**claims, "next": int(claims["next"])}


#: By address, for the life of the process.
_feeds: dict[str, RevocationFeed] = {}


def revocation_feed(url: str) -> RevocationFeed:
    """Return the revocation feed at an address."""
    return _feeds.setdefault(url, RevocationFeed(url))
