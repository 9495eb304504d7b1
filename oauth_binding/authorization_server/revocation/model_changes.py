"""What ends tokens without anybody asking for it: changes and deletions of users and applications."""

from __future__ import annotations

import functools
from typing import Any

from django.contrib.auth import get_user_model
from django.db import models
from django.db.models import Q
from django.db.models.signals import pre_delete
from oauth2_provider.models import (
    get_access_token_model,
    get_application_model,
    get_device_grant_model,
    get_grant_model,
    get_id_token_model,
    get_refresh_token_model,
)

from oauth_binding.authorization_server.revocation.revoke import BINDS, EVERYTHING, end_with_cause
from oauth_binding.core.databases import written
from oauth_binding.core.settings import binding_settings
from oauth_binding.models import TokenBinding
from oauth_binding.storage import users
from oauth_binding.storage.attempts import in_transaction
from oauth_binding.storage.codes import deny_device_codes
from oauth_binding.storage.ending import add_to_revocation_feed

#: What each setting of ``PASSWORD_CHANGE_ENDS`` ends: the condition of the applications, or None.
_ENDS: dict[str, Q | None] = {"bound": BINDS, "all": EVERYTHING, "off": None}


def connect() -> None:
    """Have changes and deletions of users and applications end what they end."""
    _end_when_saved(get_user_model())
    pre_delete.connect(_before_token_is_deleted, sender=get_access_token_model())
    pre_delete.connect(_before_user_is_deleted, sender=get_user_model())
    pre_delete.connect(_before_application_is_deleted, sender=get_application_model())


def _end_when_saved(model: Any) -> None:
    """Let saving a user end tokens in one transaction with what is saved.

    The signal ``post_save`` is sent after that transaction, hence the method that sends it is wrapped.
    """
    save_base = model.save_base

    @functools.wraps(save_base)
    def save_and_end(user: Any, *args: Any, **kwargs: Any) -> None:
        ending = _ending(user, kwargs.get("update_fields"))
        if user._state.adding or ending is None:
            save_base(user, *args, **kwargs)
            return
        cause, applications = ending

        def save() -> None:
            save_base(user, *args, **kwargs)
            end_with_cause(user, cause, applications=applications)

        in_transaction(save)

    model.save_base = save_and_end


def _ending(user: Any, update_fields: Any) -> tuple[str, Q] | None:
    """Return why tokens end with what is about to be saved of a user, and of which applications; or None."""

    def is_saved(name: str) -> bool:
        return update_fields is None or name in update_fields

    if not getattr(user, "is_active", True) and is_saved("is_active"):
        return "deactivation", EVERYTHING
    applications = _ENDS.get(binding_settings.password_change_ends)
    # Django forgets the password again where it only renews the hash of one, at a login.
    if applications is not None and vars(user).get("_password") is not None and is_saved("password"):
        return "password_change", applications
    return None


def _before_token_is_deleted(sender: Any, instance: Any, **kwargs: Any) -> None:
    add_to_revocation_feed([instance])  # some revoking is deleting


def _before_user_is_deleted(sender: Any, instance: Any, **kwargs: Any) -> None:
    """Delete what was issued since Django has looked what to delete with the user, and stop issuing."""
    users.lock(instance.pk)
    _delete(get_refresh_token_model(), user=instance)
    _delete(get_access_token_model(), user=instance)
    for model in (get_id_token_model(), get_grant_model(), get_device_grant_model(), TokenBinding):
        _delete(model, user=instance)


def _before_application_is_deleted(sender: Any, instance: Any, **kwargs: Any) -> None:
    deny_device_codes(instance.client_id)


def _delete(model: type[models.Model], **condition: Any) -> None:
    written(model).filter(**condition).delete()
