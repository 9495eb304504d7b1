"""The rows of access and refresh tokens, where they are written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from django.db import OperationalError, transaction
from django.db.models import Q
from oauth2_provider.models import get_access_token_model, get_refresh_token_model
from oauth2_provider.settings import oauth2_settings

from oauth_binding.core.databases import write_alias, written

_Result = TypeVar("_Result")

#: How often a transaction is tried that the database gives up for another one.
MAX_ATTEMPTS: Final = 5


def tokens_database() -> str:
    """Return the alias of the database that tokens are written to."""
    return write_alias(get_access_token_model())


def access_tokens() -> Any:
    """Return a queryset of the access tokens."""
    return written(get_access_token_model())


def refresh_tokens() -> Any:
    """Return a queryset of the refresh tokens."""
    return written(get_refresh_token_model())


def not_registration_token() -> Q:
    """Return the condition of access tokens that are not a client's registration token (RFC 7592 section 3).

    django-oauth-toolkit keeps those among access tokens; whoever registered a client is not signed in by it.
    """
    return ~Q(scope=oauth2_settings.DCR_REGISTRATION_SCOPE)


def in_transaction(work: Callable[[], _Result]) -> _Result:
    """Do some work in a transaction of the tokens' database, and return what it returns.

    :param work: what to do; it is done again where the database gives the transaction up for another one.
    :raises OperationalError: the database gave it up :data:`MAX_ATTEMPTS` times, or within a transaction of
        the caller's, in which nothing can be tried again.
    """
    database = tokens_database()
    attempt = 0
    while True:
        attempt += 1
        try:
            with transaction.atomic(using=database):
                return work()
        except OperationalError:
            if attempt == MAX_ATTEMPTS or transaction.get_connection(database).in_atomic_block:
                raise
