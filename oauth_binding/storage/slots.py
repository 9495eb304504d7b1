"""What is in a slot, read and ended in SQL that is written once."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connections
from django.utils import timezone
from oauth2_provider.models import get_access_token_model, get_refresh_token_model

from oauth_binding.core.settings import binding_settings
from oauth_binding.storage import prepared_sql
from oauth_binding.storage.ending import ended, feed_insertion, oldest_to_name
from oauth_binding.storage.liveness import is_live
from oauth_binding.storage.logins import login_started


@dataclass(frozen=True, slots=True, repr=False)
class SlotToken:
    """What issuing needs of an access token that has or had a slot, and of its refresh token."""

    pk: Any
    slot: str | None
    scope: str
    expires: datetime
    exchange_id: int | None
    binding_confirmation: str | None
    binding_login_started: datetime | None
    binding_session_id: int | None
    created: datetime
    binding_last_used: datetime | None
    token: str
    token_seed: str | None
    token_checksum: str
    # None without a refresh token.
    refresh_pk: Any
    refresh_revoked: Any
    refresh_token: Any
    refresh_token_seed: Any
    refresh_token_checksum: Any

    @property
    def is_live(self) -> bool:
        """Whether it is neither expired nor revoked."""
        return is_live(self.expires)

    @property
    def login_started(self) -> datetime:
        """When the login that it belongs to began."""
        return login_started(self)

    @property
    def has_refresh_token(self) -> bool:
        """Whether it has a refresh token that is not revoked."""
        return self.refresh_pk is not None and self.refresh_revoked is None


def find(using: str, field: str, value: Any) -> SlotToken | None:
    """Return an access token, or None.

    :param using: alias of the tokens' database.
    :param field: a unique field of the access tokens.
    :param value: what it is.
    """
    model, names = _names()
    values = prepared_sql.fetch(using, model, field, value, names)
    return None if values is None else SlotToken(*values)


def empty(using: str, slot: str, *, has_refresh_tokens: bool) -> None:
    """Revoke the access token that has a slot, and its refresh token.

    It does what this does, as tests/storage/ makes sure, in two thirds of the time or less::

        held = access_tokens().filter(slot=slot)
        if has_refresh_tokens:
            revoke_refresh_tokens(refresh_tokens().filter(access_token__in=held))
        expire_access_tokens(held)

    :param using: alias of the tokens' database.
    :param slot: the slot_key().
    :param has_refresh_tokens: whether the slot can have any.
    """
    connection = connections[using]
    adapt = connection.ops.adapt_datetimefield_value
    moment = timezone.now()
    now = adapt(moment)
    revoke, name, expire = _statements(using)
    statements: list[tuple[str, list[Any]]] = [(expire, [adapt(ended()), now, slot])]
    if binding_settings.revocation_feed:
        statements.insert(0, (name, [now, slot, adapt(oldest_to_name(moment))]))
    if has_refresh_tokens:
        statements.insert(0, (revoke, [now, now, slot]))
    if prepared_sql.takes_several_statements(connection):
        parameters = [parameter for _sql, parameters in statements for parameter in parameters]
        statements = [("; ".join(sql for sql, _parameters in statements), parameters)]
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(*statement)


@functools.cache
def _names() -> tuple[Any, tuple[str, ...]]:
    """Return the access-token model, and the names that values_list() has for the fields of a SlotToken."""
    model, refresh_model = get_access_token_model(), get_refresh_token_model()
    # A swapped model may give the reverse relation any name.
    refresh = refresh_model._meta.get_field("access_token").related_query_name()
    text = ("token", "token_seed", "token_checksum")
    names_of_refresh = (f"{refresh}__{name}" for name in ("pk", "revoked", *text))
    names = (
        *("pk", "slot", "scope", "expires", "exchange_id", "binding_confirmation"),
        *("binding_login_started", "binding_session_id", "created", "binding__last_used"),
    )
    return model, (*names, *text, *names_of_refresh)


@functools.cache
def _statements(using: str) -> tuple[str, str, str]:
    """Return what revokes the refresh token of the access token in a slot, what lets the feed name that token
    if it is a JWT, and what lets it expire.
    """
    quote = connections[using].ops.quote_name
    access, refresh = get_access_token_model()._meta, get_refresh_token_model()._meta
    names = {
        **{f"access_{field.name}": quote(field.column) for field in access.concrete_fields},
        **{f"refresh_{field.name}": quote(field.column) for field in refresh.concrete_fields},
        "access_pk": quote(access.pk.column),
        "access": quote(access.db_table),
        "refresh": quote(refresh.db_table),
    }
    # Not IN: in an UPDATE, MariaDB 10.11 would look at all refresh tokens.
    revoke = (
        "UPDATE {refresh} SET {refresh_revoked} = %s, {refresh_updated} = %s, {refresh_access_token} = NULL"
        " WHERE {refresh_revoked} IS NULL AND {refresh_access_token} ="
        " (SELECT {access_pk} FROM {access} WHERE {access_slot} = %s)"
    )
    names["insert"], names["ignoring"] = feed_insertion(using)
    name = (
        "{insert} SELECT {access_jti}, {access_expires}, %s FROM {access}"
        " WHERE {access_slot} = %s AND {access_jti} IS NOT NULL AND {access_expires} > %s {ignoring}"
    )
    expire = (
        "UPDATE {access} SET {access_slot} = NULL, {access_source_refresh_token} = NULL,"
        " {access_expires} = %s, {access_updated} = %s WHERE {access_slot} = %s"
    )
    return revoke.format_map(names), name.format_map(names), expire.format_map(names)
