"""The revocation feed: which JWT access tokens were revoked or superseded before they expired.

An API that validates JWTs on its own fetches it now and then, instead of asking for every request. It is a
JWT itself, signed like access tokens with the site's default algorithm.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

import jwt
from django.db.models import Count, Max, Q, Sum

from oauth_binding.authorization_server.signing.key_file import SigningKey
from oauth_binding.core import moments
from oauth_binding.core.databases import written
from oauth_binding.core.jose.jws import REVOKED_TOKENS_TYPE
from oauth_binding.models import SSO_SESSION, LoginSession, RevokedToken
from oauth_binding.storage import users
from oauth_binding.storage.ending import CLOCK_LEEWAY
from oauth_binding.storage.tokens import access_tokens

#: How long an answer may be relied on, in seconds.
LIFETIME: Final = 600

#: How long an expired token is still named, in seconds: an API whose clock is behind may still accept it.
LEEWAY: Final = CLOCK_LEEWAY

#: How far an answer reaches back behind the last one, in seconds. A transaction that revokes may be open for
#: so long, and the clocks of the server's hosts so far apart, without a revocation being missed.
OVERLAP: Final = 300

#: Answers begin at full minutes, in seconds, so that many APIs ask for the same one.
GRID: Final = 60


#: How old the ``next`` of an answer may be that is asked for, in seconds; who comes later asks for all. So
#: there are not many answers that anybody can ask for.
MAX_AGE: Final = 7200


def fingerprint(now: datetime, since: int | None) -> str:
    """Return what differs where :func:`read_revoked` returns something else; it is had at less expense.

    Rows are added and deleted, and never changed.

    :param now: as for :func:`read_revoked`.
    :param since: as for :func:`read_revoked`.
    """
    # The jti, as numbers come again in a database that is restored.
    of = {"count": Count("pk"), "sum": Sum("pk"), "last": Max("pk"), "jti": Max("jti")}
    found = _revoked(now, since).aggregate(**of)
    return " ".join(str(found[name]) for name in of)


def read_revoked(now: datetime, since: int | None) -> dict[str, int]:
    """Return the ``exp`` of each revoked token that has not long expired, by its ``jti``.

    :param now: what time it is.
    :param since: the ``next`` of an earlier answer, in seconds since the epoch, for those revoked at that
        time or later; None for all.
    """
    rows = _revoked(now, since).order_by("pk")
    return {jti: int(expires.timestamp()) for jti, expires in rows.values_list("jti", "expires")}


def _revoked(now: datetime, since: int | None) -> Any:
    rows = written(RevokedToken).filter(expires__gt=now - timedelta(seconds=LEEWAY))
    if since is None:
        return rows
    # Where local clocks were put back meanwhile, what came later has the lower figure of the two.
    elapsed = timedelta(seconds=int(now.timestamp()) - since)
    return rows.filter(revoked__gte=min(moments.at(since), now - elapsed))


def read_suspended(now: datetime) -> dict[str, int]:
    """Return the ``exp`` of each live token without standing, by its ``jti``.

    That are those of users who are not active, and those bound to login sessions that have expired, with what
    was exchanged from them. Such tokens are not ended: when the user is active again, or the login session is
    prolonged, they are, too.

    :param now: what time it is.
    """
    live = access_tokens().filter(jti__isnull=False, expires__gt=now)
    outlived = Q(binding__binding_type=SSO_SESSION, binding_session__expires__lte=now)
    expired = written(LoginSession).filter(terminated_at__isnull=True, expires__lte=now)
    exchanged = Q(exchange__session_sid__in=expired.values("sid"))
    suspended = live.filter(Q(user__in=users.inactive()) | outlived | exchanged)
    return {jti: int(expires.timestamp()) for jti, expires in suspended.values_list("jti", "expires")}


def sign(
    key: SigningKey,
    issuer: str,
    now: int,
    since: int | None,
    revoked: dict[str, int],
    suspended: dict[str, int],
) -> str:
    """Return an answer of the feed.

    :param key: what signs it.
    :param issuer: its ``iss``.
    :param now: what time it is, in seconds since the epoch.
    :param since: as for :func:`read_revoked`.
    :param revoked: what that has returned.
    :param suspended: what :func:`read_suspended` has returned.
    """
    claims: dict[str, Any] = {
        "iss": issuer,
        "iat": now,
        "exp": now + LIFETIME,
        "next": (now - OVERLAP) // GRID * GRID,
        "revoked": revoked,
        "suspended": suspended,
    }
    if since is not None:
        claims["since"] = since
    headers = {"typ": REVOKED_TOKENS_TYPE, "kid": key.kid}
    return jwt.encode(claims, key.private_key, algorithm=key.algorithm, headers=headers)
