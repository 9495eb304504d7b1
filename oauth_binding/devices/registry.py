"""The devices that a user is signed in on: what they are, signing them out, and their names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple, overload

from django.core.exceptions import ValidationError
from django.db.models import Case, Count, Exists, Max, Min, OuterRef, Q, When
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _
from oauth2_provider.models import get_application_model

from oauth_binding.authorization_server.revocation.cascade import NOTHING
from oauth_binding.authorization_server.revocation.revoke import (
    revoke_binding,
    revoke_unbound_tokens,
    sign_out_user,
)
from oauth_binding.binding.semantics import binding_reference
from oauth_binding.core.databases import written
from oauth_binding.models import TokenBinding
from oauth_binding.storage.liveness import live_access_tokens, live_refresh_tokens
from oauth_binding.storage.tokens import access_tokens, not_registration_token, refresh_tokens

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser

#: The longest name of a device, in characters.
MAX_NAME_LENGTH: Final = 100

_BINDING_ID: Final = re.compile(r"binding-([0-9]{1,19})")

#: Numbers and UUIDs, for instance.
_PLAIN_KEY: Final = re.compile(r"[0-9a-f-]{1,36}")


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
    #: Whether its live tokens, all of them, are of no use without a key of the device (RFC 9449).
    sender_constrained: bool

    @property
    def id(self) -> str:
        """What tells the devices of a user apart: what an address can have, and nothing secret."""
        return _device_id(self.application.pk, None if self.binding is None else self.binding.pk)

    @property
    def can_be_named(self) -> bool:
        """Whether this is one device, or one client instance, that a name can stand for."""
        return self.binding is not None and not self.binding.is_shared

    @property
    def name(self) -> str:
        """What to call it: the name that the user gave, or else the beginning of the binding's reference."""
        if self.binding is None:
            return str(_("Not bound to a device"))
        return self.binding.label or str(_("Not bound to a device (shared)"))


def devices_of(user: AbstractBaseUser) -> Sequence[Device]:
    """Return where a user is signed in: what holds a live access or refresh token of the user.

    There is a :class:`Device` per binding, and one per application with tokens that are bound to nothing.
    They are sorted by application, and then the last used first.

    They are read when they are asked for: their number and their applications once, in at most four queries,
    and then the devices of a slice, or all of them, in one. So a slice of many costs no more than itself.

    Access tokens without an application, which nothing but the admin makes, are left out.

    :raises ImproperlyConfigured: ``REFRESH_TOKEN_EXPIRE_SECONDS`` is malformed, when they are read.
    """
    return _Devices(user)


def find_device(user: AbstractBaseUser, device_id: str, *, live_only: bool = False) -> Device | None:
    """Return the device of a user that has an id, or None.

    :param device_id: a :attr:`Device.id`, or anything else.
    :param live_only: whether the user has to be signed in there, as on those of :func:`devices_of`.
    """
    binding = _BINDING_ID.fullmatch(device_id)
    if binding is not None:
        bindings = _live_bindings(user) if live_only else _bindings(user)
        return next(_bound(bindings.filter(pk=int(binding[1])), user), None)
    found = _unbound_tokens(user, live_only=live_only)
    named = {pk: tokens for pk, tokens in found.items() if _device_id(pk, None) == device_id}
    return next(_unbound(named), None)


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

    It takes several short transactions, the first of which ends the codes: other requests of the user are
    answered in between, and what they get has ended, too, when it returns. Where it is interrupted, what has
    ended stays ended, and calling it again ends the rest. Called in a transaction (``ATOMIC_REQUESTS``), it
    is part of that, and the user's other requests wait until it is committed.

    :param keep: the :attr:`Device.id` of the one that stays as it is; None for none.
    """
    kept = None if keep is None else find_device(user, keep)
    number = len(devices_of(user))
    if kept is not None and find_device(user, kept.id, live_only=True) is not None:
        number -= 1
    sign_out_user(user, "sign_out_everywhere", keep=NOTHING if kept is None else _tokens_of(kept))
    return number


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
    if binding is not None:
        return f"binding-{binding}"
    key = str(application)
    # Not every text can stand in an address.
    return f"application-{key if _PLAIN_KEY.fullmatch(key) else binding_reference(key)}"


def _bindings(user: AbstractBaseUser) -> Any:
    return written(TokenBinding).filter(user=user).select_related("application")


def _live_bindings(user: AbstractBaseUser) -> Any:
    return _bindings(user).filter(_has_live_tokens(user))


def _has_live_tokens(user: AbstractBaseUser, **conditions: Any) -> Any:
    """Return the condition of a user's bindings that have a live token which meets some conditions."""
    # Theirs alone: of a user with many devices, PostgreSQL reads all that live at first.
    conditions |= {"user": user, "binding": OuterRef("pk")}
    access = access_tokens().filter(live_access_tokens(), **conditions)
    refresh = refresh_tokens().filter(live_refresh_tokens(), **conditions)
    return Exists(access) | Exists(refresh)


