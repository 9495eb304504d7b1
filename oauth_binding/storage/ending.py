"""Ending tokens without harm to requests that are being answered with them.

A row stays until ``cleartokens``, because the request that issued it may not have read it back yet. For the
way that django-oauth-toolkit treats a replay, an access token without its ``source_refresh_token`` is as good
as deleted. Refresh tokens come first: django-oauth-toolkit locks the two in this order.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.models import DateTimeField, Q, Value
from django.db.models.constants import OnConflict
from django.utils import timezone

from oauth_binding.core.databases import write_alias, written
from oauth_binding.core.settings import binding_settings
from oauth_binding.models import BoundAccessToken, RevokedToken

#: How far the clocks of the server's hosts may be apart, in seconds.
CLOCK_LEEWAY: Final = 300

_ENDED: Final = datetime(1970, 1, 2, tzinfo=UTC)


def ended() -> datetime:
    """Return the ``expires`` of an access token that was ended: long ago, whatever a clock says.

    Otherwise, a revocation would take effect elsewhere with a delay of as much as the clock there is behind.
    When the token was ended is in ``updated``.
    """
    return _ENDED if settings.USE_TZ else _ENDED.replace(tzinfo=None)


def not_ended() -> Q:
    """Return the condition of access tokens that can still be used or brought back.

    One that has expired by this host's clock can be used where a clock is behind. A replay within the grace
    period brings an expired one back through the refresh token that it comes from.
    """
    return Q(expires__gt=oldest_to_name(timezone.now())) | Q(source_refresh_token__isnull=False)


def revoke_refresh_tokens(refresh_tokens: Any) -> int:
    """Revoke the refresh tokens of a queryset, and return how many were not revoked before."""
    now = timezone.now()
    unrevoked = refresh_tokens.filter(revoked__isnull=True)
    count: int = unrevoked.update(revoked=now, updated=now, access_token=None)
    return count


def expire_access_tokens(access_tokens: Any) -> int:
    """End the access tokens of a queryset: they leave their slots. Return how many there were."""
    add_rows_to_revocation_feed(access_tokens)
    count: int = access_tokens.update(
        slot=None, expires=ended(), updated=timezone.now(), source_refresh_token=None
    )
    return count


def add_rows_to_revocation_feed(access_tokens: Any) -> None:
    """Let the revocation feed, if there is one, name the JWTs of a queryset, in one statement.

    :param access_tokens: those that are about to end.
    """
    if not binding_settings.revocation_feed:
        return
    now = timezone.now()
    rows = access_tokens.filter(jti__isnull=False, expires__gt=oldest_to_name(now)).order_by()
    found = rows.values_list("jti", "expires", Value(now, DateTimeField()))
    using = write_alias(RevokedToken)
    try:
        select, parameters = found.query.get_compiler(using).as_sql()
    except EmptyResultSet:  # for instance with an empty list of keys
        return
    before, after = feed_insertion(using)
    with connections[using].cursor() as cursor:
        cursor.execute(f"{before} {select} {after}", parameters)


def feed_insertion(using: str) -> tuple[str, str]:
    """Return what comes before and after a SELECT of ``jti``, ``expires`` and now, to add these to the feed.

    What is already there is left as it is. Django has no INSERT of a SELECT.

    :param using: alias of the database.
    """
    operations = connections[using].ops
    fields: list[Any] = [RevokedToken._meta.get_field(name) for name in ("jti", "expires", "revoked")]
    columns = ", ".join(operations.quote_name(field.column) for field in fields)
    before = operations.insert_statement(on_conflict=OnConflict.IGNORE)
    after = operations.on_conflict_suffix_sql(fields, OnConflict.IGNORE, [], [])
    return f"{before} {operations.quote_name(RevokedToken._meta.db_table)} ({columns})", after


def oldest_to_name(now: datetime) -> datetime:
    """Return the moment up to which the feed need not name tokens that have expired.

    One that has expired by this host's clock may be live by another.

    :param now: what time it is.
    """
    return now - timedelta(seconds=CLOCK_LEEWAY)


def add_to_revocation_feed(token: BoundAccessToken) -> None:
    """Let the revocation feed, if there is one, name a token if it is a JWT.

    :param token: one that is about to end, and may have changed since it was read.
    """
    if not binding_settings.revocation_feed:
        return
    if token.jti is not None and token.expires > oldest_to_name(timezone.now()):
        revoked = RevokedToken(jti=token.jti, expires=token.expires)
        written(RevokedToken).bulk_create([revoked], ignore_conflicts=True)
