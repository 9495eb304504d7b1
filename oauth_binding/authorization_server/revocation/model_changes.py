"""What ends tokens without being asked to: changes and deletions of users and applications."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Q
from django.db.models.signals import pre_delete
from oauth2_provider.models import get_access_token_model, get_application_model

from oauth_binding.authorization_server.revocation.deletion import (
    before_token_is_deleted,
    delete_held,
    held_by_application,
    held_by_user,
)
from oauth_binding.authorization_server.revocation.login_sessions import end_sessions_of
from oauth_binding.authorization_server.revocation.revoke import BINDS, EVERYTHING, end_with_cause
from oauth_binding.core.settings import binding_settings
from oauth_binding.models import TerminationReason
from oauth_binding.storage import users
from oauth_binding.storage.attempts import in_transaction
from oauth_binding.storage.codes import deny_device_codes

#: What each setting of ``PASSWORD_CHANGE_ENDS`` ends: the condition of the applications, or None.
_ENDS: dict[str, Q | None] = {"bound": BINDS, "all": EVERYTHING, "off": None}


def connect() -> None:
    """Have changes and deletions of users and applications end the tokens that they should end."""
    _end_when_saved(get_user_model())
    _delete_what_is_held(get_user_model(), _delete_what_user_holds)
    _delete_what_is_held(get_application_model(), _delete_what_application_holds)
    pre_delete.connect(before_token_is_deleted, sender=get_access_token_model())
    pre_delete.connect(_before_user_is_deleted, sender=get_user_model())
    pre_delete.connect(_before_application_is_deleted, sender=get_application_model())


def _end_when_saved(model: Any) -> None:
    """Let saving a user end tokens in the same transaction.

    The signal ``post_save`` is sent after that transaction, so the method that sends it is wrapped.
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


def _ending(user: Any, update_fields: Any) -> tuple[str, Q | None] | None:
    """Return why something ends when a user is saved, and for which applications."""

    def is_saved(name: str) -> bool:
        return update_fields is None or name in update_fields

    if not getattr(user, "is_active", True) and is_saved("is_active"):
        return "deactivation", EVERYTHING
    # At a login, where Django only renews the hash, it forgets the password again.
    if vars(user).get("_password") is not None and is_saved("password"):
        return "password_change", _ENDS.get(binding_settings.password_change_ends)
    return None


def _delete_what_is_held(model: Any, prepare: Callable[[Any], Counter[str]]) -> None:
    """Let deleting a user or an application first delete what they hold, in one transaction.

    Django reads all that it is going to delete before it sends a signal, so the method is wrapped. If a
    queryset is deleted, the signal does the same by itself.

    :param prepare: deletes what they hold, and returns how many rows of each model there were.
    """
    delete = model.delete

    @functools.wraps(delete)
    def delete_all(instance: Any, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        pk = instance.pk

        def once() -> tuple[int, dict[str, int]]:
            instance.pk = pk  # Django clears it with the row, even if the deletion is undone
            counts = Counter() if pk is None else prepare(instance)
            counts.update(delete(instance, *args, **kwargs)[1])
            return counts.total(), dict(counts)

        return in_transaction(once)

    model.delete = delete_all


def _before_user_is_deleted(sender: Any, instance: Any, **kwargs: Any) -> None:
    # What was issued since Django looked up what to delete with the user.
    _delete_what_user_holds(instance)


def _before_application_is_deleted(sender: Any, instance: Any, **kwargs: Any) -> None:
    _delete_what_application_holds(instance)


def _delete_what_user_holds(user: Any) -> Counter[str]:
    users.lock(user.pk)  # nothing more is issued
    end_sessions_of(user.pk, TerminationReason.DELETION)
    return delete_held(held_by_user(user.pk))


def _delete_what_application_holds(application: Any) -> Counter[str]:
    deny_device_codes(application.client_id)
    return delete_held(held_by_application(application.pk))
