"""Ending tokens: in one transaction, alone with the user, and with all that was exchanged from them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from django.db.models import Q

from oauth_binding.authorization_server.revocation.cascade import NOTHING, exchanged_from
from oauth_binding.storage import bindings, codes, users
from oauth_binding.storage.attempts import in_transaction
from oauth_binding.storage.ending import expire_access_tokens, not_ended, revoke_refresh_tokens
from oauth_binding.storage.tokens import access_tokens, refresh_tokens


def end(
    user: Any,
    access: Q,
    refresh: Q,
    *,
    exchanges: Q = NOTHING,
    of_bindings: Iterable[Any] = (),
    codes_for: Q | None = None,
    keep: Q = NOTHING,
) -> int:
    """End tokens of a user for good, with what was exchanged from them, and return how many were ended.

    Requests that are being answered for the user are waited for, and what they issue ends, too. Those that
    were validated before, and have not begun to save, find that they are too late.

    :param user: the user's primary key, or None for a client's own tokens.
    :param access: the condition of the access tokens.
    :param refresh: the condition of the refresh tokens.
    :param exchanges: the condition of exchanges whose tokens end, too.
    :param of_bindings: the primary keys of bindings of which all end, also what is about to be issued.
    :param codes_for: the condition of the applications whose codes end, too; None for none.
    :param keep: the condition of access and refresh tokens that stay, whatever else is said.
    :raises OperationalError: as ``repeat()`` in storage/attempts.py says.
    """
    return in_transaction(partial(_end, user, access, refresh, exchanges, of_bindings, codes_for, keep))


def _end(
    user: Any,
    access: Q,
    refresh: Q,
    exchanges: Q,
    of_bindings: Iterable[Any],
    codes_for: Q | None,
    keep: Q,
) -> int:
    if user is not None:
        users.lock(user)
        if codes_for is not None:
            codes.end_codes(user, codes_for)
    exchanged = Q(exchange__in=exchanged_from(access, refresh, exchanges))
    # Found before anything changes: a revoked refresh token has lost its access token.
    unended = access_tokens().filter(not_ended() & ~keep)
    ending_access = {**_holders(unended, access), **_holders(unended, exchanged)}
    unrevoked = refresh_tokens().filter(~keep, revoked__isnull=True)
    ending_refresh = {**_holders(unrevoked, refresh), **_holders(unrevoked, exchanged)}
    held = {*of_bindings, *ending_access.values(), *ending_refresh.values()} - {None}
    bindings.lock_all(held)
    count = revoke_refresh_tokens(refresh_tokens().filter(pk__in=sorted(ending_refresh)))
    return count + expire_access_tokens(access_tokens().filter(pk__in=sorted(ending_access)))


def _holders(tokens: Any, condition: Q) -> dict[Any, Any]:
    """Return the primary keys of tokens, each with that of its binding or None."""
    return dict(tokens.filter(condition).order_by().values_list("pk", "binding"))
