"""Which tokens are live; as conditions of queries, and of rows that have been read."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.db.models import DateTimeField, DurationField, Exists, ExpressionWrapper, Func, OuterRef, Q
from django.db.models.functions import Coalesce
from django.db.models.lookups import LessThanOrEqual
from django.utils import timezone
from oauth2_provider.models import refresh_token_expire_timedelta
from oauth2_provider.settings import oauth2_settings

from oauth_binding.core.reasons import Reason
from oauth_binding.models import TokenExchange, TokenPolicy, policy_of
from oauth_binding.storage.ending import ended
from oauth_binding.storage.logins import login_end
from oauth_binding.storage.tokens import access_tokens


def live_access_tokens() -> Q:
    """Return the condition of access tokens that are neither expired nor revoked."""
    return Q(expires__gt=timezone.now())


def live_refresh_tokens() -> Q:
    """Return the condition of refresh tokens that can still be used.

    :raises ImproperlyConfigured: ``REFRESH_TOKEN_EXPIRE_SECONDS`` is malformed.
    """
    # The same rules as those by which django-oauth-toolkit accepts one.
    live = Q(revoked__isnull=True, access_token__isnull=False)
    lifetime = refresh_token_expire_timedelta()
    if lifetime is not None:
        live &= Q(access_token__expires__gt=timezone.now() - lifetime)
    return live & ~outlived_refresh_tokens()


def outlived_refresh_tokens() -> Q:
    """Return the condition of refresh tokens that have expired only by the policies of applications."""
    now = timezone.now()
    idle_since = ExpressionWrapper(OuterRef("access_token__expires"), output_field=DateTimeField())
    started = Coalesce(OuterRef("binding_login_started"), OuterRef("created"))
    # If there is no such lifetime, NULL is not before now.
    by_policy = TokenPolicy.objects.filter(application=OuterRef("application")).filter(
        Q(LessThanOrEqual(idle_since + _Seconds("refresh_token_lifetime"), now))
        | Q(LessThanOrEqual(started + _Seconds("login_lifetime"), now))
    )
    of_subject = _Seconds("subject_client__token_policy__login_lifetime")
    by_exchange = TokenExchange.objects.filter(pk=OuterRef("exchange")).filter(
        Q(LessThanOrEqual(started + _Seconds("login_lifetime"), now))
        | Q(LessThanOrEqual(started + of_subject, now))
    )
    return Q(Exists(by_policy)) | Q(Exists(by_exchange))


class _Seconds(Func):
    """The duration of a number of seconds in a column."""

    # In microseconds, as Django keeps durations if the database has no type for them.
    template = "(%(expressions)s * 1000000)"
    output_field = DurationField()

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(
            compiler, connection, template="(%(expressions)s * interval '1 second')", **context
        )


def is_live(expires: datetime | None) -> bool:
    """Return whether what expires at a moment can still be used; None stands for never."""
    return expires is None or expires > timezone.now()


def refresh_token_expiry(refresh_token: Any) -> datetime | None:
    """Return when a refresh token expires, or None if it never does.

    :param refresh_token: a row with its access token.
    :raises ImproperlyConfigured: ``REFRESH_TOKEN_EXPIRE_SECONDS`` is malformed.
    """
    return min(refresh_token_limits(refresh_token).values(), default=None)


def refresh_token_limits(refresh_token: Any) -> dict[str, datetime]:
    """Return when a refresh token expires by each setting that applies, by its name. The earliest wins.

    The parameters and errors are those of ``refresh_token_expiry``.
    """
    ends = {"login_lifetime": login_end(refresh_token)}
    lifetimes = {"REFRESH_TOKEN_EXPIRE_SECONDS": refresh_token_expire_timedelta()}
    if refresh_token.application is not None:
        seconds = policy_of(refresh_token.application).refresh_token_lifetime
        lifetimes["refresh_token_lifetime"] = None if seconds is None else timedelta(seconds=seconds)
    for name, lifetime in lifetimes.items():
        ends[name] = None if lifetime is None else refresh_token.access_token.expires + lifetime
    return {name: end for name, end in ends.items() if end is not None}


def access_token_faults(access_token: Any) -> Iterator[Reason]:
    """Yield why an access token is not live; nothing where it is."""
    if not is_live(access_token.expires):
        yield Reason.TOKEN_REVOKED if access_token.expires == ended() else Reason.TOKEN_EXPIRED


def repeatable_until(refresh_token: Any) -> datetime | None:
    """Return until when a used refresh token may be used again, for clients that missed the answer.

    None if it may not: it was not used but revoked, what it was refreshed to has ended, or
    ``REFRESH_TOKEN_GRACE_PERIOD_SECONDS`` is over.

    :param refresh_token: its row.
    """
    seconds = oauth2_settings.REFRESH_TOKEN_GRACE_PERIOD_SECONDS
    if refresh_token.revoked is None or not seconds:
        return None
    until: datetime = refresh_token.revoked + timedelta(seconds=seconds)
    # This is how django-oauth-toolkit tells what was used from what was revoked.
    is_repeatable = is_live(until) and access_tokens().filter(source_refresh_token=refresh_token).exists()
    return until if is_repeatable else None


def login_faults(token: Any) -> Iterator[Reason]:
    """Yield why the login of a token may not go on; nothing where it may.

    :param token: the row of an access or refresh token.
    """
    if not is_live(login_end(token)):
        yield Reason.LOGIN_TOO_OLD


def refresh_token_faults(refresh_token: Any) -> Iterator[Reason]:
    """Yield why a refresh token is not live; nothing where it is.

    :param refresh_token: a row that comes with its access token.
    :raises ImproperlyConfigured: ``REFRESH_TOKEN_EXPIRE_SECONDS`` is malformed.
    """
    if refresh_token.revoked is not None or refresh_token.access_token is None:
        yield Reason.REFRESH_TOKEN_REVOKED
        return
    yield from login_faults(refresh_token)
    if not is_live(refresh_token_expiry(refresh_token)):
        yield Reason.REFRESH_TOKEN_EXPIRED
