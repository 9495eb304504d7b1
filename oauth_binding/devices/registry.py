"""The devices that a user is signed in on: what they are, signing them out, and their names."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple, overload

from django.db.models import BooleanField, Case, Count, Max, Min, Q, Value, When
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
from oauth_binding.devices.live_bindings import LiveBindings
from oauth_binding.devices.login_sessions import login_sessions_of
from oauth_binding.devices.search import has_reference, named_or_called, names_application, words_of
from oauth_binding.models import SSO_SESSION, LoginSession, TokenBinding
from oauth_binding.models.binding import LABEL_LENGTH
from oauth_binding.storage.chunks import in_chunks
from oauth_binding.storage.devices import has_live_tokens
from oauth_binding.storage.liveness import live_access_tokens, live_refresh_tokens
from oauth_binding.storage.tokens import access_tokens, not_registration_token, refresh_tokens

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser

_BINDING_ID: Final = re.compile(r"binding-([0-9]{1,19})")

#: Numbers and UUIDs, for instance.
_PLAIN_KEY: Final = re.compile(r"[0-9a-f-]{1,36}")


@dataclass(frozen=True, slots=True)
class Device:
    """A device, or all that an application holds for a user without saying on which device."""

    application: Any
    #: What the tokens are bound to; None if they are bound to nothing.
    binding: TokenBinding | None
    #: When its first token was issued; without a binding, the first of those still in the database.
    first_seen: datetime
    #: When a token was last requested, at most a minute behind, or an API called (LAST_USED_INTERVAL).
    last_used: datetime
    #: Whether all of its live tokens are useless without a key of the device (RFC 9449).
    sender_constrained: bool
    #: Whether it was signed in from the login session that ``devices_of`` was asked with.
    is_here: bool = False

    @property
    def id(self) -> str:
        """What tells the devices of a user apart: nothing secret, and fit to be part of an address."""
        return _device_id(self.application.pk, None if self.binding is None else self.binding.pk)

    @property
    def can_be_named(self) -> bool:
        """Whether this is one device, or one client instance, that a name can stand for."""
        return self.binding is not None and not self.binding.is_shared

    @property
    def is_browser(self) -> bool:
        """Whether its tokens stand for a browser: they are bound to a login session, or to nothing."""
        return self.binding is None or self.binding.binding_type == SSO_SESSION

    @property
    def reference(self) -> str:
        """The beginning of the binding's reference; empty if it does not stand for a single device."""
        return "" if self.binding is None else self.binding.reference[:LABEL_LENGTH]

    @property
    def name(self) -> str:
        """What to call it: the name that the user gave it, or what it looks like, or else plain words."""
        binding = self.binding
        if binding is None:
            return str(_("%(application)s on unknown devices") % {"application": self.application})
        if binding.name:
            return binding.name
        if binding.is_shared:
            return str(_("%(application)s on other devices") % {"application": self.application})
        if binding.description:
            return binding.description
        if binding.binding_type == SSO_SESSION:
            return str(_("%(application)s in a browser") % {"application": self.application})
        return str(_("Unnamed device"))

    @property
    def description(self) -> str:
        """What it looks like ("Firefox on Windows"); empty where nothing is known, or it may be several."""
        return self.binding.description if self.binding is not None and not self.binding.is_shared else ""

    @property
    def address(self) -> str:
        """The address at which it was last seen, as far as that is kept."""
        return "" if self.binding is None else self.binding.facts.address

    @property
    def place(self) -> str:
        """The place at which it was last seen, as far as that is kept."""
        return "" if self.binding is None else self.binding.last_place


def devices_of(
    user: AbstractBaseUser, *, search: str = "", session: LoginSession | None = None
) -> Sequence[Device]:
    """Return where a user is signed in: what holds a live access or refresh token of the user.

    There is a ``Device`` per binding, and one per application with tokens that are bound to nothing. Those
    that are here come first, and then the most recently used.

    They are read when they are needed, and no further: a slice of the first ones takes a few queries, and
    costs no more if there are many others.

    Access tokens without an application, which only the admin makes, are left out.

    :param user: whose devices they are.
    :param search: words, each of which has to be found in the device's name, or in that of its application;
        empty for all devices.
    :param session: the login session of the present browser; what was signed in from it is here. None for
        none.
    :raises ImproperlyConfigured: ``REFRESH_TOKEN_EXPIRE_SECONDS`` is malformed, when they are read.
    """
    return _Devices(user, words_of(search), session)


