"""Authorization codes and device codes: what is kept about them, redeeming them once, and ending them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final

from django.db.models import F, Q
from django.utils import timezone
from oauth2_provider.models import (
    AbstractDeviceGrant,
    get_application_model,
    get_device_grant_model,
    get_grant_model,
)

from oauth_binding.core.databases import write_alias, written
from oauth_binding.models import CodeContext, LoginSession
from oauth_binding.storage import prepared_sql
from oauth_binding.storage.attempts import in_transaction
from oauth_binding.storage.chunks import in_chunks
from oauth_binding.storage.token_values import token_checksum
from oauth_binding.storage.tokens import refresh_tokens

#: By how much a device's interval grows when it polls too early, in seconds (RFC 8628 section 3.5).
POLL_STEP: Final = 5

#: Beyond this the interval does not grow, in seconds.
LONGEST_INTERVAL: Final = 60

#: By how much a poll may come early, since networks are not always equally fast.
POLL_TOLERANCE: Final = timedelta(seconds=1)


def note_requested(
    code: str,
    application: Any,
    user: Any,
    challenge: str,
    challenge_method: str,
    confirmation: str | None = None,
    session: LoginSession | None = None,
) -> None:
    """Keep what an authorization code is requested with, before it is saved.

    :param code: the code.
    :param challenge: the ``code_challenge``; empty without one.
    :param challenge_method: the ``code_challenge_method``.
    :param confirmation: Confirmation.stored of the ``dpop_jkt``; None without.
    :param session: the login session of the browser; None without one.
    """
    written(CodeContext).create(
        digest=token_checksum(code),
        application_id=application.pk,
        user_id=user.pk,
        code_challenge=challenge,
        code_challenge_method=challenge_method,
        confirmation=confirmation,
        session=session,
        authenticated_at=None if session is None else session.authenticated_at,
    )


def find_context(code: str, application: Any) -> CodeContext | None:
    """Return what an authorization code of an application was requested with, or None.

    It comes with its login session.
    """
    context: CodeContext | None = prepared_sql.find(
        write_alias(CodeContext), CodeContext, "digest", token_checksum(code), ("session",)
    )
    return None if context is None or context.application_id != application.pk else context


def redeem(code: str, application: Any) -> bool:
    """Redeem an authorization code, and return whether nobody else has done so.

    :param code: the code.
    """
    return bool(written(get_grant_model()).filter(code=code, application=application).delete()[0])


def note_redeemed(code: str, access_token: Any) -> None:
    """Keep what an authorization code was redeemed for.

    :param code: the code.
    :param access_token: the primary key of the access token.
    """
    families = refresh_tokens().filter(access_token=access_token).values_list("token_family", flat=True)
    written(CodeContext).filter(digest=token_checksum(code)).update(
        access_token=str(access_token), token_family=families.first()
    )


def find_redeemed(code: str, application: Any) -> CodeContext | None:
    """Return what is kept about an application's authorization code that was redeemed, or None."""
    contexts = written(CodeContext).filter(digest=token_checksum(code), application=application)
    context: CodeContext | None = contexts.exclude(access_token="").first()
    return context


def note_device_requested(
    client_id: str, device_code: str, user_code: str, scope: str, expires_in: int, interval: int
) -> None:
    """Save the codes of a device that asks to be approved (RFC 8628 section 3.2).

    :param scope: what it asks for, separated by spaces.
    :param expires_in: how long the codes live, in seconds.
    :param interval: how long the device has to wait between two polls, in seconds.
    """

    def save() -> None:
        now = timezone.now()
        grant = written(get_device_grant_model()).create(
            client_id=client_id,
            device_code=device_code,
            user_code=user_code,
            scope=scope,
            expires=now + timedelta(seconds=expires_in),
            interval=interval,
        )
        # Saving has set it to now, but the first poll can't be too early.
        _row_of(grant).update(last_checked=now - timedelta(seconds=interval))

    in_transaction(save)


def note_poll(grant: AbstractDeviceGrant) -> bool:
    """Note that a device has asked whether it is approved, and return whether it had waited long enough.

    One that had not has to wait ``POLL_STEP`` seconds longer from now on (RFC 8628 section 3.5). There is a
    limit, and the wait is counted from the last poll that was in time: somebody else who polls with the same
    code can't stretch it for ever.

    :param grant: a row that is not decided yet.
    """
    now = timezone.now()
    # Regardless of the sign: another host's clock may be ahead.
    waited = abs(now - grant.last_checked)
    polled = _row_of(grant)

    def note() -> bool:
        # Of simultaneous polls, one is in time.
        in_time = waited >= timedelta(seconds=grant.interval) - POLL_TOLERANCE and polled.filter(
            last_checked=grant.last_checked
        ).update(last_checked=now)
        if not in_time:
            polled.filter(interval__lte=LONGEST_INTERVAL - POLL_STEP).update(
                interval=F("interval") + POLL_STEP
            )
        return bool(in_time)

    return in_transaction(note)


def _row_of(grant: AbstractDeviceGrant) -> Any:
    return written(get_device_grant_model()).filter(pk=grant.pk)


def redeem_device_code(device_code: str) -> bool:
    """Redeem an approved device code, and return whether nobody else has done so (RFC 8628 section 3.5)."""
    grants = written(get_device_grant_model())
    approved = grants.filter(device_code=device_code, status=AbstractDeviceGrant.AUTHORIZED)
    # The row stays: django-oauth-toolkit answers with 404 if there is none.
    return bool(approved.update(status=AbstractDeviceGrant.EXPIRED))


def end_codes(user: Any, applications: Q) -> None:
    """End the authorization codes and approved device codes of a user.

    :param user: the user's primary key.
    :param applications: the condition of the applications that they are for.
    """
    these = written(get_application_model()).filter(applications)
    written(get_grant_model()).filter(user=user, application__in=these).delete()
    approved = written(get_device_grant_model()).filter(user=user, status=AbstractDeviceGrant.AUTHORIZED)
    client_ids = set(approved.values_list("client_id", flat=True))
    if client_ids:
        ended = list(these.filter(client_id__in=client_ids).values_list("client_id", flat=True))
        approved.filter(client_id__in=ended).update(status=AbstractDeviceGrant.DENIED)


def end_codes_of_sessions(user: Any, sessions: Iterable[LoginSession], applications: Q) -> None:
    """End the authorization codes that were requested in login sessions of a user.

    :param user: the user's primary key.
    :param applications: the condition of the applications that they are for.
    """
    these = written(get_application_model()).filter(applications)
    grants = written(get_grant_model()).filter(user=user, application__in=these)
    by_digest = {token_checksum(code): pk for pk, code in grants.values_list("pk", "code")}
    contexts = written(CodeContext).filter(session__in=sessions)
    for digests in in_chunks(by_digest):
        ended = contexts.filter(digest__in=digests).values_list("digest", flat=True)
        grants.filter(pk__in=[by_digest[digest] for digest in ended]).delete()


def deny_device_codes(client_id: str) -> None:
    """Deny the device codes of an application, whether they are approved yet or not."""
    grants = written(get_device_grant_model()).filter(client_id=client_id)
    undecided = (AbstractDeviceGrant.AUTHORIZED, AbstractDeviceGrant.AUTHORIZATION_PENDING)
    grants.filter(status__in=undecided).update(status=AbstractDeviceGrant.DENIED)
