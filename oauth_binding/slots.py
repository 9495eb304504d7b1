"""What sits in a slot, in SQL that is written once.

Django writes a query anew each time, which takes it several times as long as a database to answer one like
these.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connections
from django.utils import timezone
from oauth2_provider.models import get_access_token_model, get_refresh_token_model


@dataclass(frozen=True, slots=True, repr=False)
class SlotToken:
    """What issuing asks of an access token that has or had a slot, and of its refresh token."""

    pk: Any
    slot: str | None
    expires: datetime
    exchange_id: int | None
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
        return self.expires > timezone.now()

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
    connection = connections[using]
    sql, column, converters = _selection(using, field)
    with connection.cursor() as cursor:
        cursor.execute(sql, [column.get_db_prep_value(value, connection)])
        row = cursor.fetchone()
    if row is None:
        return None
    columns = list(row)
    for index, convert, expression in converters:
        columns[index] = convert(columns[index], expression, connection)
    return SlotToken(*columns)


def empty(using: str, slot: str) -> None:
    """Revoke the access token that has a slot, and its refresh token, as revocation.py does it.

    :param using: alias of the tokens' database.
    :param slot: the slot_key().
    """
    connection = connections[using]
    now = connection.ops.adapt_datetimefield_value(timezone.now())
    revoke, expire = _statements(using)
    with connection.cursor() as cursor:
        cursor.execute(revoke, [now, now, slot])
        cursor.execute(expire, [now, now, slot])


@functools.cache
def _selection(using: str, field: str) -> tuple[str, Any, list[tuple[int, Callable[..., Any], Any]]]:
    """Return the SELECT of :func:`find`, the column it is by, and what converts which of its values."""
    model, refresh_model = get_access_token_model(), get_refresh_token_model()
    # A swapped model may name the way back to it as it likes.
    refresh = refresh_model._meta.get_field("access_token").related_query_name()
    text = ("token", "token_seed", "token_checksum")
    names = ("pk", "slot", "expires", "exchange_id", "binding__last_used", *text)
    names_of_refresh = (f"{refresh}__{name}" for name in ("pk", "revoked", *text))
    tokens = model.objects.filter(**{field: 0}).values_list(*names, *names_of_refresh)
    compiler = tokens.query.get_compiler(using)
    sql, _parameters = compiler.as_sql()
    found = compiler.get_converters([expression for expression, _sql, _alias in compiler.select])
    converters = [
        (index, convert, expression) for index, (chain, expression) in found.items() for convert in chain
    ]
    return sql, model._meta.pk if field == "pk" else model._meta.get_field(field), converters


@functools.cache
def _statements(using: str) -> tuple[str, str]:
    """Return what revokes the refresh token of the access token in a slot, and what lets that expire."""
    quote = connections[using].ops.quote_name
    access, refresh = get_access_token_model()._meta, get_refresh_token_model()._meta
    names = {
        **{f"access_{field.name}": quote(field.column) for field in access.concrete_fields},
        **{f"refresh_{field.name}": quote(field.column) for field in refresh.concrete_fields},
        "access_pk": quote(access.pk.column),
        "access": quote(access.db_table),
        "refresh": quote(refresh.db_table),
    }
    revoke = (
        "UPDATE {refresh} SET {refresh_revoked} = %s, {refresh_updated} = %s, {refresh_access_token} = NULL"
        " WHERE {refresh_revoked} IS NULL AND {refresh_access_token} IN"
        " (SELECT {access_pk} FROM {access} WHERE {access_slot} = %s)"
    )
    expire = (
        "UPDATE {access} SET {access_slot} = NULL, {access_source_refresh_token} = NULL,"
        " {access_expires} = %s, {access_updated} = %s WHERE {access_slot} = %s"
    )
    return revoke.format_map(names), expire.format_map(names)