def find_device(
    user: AbstractBaseUser, device_id: str, *, live_only: bool = False, session: LoginSession | None = None
) -> Device | None:
    """Return the user's device with a given id, or None.

    :param user: whose device it is.
    :param device_id: a ``Device.id``, or anything else.
    :param live_only: whether the user has to be signed in on it, as on those of ``devices_of``.
    :param session: as for ``devices_of``.
    """
    binding = _BINDING_ID.fullmatch(device_id)
    if binding is not None:
        bindings = _live_bindings(user) if live_only else _bindings(user)
        return next(_bound(_looked_at(bindings.filter(pk=int(binding[1])), user, session)), None)
    found = _unbound_tokens(user, session, live_only=live_only)
    named = {pk: tokens for pk, tokens in found.items() if _device_id(pk, None) == device_id}
    return next(_unbound(named), None)


def device_id_of(access_token: Any) -> str | None:
    """Return the ``Device.id`` of the device that an access token is on.

    None for a token without an application, which is on no device.

    :param access_token: the row, or the access token of a request.
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


def sign_out_everywhere(
    user: AbstractBaseUser, keep: str | None = None, *, keep_session: LoginSession | None = None
) -> int:
    """Sign a user out on all devices and in all browsers, or all but one, and return how many those were.

    All access and refresh tokens of the user end for good, whatever their applications are, and so do all
    authorization codes and approved device codes that are not redeemed yet, and all login sessions. Requests
    that are being answered are waited for. Call it wherever the password is changed other than by
    ``set_password()`` and ``save()``.

    It takes several short transactions, the first of which ends the codes: other requests of the user are
    answered in between, and what they get has also ended by the time it returns. If it is interrupted, what
    has ended stays ended, and calling it again ends the rest. Called in a transaction (``ATOMIC_REQUESTS``),
    it is part of that, and the user's other requests wait until it is committed.

    :param user: who is signed out.
    :param keep: the ``Device.id`` of the one that stays as it is; None for none.
    :param keep_session: a login session that goes on, along with that of the device, with the tokens that
        came from it; None for none.
    :returns: the number of devices and browsers, which the page lists separately.
    """
    kept = _Kept.of(user, keep, keep_session)
    number = kept.count_others()
    sign_out_user(user, "sign_out_everywhere", keep=kept.tokens, keep_sessions=kept.sessions)
    return number


def count_others(
    user: AbstractBaseUser, keep: str | None = None, *, keep_session: LoginSession | None = None
) -> int:
    """Return what ``sign_out_everywhere`` would, without doing it."""
    return _Kept.of(user, keep, keep_session).count_others()


@dataclass(frozen=True, slots=True)
class _Kept:
    """What stays when a user is signed out everywhere else."""

    user: AbstractBaseUser
    device: Device | None
    session: LoginSession | None
    #: The condition of access and refresh tokens.
    tokens: Q
    #: The primary keys of login sessions.
    sessions: set[int]

    @classmethod
    def of(cls, user: AbstractBaseUser, device_id: str | None, session: LoginSession | None) -> _Kept:
        device = None if device_id is None else find_device(user, device_id)
        tokens = NOTHING if device is None else _tokens_of(device)
        sessions: set[int] = set()
        if device is not None:
            # Not those with which it was signed in before.
            for live in (
                access_tokens().filter(live_access_tokens()),
                refresh_tokens().filter(live_refresh_tokens()),
            ):
                held = live.filter(tokens, user=user, binding_session__isnull=False)
                sessions |= set(held.order_by().values_list("binding_session", flat=True))
        if session is not None:
            tokens |= Q(binding_session=session.pk)
            sessions.add(session.pk)
        return cls(user, device, session, tokens, sessions)

    def count_others(self) -> int:
        """Return the number of devices and browsers that do not stay."""
        devices = _Devices(self.user, [], self.session)
        number = devices.count_elsewhere()
        if self.device is not None:
            live = find_device(self.user, self.device.id, live_only=True, session=self.session)
            number -= live is not None and not live.is_here
        return number + login_sessions_of(self.user).exclude(pk__in=self.sessions).count()


def _tokens_of(device: Device) -> Q:
    """Return the condition of the access and refresh tokens that are on a device."""
    if device.binding is None:
        return Q(application=device.application, binding__isnull=True)
    return Q(binding=device.binding)


def rename(binding: TokenBinding, name: str) -> None:
    """Give a device a name.

    :param binding: what the device is; it gets the name, too.
    :param name: up to ``MAX_NAME_LENGTH`` characters without control characters (see ``validate_name``);
        empty for no name.
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
    # Only theirs: for a user with many devices, PostgreSQL would first read all live tokens.
    return has_live_tokens(user=user, **conditions)


