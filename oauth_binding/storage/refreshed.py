"""The pair that a refresh replaces, ended in SQL that is written once."""

from __future__ import annotations

import functools
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from django.db import connections
from django.utils import timezone
from oauth2_provider.models import get_access_token_model, get_refresh_token_model

from oauth_binding.storage.ending import ended

if TYPE_CHECKING:
    from oauth_binding.models import BoundRefreshToken


class Left(Enum):
    """What is left of a pair that was to be ended."""

    #: Both: the refresh token is no longer what it was when it was read.
    PAIR = auto()
    #: The access token, which is no longer what it was, or is in another slot.
    ACCESS_TOKEN = auto()
    NOTHING = auto()


def end_pair(using: str, refresh_token: BoundRefreshToken, slot: str) -> Left:
    """End a refresh token and its access token, which leaves its slot.

    Only if both are what they were when they were read, which saves the caller from reading them again.
    Except for the revocation feed, it does what this does, as tests/storage/ makes sure::

        read, access = refresh_token, refresh_token.access_token
        there = refresh_tokens().filter(pk=read.pk, access_token=access.pk)
        if not revoke_refresh_tokens(there.filter(binding_confirmation=read.binding_confirmation)):
            return Left.PAIR
        holder = access_tokens().filter(pk=access.pk, token_checksum=access.token_checksum, slot=slot)
        Left.NOTHING if expire_access_tokens(holder) else Left.ACCESS_TOKEN

    :param using: alias of the tokens' database.
    :param refresh_token: its row, with that of its access token.
    :param slot: the slot_key() of the slot that the access token has.
    """
    return _end(using, refresh_token, slot)


def end_and_delete_pair(using: str, refresh_token: BoundRefreshToken) -> Left:
    """Revoke a refresh token and delete its access token, as django-oauth-toolkit does with unbound ones.

    All else is as for ``end_pair``::

        read, access = refresh_token, refresh_token.access_token
        there = refresh_tokens().filter(pk=read.pk, access_token=access.pk)
        if not revoke_refresh_tokens(there.filter(binding_confirmation=read.binding_confirmation)):
            return Left.PAIR
        row = access_tokens().filter(pk=access.pk, token_checksum=access.token_checksum)
        Left.NOTHING if row.delete()[0] else Left.ACCESS_TOKEN

    :param using: alias of the tokens' database.
    :param refresh_token: its row, with that of its access token.
    """
    return _end(using, refresh_token, None)


def _end(using: str, refresh_token: BoundRefreshToken, slot: str | None) -> Left:
    connection = connections[using]
    access: Any = refresh_token.access_token
    adapt = connection.ops.adapt_datetimefield_value
    now, confirmation = adapt(timezone.now()), refresh_token.binding_confirmation

    def key(row: Any) -> Any:
        return row._meta.pk.get_db_prep_value(row.pk, connection)

    of_refresh = [now, now, key(refresh_token), key(access), *filter(None, [confirmation])]
    of_access = [key(access), access.token_checksum]
    if slot is not None:
        of_access = [adapt(ended()), now, *of_access, slot]
    together, revoke, end = _statements(using, confirmation is not None, slot is not None)
    with connection.cursor() as cursor:
        if together:
            cursor.execute(together, of_refresh + of_access)
            is_revoked, is_ended = cursor.fetchone()
        else:
            cursor.execute(revoke, of_refresh)
            is_revoked = cursor.rowcount
            if is_revoked:
                cursor.execute(end, of_access)
            is_ended = cursor.rowcount
    if not is_revoked:
        return Left.PAIR
    return Left.NOTHING if is_ended else Left.ACCESS_TOKEN


@functools.cache
def _statements(using: str, has_confirmation: bool, has_slot: bool) -> tuple[str, str, str]:
    """Return one statement that ends both, if the database supports that, and one for each of the two."""
    connection = connections[using]
    quote = connection.ops.quote_name
    access, refresh = get_access_token_model()._meta, get_refresh_token_model()._meta
    names = {
        **{f"access_{field.name}": quote(field.column) for field in access.concrete_fields},
        **{f"refresh_{field.name}": quote(field.column) for field in refresh.concrete_fields},
        "access_pk": quote(access.pk.column),
        "refresh_pk": quote(refresh.pk.column),
        "confirmation": "= %s" if has_confirmation else "IS NULL",
        "access": quote(access.db_table),
        "refresh": quote(refresh.db_table),
    }
    revoke = (
        "UPDATE {refresh} SET {refresh_revoked} = %s, {refresh_updated} = %s, {refresh_access_token} = NULL"
        " WHERE {refresh_pk} = %s AND {refresh_access_token} = %s AND {refresh_revoked} IS NULL"
        " AND {refresh_binding_confirmation} {confirmation}"
    )
    end = "DELETE FROM {access} WHERE {access_pk} = %s AND {access_token_checksum} = %s"
    if has_slot:
        end = (
            "UPDATE {access} SET {access_slot} = NULL, {access_source_refresh_token} = NULL,"
            " {access_expires} = %s, {access_updated} = %s"
            " WHERE {access_pk} = %s AND {access_token_checksum} = %s AND {access_slot} = %s"
        )
    together = ""
    if connection.vendor == "postgresql":
        # What ends the access token waits for what the other returns: the refresh token is locked first.
        together = (
            f"WITH revoked AS ({revoke} RETURNING 1),"  # noqa: S608
            f" ended AS ({end} AND EXISTS (SELECT FROM revoked) RETURNING 1)"
            " SELECT EXISTS (SELECT FROM revoked), EXISTS (SELECT FROM ended)"
        )
    return together.format_map(names), revoke.format_map(names), end.format_map(names)