def _bound(bindings: Any, user: AbstractBaseUser) -> Iterator[Device]:
    bindings = bindings.annotate(
        has_constrained=_has_live_tokens(user, binding_confirmation__isnull=False),
        has_bearer=_has_live_tokens(user, binding_confirmation__isnull=True),
    )
    for binding in bindings:
        is_constrained = binding.has_constrained and not binding.has_bearer
        yield Device(binding.application, binding, binding.created, binding.last_used, is_constrained)


class _Unbound(NamedTuple):
    """What is known of an application's unbound tokens."""

    first_seen: datetime
    last_used: datetime
    sender_constrained: bool


def _unbound_tokens(user: AbstractBaseUser, *, live_only: bool) -> dict[Any, _Unbound]:
    """Return what is known of a user's unbound tokens, by the primary keys of their applications."""
    created: dict[Any, list[datetime]] = {}
    used: dict[Any, list[datetime]] = {}
    bearer: set[Any] = set()
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
                bearer_tokens=Count("pk", filter=live & Q(binding_confirmation__isnull=True)),
            )
        )
        for application, first, last, bearer_tokens in by_application:
            created.setdefault(application, []).append(first)
            if last is not None:
                used.setdefault(application, []).append(last)
            if bearer_tokens:
                bearer.add(application)
    found = used if live_only else created
    return {
        pk: _Unbound(
            min(created[pk]),
            max(used.get(pk, created[pk])),
            sender_constrained=pk in used and pk not in bearer,
        )
        for pk in found
    }


def _unbound(found: dict[Any, _Unbound]) -> Iterator[Device]:
    for pk, application in written(get_application_model()).in_bulk(list(found)).items():
        yield Device(application, None, *found[pk])


@dataclass(frozen=True, slots=True)
class _Group:
    """The devices of an application, of which only the number is known."""

    application: Any
    #: How many bindings there are.
    bound: int
    unbound: Device | None

    def __len__(self) -> int:
        return self.bound + (self.unbound is not None)


class _Devices(Sequence[Device]):
    """What :func:`devices_of` returns."""

    def __init__(self, user: AbstractBaseUser) -> None:
        self._user = user

    def __len__(self) -> int:
        return sum(map(len, self._groups))

    def __iter__(self) -> Iterator[Device]:
        return iter(self[:])

    @overload
    def __getitem__(self, index: int) -> Device: ...

    @overload
    def __getitem__(self, index: slice) -> list[Device]: ...

    def __getitem__(self, index: int | slice) -> Device | list[Device]:
        if isinstance(index, int):
            return self[: len(self)][index] if index < 0 else self[index : index + 1][0]
        start, stop, step = index.indices(len(self))
        return self._fetch(start, stop) if step == 1 else self[:][index]

    @cached_property
    def _groups(self) -> list[_Group]:
        """The applications that the user is signed in to, sorted."""
        unbound = _unbound_tokens(self._user, live_only=True)
        live = _live_bindings(self._user).order_by().values_list("application")
        bound = dict(live.annotate(number=Count("pk")))
        applications = written(get_application_model()).in_bulk([*{**unbound, **bound}])
        groups = [
            _Group(
                application,
                bound.get(pk, 0),
                Device(application, None, *unbound[pk]) if pk in unbound else None,
            )
            for pk, application in applications.items()
        ]
        return sorted(
            groups, key=lambda group: (str(group.application).casefold(), str(group.application.pk))
        )

    def _fetch(self, start: int, stop: int) -> list[Device]:
        """Return the devices of a slice, which are read in one query."""
        shown: list[_Group] = []
        position = before = 0
        for group in self._groups:
            if position < stop and position + len(group) > start:
                shown.append(group)
                before = before if len(shown) > 1 else max(start - position, 0)
            position += len(group)
        if not shown:
            return []
        # Where what is unbound comes in the first application that is shown, the binding before tells.
        dropped = int(before > 0 and shown[0].unbound is not None)
        first = before - dropped
        ranks = {group.application.pk: rank for rank, group in enumerate(shown)}
        bindings = _live_bindings(self._user).order_by("-last_used", "-pk")
        if stop - start < len(self):
            rank = Case(*(When(application=pk, then=rank) for pk, rank in ranks.items()), default=len(ranks))
            bindings = bindings.filter(application__in=ranks).order_by(rank, "-last_used", "-pk")
            bindings = bindings[first : first + dropped + stop - start]
        devices = [
            *(device for device in _bound(bindings, self._user) if device.application.pk in ranks),
            *(group.unbound for group in shown if group.unbound is not None),
        ]
        devices.sort(key=lambda device: device.last_used, reverse=True)
        devices.sort(key=lambda device: ranks[device.application.pk])
        return devices[dropped : dropped + stop - start]
