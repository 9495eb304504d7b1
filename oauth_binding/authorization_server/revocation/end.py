"""Ending tokens, with all that was exchanged from them: the users are locked, in one transaction or more."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from django.db.models import Q

from oauth_binding.authorization_server.revocation.cascade import NOTHING, exchanged_from
from oauth_binding.storage import bindings, codes, devices, users
from oauth_binding.storage.attempts import in_transaction
from oauth_binding.storage.chunks import in_chunks
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

    This waits for requests that are being answered for the user, and what they issue ends, too. Those that
    were validated before but have not begun to save find that they are too late.

    :param user: the user's primary key, or None for a client's own tokens.
    :param access: the condition of the access tokens.
    :param refresh: the condition of the refresh tokens.
    :param exchanges: the condition of exchanges whose tokens end, too.
    :param of_bindings: the primary keys of bindings all of whose tokens end, including what is about to be
        issued. Those that are left without a live token lose their mark.
    :param codes_for: the condition of the applications whose codes end, too; None for none.
    :param keep: the condition of access and refresh tokens that stay, whatever the other parameters say.
    :raises OperationalError: as ``repeat()`` in storage/attempts.py says.
    """

    def work() -> int:
        if user is not None:
            users.lock(user)
            if codes_for is not None:
                codes.end_codes(user, codes_for)
        return _end(access, refresh, exchanges, of_bindings, keep)[0]

    return in_transaction(work)


def end_of_several(
    holders: Iterable[Any],
    access: Q,
    refresh: Q,
    *,
    exchanges: Q = NOTHING,
    of_bindings: Collection[Any] = (),
    codes_for: Q | None = None,
) -> tuple[int, set[Any]]:
    """End tokens of several users for good, in one transaction, as ``end`` does for one user.

    :param holders: the users' primary keys, which may be None; few enough that others don't wait long.
    :param of_bindings: as for ``end``.
    :returns: how many tokens were ended, and the primary keys of the bindings that had some.
    """
    pks = set(holders) - {None}

    def work() -> tuple[int, set[Any]]:
        users.lock_all(pks)
        if codes_for is not None:
            for user in pks:
                codes.end_codes(user, codes_for)
        return _end(access, refresh, exchanges, of_bindings, NOTHING)

    return in_transaction(work)


def end_in_batches(
    user: Any,
    access: Q,
    refresh: Q,
    *,
    of_bindings: Iterable[Any] = (),
    codes_for: Q,
    keep: Q = NOTHING,
) -> int:
    """End tokens of a user for good as ``end`` does, however many, and return how many were ended.

    Each transaction ends the tokens of a few bindings, so that no other request waits long for one. The first
    one ends the codes, and the last one ends whatever else meets the conditions by then. So all that was
    there at the beginning has ended, including what it was refreshed or exchanged to in between. If it is
    interrupted, what has ended stays ended, and calling it again ends the rest. Within a transaction of the
    caller's, it is all part of that.

    :param user: the user's primary key.
    :param access: as for ``end``, and so are all others.
    :raises OperationalError: as ``repeat()`` in storage/attempts.py says.
    """
    end(user, NOTHING, NOTHING, codes_for=codes_for)
    count = 0
    for chunk in in_chunks(of_bindings):
        held = Q(binding__in=chunk)
        count += end(user, access & held, refresh & held, of_bindings=chunk, keep=keep)
    # Tokens that are bound to nothing, or to a binding that is not the user's own.
    unrevoked = refresh & _unrevoked(keep)
    for chunk in in_chunks(refresh_tokens().filter(unrevoked).order_by().values_list("pk", flat=True)):
        tokens = refresh_tokens().filter(pk__in=chunk, access_token__isnull=False)
        count += end(user, Q(pk__in=tokens.values("access_token")), Q(pk__in=chunk), keep=keep)
    unended = access & _unended(keep)
    for chunk in in_chunks(access_tokens().filter(unended).order_by().values_list("pk", flat=True)):
        count += end(user, Q(pk__in=chunk), Q(access_token__in=chunk), keep=keep)
    # Not those that have ended: their exchanges were included with the others.
    return count + end(user, unended, unrevoked, keep=keep)


def _end(access: Q, refresh: Q, exchanges: Q, of_bindings: Iterable[Any], keep: Q) -> tuple[int, set[Any]]:
    """End tokens whose users are locked; return how many, and the bindings that they were bound to."""
    # First: a client's own tokens have no user to lock, and may be about to be issued.
    locked = {*of_bindings}
    bindings.lock_all(locked)
    exchanged = exchanged_from(access, refresh, exchanges)
    # Looked up before anything changes: a revoked refresh token has lost its access token.
    ending_access = _holders(access_tokens().filter(_unended(keep)), access, exchanged)
    ending_refresh = _holders(refresh_tokens().filter(_unrevoked(keep)), refresh, exchanged)
    bound = {*ending_access.values(), *ending_refresh.values()} - {None}
    bindings.lock_all(bound - locked)
    count = sum(
        revoke_refresh_tokens(refresh_tokens().filter(pk__in=chunk)) for chunk in in_chunks(ending_refresh)
    )
    count += sum(
        expire_access_tokens(access_tokens().filter(pk__in=chunk)) for chunk in in_chunks(ending_access)
    )
    devices.unmark(devices.without_live_tokens(locked))
    return count, bound


def _unended(keep: Q) -> Q:
    return not_ended() & ~keep


def _unrevoked(keep: Q) -> Q:
    return ~keep & Q(revoked__isnull=True)


def _holders(tokens: Any, condition: Q, exchanged: list[Any]) -> dict[Any, Any]:
    """Return the primary keys of tokens, each with the key of its binding or None.

    :param condition: which tokens.
    :param exchanged: the primary keys of exchanges whose tokens are included as well.
    """
    conditions = [condition, *(Q(exchange__in=chunk) for chunk in in_chunks(exchanged))]
    return {
        pk: binding
        for each in conditions
        for pk, binding in tokens.filter(each).order_by().values_list("pk", "binding")
    }