def _in_session(user: AbstractBaseUser, session: LoginSession | None) -> Q:
    """Return the condition of bindings with a live token that came from a login session."""
    if session is None:
        return NOTHING
    # Only of this session: for a user with many devices, the database reads these few tokens once.
    held = {"user": user, "binding_session": session.pk, "binding__isnull": False}
    access = access_tokens().filter(live_access_tokens(), **held)
    refresh = refresh_tokens().filter(live_refresh_tokens(), **held)
    return Q(pk__in=access.values("binding")) | Q(pk__in=refresh.values("binding"))


def _looked_at(bindings: Any, user: AbstractBaseUser, session: LoginSession | None) -> Any:
    """Return bindings with what a ``Device`` says about them."""
    return bindings.annotate(
        has_constrained=_has_live_tokens(user, binding_confirmation__isnull=False),
        has_bearer=_has_live_tokens(user, binding_confirmation__isnull=True),
        is_here=_is_here(user, session),
    )


def _is_here(user: AbstractBaseUser, session: LoginSession | None) -> Any:
    here = When(_in_session(user, session), then=Value(True))
    return Case(here, default=Value(False), output_field=BooleanField())


def _bound(looked_at: Any) -> Iterator[Device]:
    for binding in looked_at:
        yield Device(
            binding.application,
            binding,
            binding.created,
            binding.last_used,
            sender_constrained=binding.has_constrained and not binding.has_bearer,
            is_here=binding.is_here,
        )


class _Unbound(NamedTuple):
    """What is known about an application's unbound tokens."""

    first_seen: datetime
    last_used: datetime
    sender_constrained: bool
    is_here: bool


def _unbound_tokens(
    user: AbstractBaseUser, session: LoginSession | None, *, live_only: bool
) -> dict[Any, _Unbound]:
    """Return what is known about a user's unbound tokens, by the primary keys of their applications."""
    created: dict[Any, list[datetime]] = {}
    used: dict[Any, list[datetime]] = {}
    bearer: set[Any] = set()
    elsewhere: set[Any] = set()
    is_elsewhere = Q() if session is None else ~Q(binding_session=session.pk)
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
                # When a token was revoked, it was updated but not used.
                last_updated=Max("updated", filter=live),
                bearer_tokens=Count("pk", filter=live & Q(binding_confirmation__isnull=True)),
                tokens_elsewhere=Count("pk", filter=live & is_elsewhere),
            )
        )
        for application, first, last, bearer_tokens, tokens_elsewhere in by_application:
            created.setdefault(application, []).append(first)
            if last is not None:
                used.setdefault(application, []).append(last)
            if bearer_tokens:
                bearer.add(application)
            if tokens_elsewhere:
                elsewhere.add(application)
    found = used if live_only else created
    return {
        pk: _Unbound(
            min(created[pk]),
            max(used.get(pk, created[pk])),
            sender_constrained=pk in used and pk not in bearer,
            # They may stand for several devices, this one among them.
            is_here=pk in used and pk not in elsewhere,
        )
        for pk in found
    }


