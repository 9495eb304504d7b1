"""The usual refresh, with a token that is good and unused: as django-oauth-toolkit does it, but quicker.

Everything else is left to django-oauth-toolkit: a token that comes again, has expired or does not exist, and
sites that have replaced the methods involved with their own.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models.deletion import get_candidate_relations_to_delete
from django.db.models.signals import post_save, pre_save
from oauth2_provider.models import (
    AbstractAccessToken,
    AbstractRefreshToken,
    get_access_token_model,
    get_refresh_token_model,
)
from oauth2_provider.oauth2_validators import OAuth2Validator

from oauth_binding.authorization_server.revocation.deletion import is_heard
from oauth_binding.storage import prepared_sql
from oauth_binding.storage.ending import add_to_revocation_feed
from oauth_binding.storage.liveness import is_live, refresh_token_expiry
from oauth_binding.storage.refreshed import Left, end_and_delete_pair
from oauth_binding.storage.token_values import token_checksum
from oauth_binding.storage.tokens import access_tokens, tokens_database

if TYPE_CHECKING:
    from oauth_binding.models import BoundRefreshToken


def is_toolkits_own(method: Any) -> bool:
    """Return whether a method of the validator is django-oauth-toolkit's, and not that of a mixed-in class.

    :param method: the method of ``super()``.
    """
    return getattr(method, "__func__", None) is getattr(OAuth2Validator, method.__name__)


def find_good(text: str, client: Any) -> BoundRefreshToken | None:
    """Return a client's refresh token that django-oauth-toolkit finds good, or None: it has to decide.

    It comes with its access token, user and binding, all in one query.

    :param text: the refresh token.
    :param client: the application, which the row gets, too.
    """
    row: BoundRefreshToken | None = prepared_sql.find(
        tokens_database(),
        get_refresh_token_model(),
        "token_checksum",
        token_checksum(text),
        ("access_token", "user", "binding"),
    )
    if row is None or row.revoked is not None or row.access_token is None:
        return None
    if row.application_id != client.pk:
        return None
    row.application = client
    return row if is_live(refresh_token_expiry(row)) else None


def end_as_toolkit(refresh_token: BoundRefreshToken) -> bool:
    """Revoke a refresh token and delete its access token, if that is all that django-oauth-toolkit would do.

    Return whether that was done; if not, nothing has changed.

    :param refresh_token: one that was found to be good.
    """
    if refresh_token.revoked is not None or refresh_token.access_token is None or not _is_plain():
        return False
    left = end_and_delete_pair(tokens_database(), refresh_token)
    if left is Left.ACCESS_TOKEN:
        access_tokens().filter(pk=refresh_token.access_token.pk).delete()
    elif left is Left.NOTHING:
        add_to_revocation_feed(refresh_token.access_token)
    return left is not Left.PAIR


def _is_plain() -> bool:
    """Return whether nothing but the tables notices that the tokens are revoked and deleted."""
    access, refresh = get_access_token_model(), get_refresh_token_model()
    own = (
        refresh.revoke is AbstractRefreshToken.revoke,
        refresh.save is models.Model.save,
        refresh.save_base is models.Model.save_base,
        access.revoke is AbstractAccessToken.revoke,
        access.delete is models.Model.delete,
    )
    is_saved_unheard = not (pre_save.has_listeners(refresh) or post_save.has_listeners(refresh))
    return all(own) and is_saved_unheard and not is_heard(access) and _refers_alone(refresh, access)


@functools.cache
def _refers_alone(refresh: Any, access: Any) -> bool:
    """Return whether no row but a refresh token's goes or changes with an access token that is deleted.

    Django goes through all models for it; they are fixed once they are loaded, unlike who listens.
    """
    if access._meta.parents or access._meta.private_fields:
        return False
    relations: list[Any] = list(get_candidate_relations_to_delete(access._meta))
    return all(relation.related_model is refresh for relation in relations)
