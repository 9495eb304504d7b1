"""The revocation feed: which JWT access tokens were revoked or superseded before they expired.

An API that validates JWTs on its own fetches it now and then, instead of asking for every request. It comes
in pieces, each of which is a JWT, signed like access tokens with the site's default algorithm:

- What was revoked between two moments. Once ``OVERLAP`` has passed, nothing is added to that: such a
  piece is *closed*. It is the same for everybody, and may be kept until the last of its tokens has expired.
- The tokens of users who are not active.
- The head, which says which of the other pieces have changed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import jwt
from django.db.models import Case, Count, IntegerField, Max, Min, Q, Sum, Value, When

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

#: How much time a piece may cover, in seconds, from the most to the least. It begins at a multiple of that.
SPANS: Final = (3600, 600, MINUTE, 10, 1)

#: How many tokens a piece has at most, but for what was revoked within one second.
MAX_TOKENS: Final = 20_000

#: How long ago the beginning of a piece may be that is asked for, in seconds.
MAX_AGE: Final = 366 * 24 * 60 * 60


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

    It looks at all that is named.

    :param now: what time it is.
    """
    oldest = _unexpired(now).aggregate(oldest=Min("revoked"))["oldest"]
    seconds = now.timestamp() if oldest is None else min(oldest, now).timestamp()
    return min(int(seconds), closed_until(int(now.timestamp()))) // SPANS[0] * SPANS[0]


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


def read_piece(start: int, now: datetime) -> Piece:
    """Return the piece that begins at a moment.

    :param start: the moment, in seconds since the epoch.
    :param now: what time it is.
    """
    closed = closed_until(int(now.timestamp()))
    minute = start // MINUTE * MINUTE
    # Before the tokens: what comes in between is among these, and changes the state.
    state = None if start < closed else read_states(range(minute, minute + 1)).get(minute, "0")
    for span in SPANS:
        # What covers an hour in which local clocks are changed is no hour of these.
        is_even = span <= MINUTE or moments.at(start + span) - moments.at(start) == timedelta(seconds=span)
        is_whole = start % span == 0 and (span <= MINUTE or start + span <= closed) and is_even
        rows = written(RevokedToken).filter(_within(start, span))
        if span == SPANS[-1] or (is_whole and rows[: MAX_TOKENS + 1].count() <= MAX_TOKENS):
            break
    named = _unexpired(now).filter(_within(start, span)).order_by("pk").values_list("jti", "expires")
    revoked = {jti: int(expires.timestamp()) for jti, expires in named}
    end = max(revoked.values()) + LEEWAY if revoked and state is None else None
    return Piece(start, start + span, state, revoked, end)


def _within(start: int, span: int) -> Q:
    # Not up to moments.at() of its end, which local clocks may show an hour before its beginning.
    first = moments.at(start)
    return Q(revoked__gte=first, revoked__lt=first + timedelta(seconds=span))


def _unexpired(now: datetime) -> Any:
    return written(RevokedToken).filter(expires__gt=now - timedelta(seconds=LEEWAY))


def read_suspended(now: datetime) -> dict[str, int]:
    """Return the ``exp`` of each live token without standing, by its ``jti``.

    These are the tokens of users who are not active, and those bound to login sessions that have expired,
    with what was exchanged from them. Such tokens have not ended: they are good again when the user is active
    again, or the login session is prolonged.

    :param now: what time it is.
    """
    live = access_tokens().filter(jti__isnull=False, expires__gt=now).order_by()
    expired = written(LoginSession).filter(terminated_at__isnull=True, expires__lte=now)
    # One after the other: for all of them together, databases look at every token.
    conditions = [
        Q(user__in=users.inactive()),
        Q(binding__binding_type=SSO_SESSION, binding_session__expires__lte=now),
        Q(exchange__session_sid__in=expired.values("sid")),
    ]
    return {
        jti: int(expires.timestamp())
        for condition in conditions
        for jti, expires in live.filter(condition).values_list("jti", "expires")
    }


def state_of_suspended(suspended: dict[str, int]) -> str | None:
    """Return what differs as soon as ``read_suspended`` returns something else; None for nothing."""
    if not suspended:
        return None
    return hashlib.sha256(" ".join(sorted(suspended)).encode()).hexdigest()[:32]


def sign(key: SigningKey, claims: dict[str, Any]) -> str:
    """Return an answer of the feed.

    :param key: the key that signs it.
    :param claims: what it says.
    """
    headers = {"typ": REVOKED_TOKENS_TYPE, "kid": key.kid}
    return jwt.encode(claims, key.private_key, algorithm=key.algorithm, headers=headers)
