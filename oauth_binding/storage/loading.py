"""Rows that are loaded from a fixture (``loaddata``): what depends on primary keys is made from the new ones.

With ``--natural-primary``, users and applications have different primary keys in another database. The keys
of bindings and slots would no longer match: each device would become two, and a slot could have two live
tokens.
"""

from __future__ import annotations

import base64
from typing import Any, Final

from django.db.models.signals import post_save, pre_save
from oauth2_provider.models import get_access_token_model

from oauth_binding.binding.semantics import binding_key, exchange_key, slot_key
from oauth_binding.models import TokenBinding, TokenExchange

#: What a slot begins with as long as the binding of its token is not loaded; no slot_key() does.
_PENDING: Final = "~"


#: The databases and primary keys of bindings that were loaded with the keys that they were dumped with.
_as_dumped: Final[set[tuple[str, Any]]] = set()


def connect() -> None:
    """Make loading fixtures work into any database, in any order."""
    pre_save.connect(_before_binding, sender=TokenBinding)
    post_save.connect(_after_binding, sender=TokenBinding)
    pre_save.connect(_before_access_token, sender=get_access_token_model())
    pre_save.connect(_before_exchange, sender=TokenExchange)


def _before_binding(instance: TokenBinding, raw: bool, **kwargs: Any) -> None:
    if not raw:
        return
    user = None if instance.user_id is None else str(instance.user_id)
    key = binding_key(str(instance.application_id), user, instance.binding_type, instance.binding_value)
    vars(instance)["_is_as_dumped"] = instance.key == key
    instance.key = key


def _after_binding(instance: TokenBinding, raw: bool, using: str, **kwargs: Any) -> None:
    if not raw:
        return
    rows = get_access_token_model()._base_manager.using(using)
    # For the tokens that are loaded later.
    loaded = (using, instance.pk)
    if vars(instance)["_is_as_dumped"]:
        _as_dumped.add(loaded)
    else:
        _as_dumped.discard(loaded)
    for token in rows.filter(binding=instance.pk, slot__isnull=False).order_by("-created"):
        if not vars(instance)["_is_as_dumped"]:
            slot = _free_slot(instance.key, token, using)
        elif token.slot.startswith(_PENDING):
            slot = base64.urlsafe_b64decode(token.slot.removeprefix(_PENDING) + "=").hex()
        else:
            continue
        rows.filter(pk=token.pk).update(slot=slot)


def _before_access_token(instance: Any, raw: bool, using: str, **kwargs: Any) -> None:
    if not raw or not instance.slot or instance.slot.startswith(_PENDING):
        return
    if (using, instance.binding_id) in _as_dumped:
        return  # then so is the slot, even for a token that was narrowed since
    bindings = TokenBinding._base_manager.using(using).filter(pk=instance.binding_id)
    key = bindings.values_list("key", flat=True).first()
    if key is not None:
        instance.slot = _free_slot(key, instance, using)
    else:
        # Not unchanged: another user may have this primary key by now, and the slot.
        instance.slot = _PENDING + base64.urlsafe_b64encode(bytes.fromhex(instance.slot)).decode().rstrip("=")


def _free_slot(key: str, token: Any, using: str) -> str | None:
    """Return the slot of a token, or None where another token of the binding has it.

    That happens if somebody has changed what one of the two is for.
    """
    slot = slot_key(key, token.scope.split(), token.resource)
    others = type(token)._base_manager.using(using).filter(slot=slot).exclude(pk=token.pk)
    return None if others.exists() else slot


def _before_exchange(instance: TokenExchange, raw: bool, **kwargs: Any) -> None:
    if raw:
        instance.key = exchange_key(str(instance.client_id), instance.subject, instance.act)
