"""Telling clients from users in the subject of a token.

The ``sub`` of a client that acts for itself is its client id, that of a user the primary key: no client may
pass for a user (RFC 9068 section 5, RFC 7662 section 2.2).
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError

from oauth_binding.core.databases import write_alias


def could_be_user_key(client_id: str) -> bool:
    """Return whether a client id has the form of users' primary keys: a number, or a UUID.

    Even one that no user has may be a user's tomorrow. If the keys are texts, any text has their form, and
    that tells nothing.
    """
    key = _as_user_key(client_id)
    return key is not None and not isinstance(key, str)


def names_a_user(client_id: str) -> bool:
    """Return whether a client id could be the primary key of a user; if keys are texts, whether it is one."""
    key = _as_user_key(client_id)
    if not isinstance(key, str):
        return key is not None
    model = get_user_model()
    return model._base_manager.using(write_alias(model)).filter(pk=key).exists()


def client_subject(client: Any) -> str | None:
    """Return the ``sub`` of a client that acts for itself, or None if that could be taken for a user's.

    :param client: the application.
    """
    return None if names_a_user(client.client_id) else str(client.client_id)


def _as_user_key(text: str) -> Any:
    field: Any = get_user_model()._meta.pk
    while field.remote_field is not None:
        field = field.target_field
    try:
        return field.to_python(text)
    except (ValidationError, ValueError, TypeError, ArithmeticError):
        return None
