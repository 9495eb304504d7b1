"""What was exchanged from tokens, and from what was exchanged from them."""

from __future__ import annotations

from typing import Any

from django.db.models import Q

from oauth_binding.binding.semantics import subject_key
from oauth_binding.core.databases import written
from oauth_binding.core.settings import binding_settings
from oauth_binding.models import TokenExchange, TokenExchangeRule
from oauth_binding.storage.chunks import in_chunks
from oauth_binding.storage.tokens import access_tokens, refresh_tokens

#: The condition that no row meets.
NOTHING = Q(pk__in=[])


def exchanged_from(access: Q, refresh: Q, exchanges: Q = NOTHING) -> list[Any]:
    """Return the primary keys of the exchanges made from some tokens, directly and by way of others.

    None if ``TOKEN_EXCHANGE_CASCADE`` is off: what was exchanged then lives on.

    :param access: the condition of access tokens.
    :param refresh: the condition of refresh tokens.
    :param exchanges: the condition of exchanges to include as well.
    """
    if not binding_settings.token_exchange_cascade or not _may_be_exchanged():
        return []
    records = written(TokenExchange)
    pending = set(records.filter(exchanges).values_list("pk", flat=True))
    pending |= _exchanges_of(access, refresh)
    seen: set[Any] = set()
    while pending:
        seen |= pending
        found: set[Any] = set()
        for chunk in in_chunks(pending):
            exchanged = Q(exchange__in=chunk)
            found |= _exchanges_of(exchanged, exchanged)
        pending = found - seen
    return sorted(seen)


def _exchanges_of(access: Q, refresh: Q) -> set[Any]:
    families = refresh_tokens().filter(refresh).order_by().values_list("token_family", flat=True).distinct()
    subjects = [subject_key("family", str(family)) for family in families if family is not None]
    # What was exchanged from an access token without a refresh token, even if it has one by now.
    pks = access_tokens().filter(access).values_list("pk", flat=True)
    subjects += [subject_key("access token", str(pk)) for pk in pks]
    return {
        pk
        for chunk in in_chunks(subjects)
        for pk in written(TokenExchange).filter(subject__in=chunk).values_list("pk", flat=True)
    }


def _may_be_exchanged() -> bool:
    """Return whether there are token exchanges on this server."""
    # There is a rule before the first exchange, which may be about to be saved.
    rules, exchanges = (
        written(model).order_by().values("pk") for model in (TokenExchangeRule, TokenExchange)
    )
    return bool(rules.union(exchanges, all=True).exists())