def _unbound(found: dict[Any, _Unbound]) -> Iterator[Device]:
    for pk, application in written(get_application_model()).in_bulk(list(found)).items():
        yield Device(application, None, *found[pk])


def _order(device: Device) -> tuple[bool, datetime]:
    """Return what devices are sorted by, in descending order."""
    return device.is_here, device.last_used


class _Devices(Sequence[Device]):
    """What ``devices_of`` returns."""

    def __init__(self, user: AbstractBaseUser, words: list[str], session: LoginSession | None) -> None:
        self._user = user
        self._words = words
        self._session = session

    def __len__(self) -> int:
        return self._number_bound + len(self._unbound)

    def __iter__(self) -> Iterator[Device]:
        return iter(self[:])

    @overload
    def __getitem__(self, index: int) -> Device: ...

    @overload
    def __getitem__(self, index: slice) -> list[Device]: ...

    def __getitem__(self, index: int | slice) -> Device | list[Device]:
        if isinstance(index, int):
            return self[: len(self)][index] if index < 0 else self[index : index + 1][0]
        start, stop, step = index.start or 0, index.stop, index.step or 1
        if stop is None or start < 0 or stop < 0 or step != 1:  # otherwise their number does not matter
            start, stop, step = index.indices(len(self))
        if step != 1:
            return self[:][index]
        return self._fetch(start, stop) if start < stop else []

    def count_elsewhere(self) -> int:
        """Return how many of them are not here."""
        here = self._bindings.filter(_in_session(self._user, self._session), may_be_live=True).count()
        return self._number_bound - int(here) + sum(not device.is_here for device in self._unbound)

    def count_up_to(self, number: int) -> int:
        """Return how many there are, but no more than a number.

        :param number: where it stops counting.
        """
        return min(number, len(self._live.up_to(number)) + len(self._unbound))

    @property
    def _bindings(self) -> Any:
        bindings = _bindings(self._user)
        for word in self._words:
            bindings = bindings.filter(
                named_or_called(word, "name") | has_reference(word) | names_application(word, "application")
            )
        return bindings

    @cached_property
    def _live(self) -> LiveBindings:
        return LiveBindings(self._bindings, _in_session(self._user, self._session))

    @cached_property
    def _number_bound(self) -> int:
        if self._words:
            return len(self._live.up_to(sys.maxsize))
        # By their tokens: asking for each binding whether it has some takes longer.
        held = {"user": self._user, "binding__user": self._user, "binding__may_be_live": True}
        live = [
            tokens.order_by().values("binding")
            for tokens in (
                access_tokens().filter(live_access_tokens(), **held),
                refresh_tokens().filter(live_refresh_tokens(), **held),
            )
        ]
        number: int = live[0].union(live[1]).count()
        return number

    @cached_property
    def _unbound(self) -> list[Device]:
        """What is bound to nothing: one for each application, so all of them are read."""
        found = _unbound(_unbound_tokens(self._user, self._session, live_only=True))
        return [
            device
            for device in found
            for text in [f"{device.name} {device.application}".casefold()]
            if all(word.casefold() in text for word in self._words)
        ]

    def _fetch(self, start: int, stop: int) -> list[Device]:
        """Return the devices of a slice that is not empty."""
        unbound = sorted(self._unbound, key=_order, reverse=True)
        # At least this many bindings come before the slice.
        first = max(0, start - len(unbound))
        bound = self._fetch_bound(first, stop)
        passed = first
        if first and bound:
            later = [device for device in unbound if _order(device) <= _order(bound[0])]
            passed += len(unbound) - len(later)
            unbound = later
        devices = sorted([*bound, *unbound], key=_order, reverse=True)
        return devices[start - passed : stop - passed]

    def _fetch_bound(self, start: int, stop: int) -> list[Device]:
        """Return the devices in a slice of those that are bound."""
        pks = self._live.up_to(stop)[start:]
        bindings = {
            device.binding.pk: device
            for chunk in in_chunks(pks)
            for device in _bound(
                _looked_at(_bindings(self._user).filter(pk__in=chunk), self._user, self._session)
            )
            if device.binding is not None
        }
        return [bindings[pk] for pk in pks if pk in bindings]
