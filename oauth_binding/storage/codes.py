"""Authorization codes and device codes: what is kept of them, redeeming them once, and ending them."""

from __future__ import annotations

from typing import Any

from django.db.models import Q
from oauth2_provider.models import (
    AbstractDeviceGrant,
    get_application_model,
    get_device_grant_model,
    get_grant_model,
)

from oauth_binding.core.databases import written
from oauth_binding.models import CodeContext
from oauth_binding.storage.token_values import token_checksum
from oauth_binding.storage.tokens import refresh_tokens


def note_requested(code: str, application: Any, user: Any, challenge: str, challenge_method: str) -> None:
    """Keep what an authorization code is requested with, before it is saved.

    :param code: the code.
    :param challenge: the ``code_challenge``; empty without one.
    :param challenge_method: the ``code_challenge_method``.
    """
    written(CodeContext).create(
        digest=token_checksum(code),
        application_id=application.pk,
        user_id=user.pk,
        code_challenge=challenge,
        code_challenge_method=challenge_method,
    )


def redeem(code: str, application: Any) -> bool:
    """Redeem an authorization code, and return whether nobody else has.

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
    """Return what is kept of an authorization code of an application that was redeemed, or None."""
    contexts = written(CodeContext).filter(digest=token_checksum(code), application=application)
    context: CodeContext | None = contexts.exclude(access_token="").first()
    return context


def redeem_device_code(device_code: str) -> bool:
    """Redeem an approved device code, and return whether nobody else has (RFC 8628 section 3.5)."""
    grants = written(get_device_grant_model())
    approved = grants.filter(device_code=device_code, status=AbstractDeviceGrant.AUTHORIZED)
    # The row stays: django-oauth-toolkit answers 404 where there is none.
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


def deny_device_codes(client_id: str) -> None:
    """Deny the device codes of an application, whether they are approved yet or not."""
    grants = written(get_device_grant_model()).filter(client_id=client_id)
    undecided = (AbstractDeviceGrant.AUTHORIZED, AbstractDeviceGrant.AUTHORIZATION_PENDING)
    grants.filter(status__in=undecided).update(status=AbstractDeviceGrant.DENIED)
