"""The devices that a user is signed in on: what they are, signing them out, and their names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from django.core.exceptions import ValidationError
from django.db.models import Exists, Max, Min, OuterRef, Q
from django.utils.translation import gettext_lazy as _
from oauth2_provider.models import get_application_model

from oauth_binding.authorization_server.revocation.cascade import NOTHING
from oauth_binding.authorization_server.revocation.revoke import (
    revoke_binding,
    revoke_unbound_tokens,
    sign_out_user,
)
from oauth_binding.core.databases import written
from oauth_binding.models import TokenBinding
from oauth_binding.storage.liveness import live_access_tokens, live_refresh_tokens
from oauth_binding.storage.tokens import access_tokens, not_registration_token, refresh_tokens

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser

#: The longest name of a device, in characters.
MAX_NAME_LENGTH: Final = 100

_BINDING_ID: Final = re.compile(r"binding-([0-9]{1,19})")


@dataclass(frozen=True, slots=True)
class Device:
    """A device, or all that an application holds of a user without saying on which device."""

    application: Any
    #: What the tokens are bound to; None where they are bound to nothing.
    binding: TokenBinding | None
    #: When its first token was issued; without a binding, the first of those that are still in the database.
    first_seen: datetime
    #: When a token was last requested, at most a minute behind.
    last_used: datetime

    @property
    def id(self) -> str:
        """What tells the devices of a user apart: letters, digits and dashes, nothing secret."""
        return _device_id(self.application.pk, None if self.binding is None else self.binding.pk)

    @property
    def can_be_named(self) -> bool:
        """Whether this is one device, or one client instance, that a name can stand for."""
        return self.binding is not None and not self.binding.is_shared

    @property
    def name(self) -> str:
        """What to call it: the name that the user gave, or else what the client calls itself."""
        if self.binding is None:
            return str(_("Not bound to a device"))
        return self.binding.name or self.binding.binding_value or str(_("Not bound to a device (shared)"))


def devices_of(user: AbstractBaseUser) -> list[Device]:
    """Return where a user is signed in: what holds a live access or refresh token of the user.

    There is a :class:`Device` per binding, and one per application with tokens that are bound to nothing.
    They are sorted by application, and then the last used first. It takes at most four queries.

    Access tokens without an application, which nothing but the admin makes, are left out.

    :raises ImproperlyConfigured: ``REFRESH_TOKEN_EXPIRE_SECONDS`` is malformed.
    """
    devices = [*_bound(_live_bindings(user)), *_unbound(user, live_only=True)]
    devices.sort(key=lambda device: device.last_used, reverse=True)
    devices.sort(key=lambda device: (str(device.application).casefold(), str(device.application.pk)))
    return devices


def find_device(user: AbstractBaseUser, device_id: str, *, live_only: bool = False) -> Device | None:
    """Return the device of a user that has an id, or None.

    :param device_id: a :attr:`Device.id`, or anything else.
    :param live_only: whether the user has to be signed in there, as on those of :func:`devices_of`.
    """
    binding = _BINDING_ID.fullmatch(device_id)
    if binding is not None:
        bindings = _live_bindings(user) if live_only else _bindings(user)
        return next(_bound(bindings.filter(pk=int(binding[1]))), None)
    return next((device for device in _unbound(user, live_only=live_only) if device.id == device_id), None)


def device_id_of(access_token: Any) -> str | None:
    """Return the :attr:`Device.id` of the device that an access token is on.

    None for a token without an application, which is on none.
    """
    if access_token.application_id is None:
        return None
    return _device_id(access_token.application_id, access_token.binding_id)


def sign_out(user: AbstractBaseUser, device: Device) -> None:
    """Revoke all access and refresh tokens of a device.

    :param user: whom the device belongs to.
    :param device: one of the user's devices, signed in or not.
    """
    if device.binding is None:
        revoke_unbound_tokens(user, device.application)
    else:
        revoke_binding(device.binding)


def sign_out_everywhere(user: AbstractBaseUser, keep: str | None = None) -> int:
    """Sign a user out on all devices, or on all but one, and return on how many.

    All access and refresh tokens of the user end for good, whatever their applications are, and so do all
    authorization codes and approved device codes that are not redeemed yet. Requests that are being answered
    are waited for. Call it wherever the password is changed other than by ``set_password()`` and ``save()``.

    :param keep: the :attr:`Device.id` of the one that stays as it is; None for none.
    """
    kept = None if keep is None else find_device(user, keep)
    others = [other for other in devices_of(user) if kept is None or other.id != kept.id]
    sign_out_user(user, "sign_out_everywhere", keep=NOTHING if kept is None else _tokens_of(kept))
    return len(others)


def _tokens_of(device: Device) -> Q:
    """Return the condition of the access and refresh tokens that are on a device."""
    if device.binding is None:
        return Q(application=device.application, binding__isnull=True)
    return Q(binding=device.binding)


def validate_name(name: str) -> None:
    """Check the name of a device for control characters.

    :raises ValidationError: there are some.
    """
    if any(unicodedata.category(character) == "Cc" for character in name):
        raise ValidationError(_("A name has no control characters."), code="control_characters")


def rename(binding: TokenBinding, name: str) -> None:
    """Give a device a name.

    :param binding: what the device is; it gets the name, too.
    :param name: up to :data:`MAX_NAME_LENGTH` characters without control characters; empty for no name.
    """
    written(TokenBinding).filter(pk=binding.pk).update(name=name)
    binding.name = name


def _device_id(application: Any, binding: Any) -> str:
    return f"application-{application}" if binding is None else f"binding-{binding}"


def _bindings(user: AbstractBaseUser) -> Any:
    return written(TokenBinding).filter(user=user).select_related("application")


def _live_bindings(user: AbstractBaseUser) -> Any:
    access = access_tokens().filter(live_access_tokens(), binding=OuterRef("pk"))
    refresh = refresh_tokens().filter(live_refresh_tokens(), binding=OuterRef("pk"))
    return _bindings(user).filter(Exists(access) | Exists(refresh))


def _bound(bindings: Iterable[TokenBinding]) -> Iterator[Device]:
    for binding in bindings:
        yield Device(binding.application, binding, binding.created, binding.last_used)


def _unbound(user: AbstractBaseUser, *, live_only: bool) -> Iterator[Device]:
    created: dict[Any, list[datetime]] = {}
    used: dict[Any, list[datetime]] = {}
    for rows, kind, live in (
        (access_tokens(), not_registration_token(), live_access_tokens()),
        (refresh_tokens(), Q(), live_refresh_tokens()),
    ):
        tokens = rows.filter(kind, user=user, binding__isnull=True, application__isnull=False)
        by_application = (
            tokens.order_by()
            .values_list("application")
            .annotate(
                first_created=Min("created"),
                # A token that was revoked was updated then, and not used.
                last_updated=Max("updated", filter=live),
            )
        )
        for application, first, last in by_application:
            created.setdefault(application, []).append(first)
            if last is not None:
                used.setdefault(application, []).append(last)
    found = used if live_only else created
    for pk, application in written(get_application_model()).in_bulk(list(found)).items():
        yield Device(application, None, min(created[pk]), max(used.get(pk, created[pk])))
