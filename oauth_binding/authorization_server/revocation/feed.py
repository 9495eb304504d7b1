"""The revocation feed: which JWT access tokens were revoked or superseded before they expired.

An API that validates JWTs on its own fetches it now and then, instead of asking for every request. It comes
in pieces, each of which is a JWT, signed like access tokens with the site's default algorithm:

- What was revoked between two moments. Once ``OVERLAP`` has passed, nothing is added to that: such a
  piece is *closed*. It is the same for everybody, and may be kept until the last of its tokens has expired.
- The tokens of users who are not active, by when they expire.
- The head, which says which of the other pieces have changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import jwt
from django.db import connections
from django.db.models import BigIntegerField, Case, Count, IntegerField, Max, Min, Q, Sum, Value, When
from django.db.models.functions import Cast, Ord, Substr, TruncMinute

from oauth_binding.authorization_server.signing.key_file import SigningKey
from oauth_binding.core import moments
from oauth_binding.core.databases import written
from oauth_binding.core.jose.jws import REVOKED_TOKENS_TYPE
from oauth_binding.models import SSO_SESSION, LoginSession, RevokedToken
from oauth_binding.storage import users
from oauth_binding.storage.ending import CLOCK_LEEWAY
from oauth_binding.storage.tokens import access_tokens

#: How long an answer that is not closed may be relied on, in seconds.
LIFETIME: Final = 600

#: How long an expired token is still named, in seconds: an API whose clock is behind may still accept it.
LEEWAY: Final = CLOCK_LEEWAY

#: How long something may be added to what was revoked at a moment, in seconds. A revoking transaction may be
#: open for that long, and the clocks of the server's hosts that far apart, without a revocation being missed.
OVERLAP: Final = 300

#: The head says for each slice of this length whether it has changed, in seconds.
MINUTE: Final = 60

#: How long the head also lists minutes that are closed, in seconds. Whoever asks within that time has seen
#: them in their final state.
CLOSED_LISTED: Final = 120

#: How much time a piece may cover, in seconds, from the most to the least. It begins at a multiple of that:
#: so there are only so many, whatever moments are asked for.
SPANS: Final = (3600, 600, MINUTE, 10, 1)

#: The moment before which all is that is asked for, in seconds since the epoch.
END: Final = 10**11

#: How many tokens a piece has at most, but for what was revoked within a second, or expires within a minute.
MAX_TOKENS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Piece:
    """What was revoked between two moments, which are in seconds since the epoch."""

    start: int
    until: int
    #: A value that changes as soon as something is added within its minute; None if the piece is closed.
    state: str | None
    #: The ``exp`` of each token by its ``jti``.
    revoked: dict[str, int]
    #: For a closed piece, when the last of them has long expired; None if there is none.
    end: int | None


def closed_until(now: int) -> int:
    """Return the moment before which everything is closed.

    :param now: what time it is, in seconds since the epoch.
    """
    return (now - OVERLAP) // MINUTE * MINUTE


def read_first(now: datetime) -> int:
    """Return a moment before which nothing was revoked that has not long expired: a full hour.

    It is not after what the head lists. It looks at all that is named.

    :param now: what time it is.
    """
    oldest = _unexpired(now).aggregate(oldest=Min("revoked"))["oldest"]
    seconds = now.timestamp() if oldest is None else min(oldest, now).timestamp()
    listed = closed_until(int(now.timestamp())) - CLOSED_LISTED
    return min(int(seconds), listed) // SPANS[0] * SPANS[0]


def read_states(starts: range) -> dict[int, str]:
    """Return, by minute, a value that changes as soon as something revoked in that minute is added.

    :param starts: the beginnings of the minutes.
    :returns: the values by beginning, for the minutes in which something was revoked.
    """
    cases = [When(_within(start, MINUTE), then=Value(start)) for start in starts]
    between = Q(revoked__gte=min(map(moments.at, starts)))
    rows = written(RevokedToken).filter(between).order_by()
    rows = rows.annotate(minute=Case(*cases, output_field=IntegerField())).values("minute")
    # Rows are added and deleted, and never changed.
    found = rows.annotate(count=Count("pk"), sum=Sum("pk"), last=Max("pk"))
    return {
        row["minute"]: f"{row['count']}.{row['sum']}.{row['last']}"
        for row in found
        if row["minute"] is not None
    }


def read_listed(now: int) -> tuple[int, dict[int, str]]:
    """Return the first minute that the head lists, and the states of all listed, as ``read_states`` does.

    :param now: what time it is, in seconds since the epoch.
    """
    start = closed_until(now) - CLOSED_LISTED
    # Also what was revoked by hosts whose clocks are ahead.
    return start, read_states(range(start, now + CLOCK_LEEWAY + 1, MINUTE))


def spans_at(moment: int, now: int) -> Iterator[tuple[int, int]]:
    """Yield what a piece with a moment may cover, from the most to the least.

    :param moment: in seconds since the epoch.
    :param now: what time it is, likewise.
    :returns: the beginning of each, and for how long it goes on, in seconds.
    """
    closed = closed_until(now)
    for span in SPANS:
        start = moment // span * span
        # What covers an hour in which local clocks are changed is no hour of these.
        is_even = span <= MINUTE or moments.at(start + span) - moments.at(start) == timedelta(seconds=span)
        if span <= MINUTE or (start + span <= closed and is_even):
            yield start, span


def read_piece(start: int, span: int, now: datetime) -> Piece | None:
    """Return a piece, or None where that would be too many tokens: then it is in smaller ones.

    :param start: its beginning, in seconds since the epoch: one that ``spans_at`` has yielded.
    :param span: how much it covers, in seconds, of which the least is never too much.
    :param now: what time it is.
    """
    within = _within(start, span)
    if span > SPANS[-1] and written(RevokedToken).filter(within)[: MAX_TOKENS + 1].count() > MAX_TOKENS:
        return None
    minute = start // MINUTE * MINUTE
    # Before the tokens: what comes in between is among these, and changes the state.
    is_closed = start < closed_until(int(now.timestamp()))
    state = None if is_closed else read_states(range(minute, minute + 1)).get(minute, "0")
    named = _unexpired(now).filter(within).order_by("pk").values_list("jti", "expires")
    revoked = {jti: int(expires.timestamp()) for jti, expires in named}
    end = max(revoked.values()) + LEEWAY if revoked and is_closed else None
    return Piece(start, start + span, state, revoked, end)


def _within(start: int, span: int) -> Q:
    # Not up to moments.at() of its end, which local clocks may show an hour before its beginning.
    first = moments.at(start)
    return Q(revoked__gte=first, revoked__lt=first + timedelta(seconds=span))


def _unexpired(now: datetime) -> Any:
    return written(RevokedToken).filter(expires__gt=now - timedelta(seconds=LEEWAY))


@dataclass(slots=True)
class _Expiring:
    """The tokens without standing that expire within a minute."""

    count: int
    #: The sum of ``_digest`` of all.
    digest: int
    #: That minute as the site keeps it, the first and the last one: local clocks may show it twice.
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class Suspended:
    """How many live tokens have no standing, by when they expire: what names them comes in pieces, too."""

    #: What differs as soon as they are others, by the beginning of the hour in which they expire, in seconds
    #: since the epoch.
    states: dict[int, str]
    #: By the beginning of each minute in which some expire, likewise.
    minutes: dict[int, _Expiring]

    def piece_at(self, moment: int) -> tuple[int, int]:
        """Return the beginning of the piece with a moment, and for how long it goes on, in seconds.

        Hours that follow one another in which no such token expires are one piece.

        :param moment: in seconds since the epoch, before ``END``.
        """
        hour = moment // SPANS[0] * SPANS[0]
        if hour not in self.states:
            start = max((each + SPANS[0] for each in self.states if each < hour), default=0)
            return start, min((each for each in self.states if each > hour), default=END) - start
        for span in SPANS[: SPANS.index(MINUTE)]:
            start = moment // span * span
            if sum(each.count for each in self._within(start, span)) <= MAX_TOKENS:
                return start, span
        return moment // MINUTE * MINUTE, MINUTE

    def read_piece(self, start: int, span: int, now: datetime) -> tuple[dict[str, int], str | None]:
        """Return the ``exp`` of each token of a piece by its ``jti``, and the state of its hour.

        That is None where they are others by now than those that were counted.

        :param start: its beginning, in seconds since the epoch.
        :param span: how long it goes on, in seconds.
        :param now: what time it is.
        """
        minutes = self._within(start, span)
        if not minutes:
            return {}, "0"
        until = max(each.last for each in minutes) + timedelta(seconds=MINUTE)
        within = Q(expires__gte=min(each.first for each in minutes), expires__lt=until)
        named: dict[str, int] = {}
        digest = 0
        for rows in _suspended(within, now):
            for jti, expires in rows.values_list("jti", "expires"):
                named[jti] = int(expires.timestamp())
                digest += _digest(jti)
        is_as_counted = digest == sum(each.digest for each in minutes)
        return named, self.states[start // SPANS[0] * SPANS[0]] if is_as_counted else None

    def _within(self, start: int, span: int) -> list[_Expiring]:
        return [each for minute, each in self.minutes.items() if start <= minute < start + span]


def read_suspended(now: datetime) -> Suspended:
    """Look which live tokens have no standing. No more is read than how many there are for each minute.

    :param now: what time it is.
    """
    # So that it does not change as they expire.
    hour = int(now.timestamp()) // SPANS[0] * SPANS[0]
    zone = connections[access_tokens().db].timezone
    minutes: dict[int, _Expiring] = {}
    hours: dict[int, list[int]] = {}
    for rows in _suspended(Q(expires__gte=moments.at(hour)), now):
        counted = rows.annotate(minute=TruncMinute("expires", tzinfo=zone)).values("minute")
        for row in counted.annotate(count=Count("pk"), digest=Sum(_digest_in_sql())):
            at, count, digest = row["minute"], row["count"], int(row["digest"] or 0)
            minute = int(at.timestamp()) // MINUTE * MINUTE
            found = minutes.setdefault(minute, _Expiring(0, 0, at, at))
            found.count += count
            found.digest += digest
            found.first, found.last = min(found.first, at), max(found.last, at)
            sums = hours.setdefault(minute // SPANS[0] * SPANS[0], [0, 0])
            sums[0] += count
            sums[1] += digest
    return Suspended(
        {start: f"{count}.{digest}" for start, (count, digest) in sorted(hours.items())}, minutes
    )


def _suspended(condition: Q, now: datetime) -> Iterator[Any]:
    """Yield querysets of the access tokens without standing, of which one may be in several.

    These are the tokens of users who are not active, and those bound to login sessions that have expired,
    with what was exchanged from them. Such tokens have not ended: they are good again when the user is active
    again, or the login session is prolonged.

    :param condition: which of them.
    :param now: what time it is.
    """
    tokens = access_tokens().filter(condition, jti__isnull=False).order_by()
    expired = written(LoginSession).filter(terminated_at__isnull=True, expires__lte=now)
    # One after the other: for all of them together, databases look at every token.
    yield tokens.filter(user__in=users.inactive())
    yield tokens.filter(binding__binding_type=SSO_SESSION, binding_session__expires__lte=now)
    yield tokens.filter(exchange__session_sid__in=expired.values("sid"))


#: How many letters of a ``jti``, which is random, tell it from others: 30 bits.
_LETTERS: Final = 5


def _digest(jti: str) -> int:
    return sum(ord(letter) * 128**place for place, letter in enumerate(jti[:_LETTERS]))


def _digest_in_sql() -> Any:
    # Of what all databases can do.
    letters = [Cast(Ord(Substr("jti", place + 1, 1)), BigIntegerField()) for place in range(_LETTERS)]
    return sum((letter * Value(128**place) for place, letter in enumerate(letters)), Value(0))


def sign(key: SigningKey, claims: dict[str, Any]) -> str:
    """Return an answer of the feed.

    :param key: the key that signs it.
    :param claims: what it says.
    """
    headers = {"typ": REVOKED_TOKENS_TYPE, "kid": key.kid}
    return jwt.encode(claims, key.private_key, algorithm=key.algorithm, headers=headers)
