"""Ending tokens under the lock that issuing takes, too."""

from __future__ import annotations

from functools import partial
from typing import Final

from django.db.models import Q

from oauth_binding.core.databases import written
from oauth_binding.models import TokenBinding
from oauth_binding.storage.ending import expire_access_tokens, not_ended, revoke_refresh_tokens
from oauth_binding.storage.tokens import access_tokens, in_transaction, not_registration_token, refresh_tokens

#: How often :func:`revoke_unbound_tokens` looks for more; only logins that never pause can take so many.
MAX_PASSES: Final = 10


def revoke_unbound(unbound: Q) -> None:
    """Revoke tokens that are bound to nothing, and those that requests under way add to them.

    :param unbound: the condition of access and refresh tokens alike.
    """
    for _pass in range(MAX_PASSES):
        if not in_transaction(partial(_end_unbound, unbound)):
            return


def revoke_locked(binding: TokenBinding, refresh: Q, access: Q) -> int:
    """Revoke tokens of a binding under the lock that issuing takes, too, and return how many were revoked.

    :param refresh: the condition of the refresh tokens.
    :param access: the condition of the access tokens.
    """

    def revoke() -> int:
        written(TokenBinding).select_for_update().filter(pk=binding.pk).first()
        revoked = revoke_refresh_tokens(refresh_tokens().filter(refresh))
        return revoked + expire_access_tokens(access_tokens().filter(access))

    return in_transaction(revoke)


def _end_unbound(unbound: Q) -> int:
    """Revoke the tokens that are there now, and return how many they were."""
    unrevoked = refresh_tokens().filter(unbound, revoked__isnull=True)
    # The lock that a rotating refresh takes. One without rotation takes that of the access token, and gives
    # it another expiry: hence also those that have expired.
    list(unrevoked.select_for_update().order_by("pk").values_list("pk"))
    refreshable = Q(pk__in=unrevoked.filter(access_token__isnull=False).values("access_token"))
    ending = unbound & not_registration_token() & (not_ended() | refreshable)
    expired = expire_access_tokens(access_tokens().filter(ending))
    return expired + revoke_refresh_tokens(unrevoked)
