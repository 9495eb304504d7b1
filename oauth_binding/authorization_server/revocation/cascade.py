"""Ending what was exchanged from tokens that end."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Q

from oauth_binding.authorization_server.revocation.under_lock import revoke_locked, revoke_unbound
from oauth_binding.binding.semantics import subject_key
from oauth_binding.core.databases import written
from oauth_binding.core.settings import binding_settings
from oauth_binding.models import TokenBinding, TokenExchange, TokenExchangeRule
from oauth_binding.storage.ending import not_ended
from oauth_binding.storage.token_values import token_checksum
from oauth_binding.storage.tokens import access_tokens, refresh_tokens


def subjects_of(token: str, application: models.Model) -> list[str]:
    """Return what tokens can have been exchanged from an access or refresh token of an application.

    :param token: its text.
    """
    if not _may_be_exchanged():
        return []
    held = Q(token_checksum=token_checksum(token), application=application)
    # In queries of their own: of an OR with a subquery nobody makes use of an index.
    access = list(access_tokens().filter(held).values_list("pk", flat=True))
    access += refresh_tokens().filter(held).values_list("access_token", flat=True)
    return subjects_of_rows(Q(pk__in=access), held | Q(access_token__in=access))


def subjects_of_reused(refresh_token: str) -> list[str]:
    """Return what tokens can have been exchanged from the family of a refresh token that is revoked.

    :param refresh_token: its text.
    """
    checksum = token_checksum(refresh_token)
    revoked = refresh_tokens().filter(token_checksum=checksum, revoked__isnull=False)
    families = revoked.values_list("token_family", flat=True)
    return [subject_key("family", str(family)) for family in families if family is not None]


def revoke_exchanged(exchanges: Q) -> None:
    """Revoke what was exchanged from tokens that were revoked, and what was exchanged from that.

    Does nothing where ``TOKEN_EXCHANGE_CASCADE`` is off.

    :param exchanges: selects rows of TokenExchange.
    """
    if not binding_settings.token_exchange_cascade:
        return
    records = written(TokenExchange)
    pending, seen = list(records.filter(exchanges)), set()
    while pending:
        seen |= {exchange.pk for exchange in pending}
        exchanged = Q(exchange__in=pending)
        subjects = subjects_of_rows(exchanged)
        bound = exchanged & Q(binding__isnull=False)
        holders = {
            holder
            for tokens in (access_tokens(), refresh_tokens())
            for holder in tokens.filter(bound).values_list("binding", flat=True)
        }
        for binding in written(TokenBinding).filter(pk__in=holders):
            held = exchanged & Q(binding=binding)
            revoke_locked(binding, held, held & not_ended())
        revoke_unbound(exchanged & Q(binding__isnull=True))
        pending = list(records.filter(subject__in=subjects).exclude(pk__in=seen))


def subjects_of_rows(access: Q, refresh: Q | None = None) -> list[str]:
    """Return what tokens can have been exchanged from some tokens.

    :param access: the condition of access tokens.
    :param refresh: the condition of refresh tokens, where it is another one.
    """
    if not _may_be_exchanged():
        return []
    held = refresh_tokens().filter(access if refresh is None else refresh)
    families = held.order_by().values_list("token_family", flat=True).distinct()
    pks = access_tokens().filter(access).values_list("pk", flat=True)
    return [
        *(subject_key("family", str(family)) for family in families if family is not None),
        *(subject_key("access token", str(pk)) for pk in pks),
    ]


def _may_be_exchanged() -> bool:
    """Return whether there are token exchanges on this server."""
    # A rule is there before the first exchange, which may be about to be saved.
    kept: tuple[Any, ...] = (TokenExchangeRule, TokenExchange)
    return any(written(model).exists() for model in kept)
