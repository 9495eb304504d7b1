"""Ending everything of a user, an application or some bindings, however much, in steps that can be far apart.

Each step is a short transaction, and the progress is a value that a form can carry. So nobody waits long for
a lock, and if it is stopped, what has ended stays ended.

What was created up to a certain moment ends. The codes end before that moment, so that no earlier code is
redeemed after it. What is refreshed meanwhile belongs to an earlier login, and ends, too. Later logins stay,
except on a device that was there before and has not had its turn yet.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from oauth2_provider.models import AbstractDeviceGrant, get_device_grant_model, get_grant_model

from oauth_binding.authorization_server.revocation.cascade import NOTHING
from oauth_binding.authorization_server.revocation.end import end_of_several
from oauth_binding.authorization_server.revocation.login_sessions import end_sessions
from oauth_binding.core import audit
from oauth_binding.core.audit import Event, Facts
from oauth_binding.core.databases import write_alias, written
from oauth_binding.core.settings import binding_settings
from oauth_binding.core.signals import binding_revoked, send_after_commit, user_signed_out
from oauth_binding.models import LoginSession, TerminationReason, TokenBinding, TokenExchange
from oauth_binding.storage.ending import not_ended
from oauth_binding.storage.tokens import (
    access_tokens,
    not_registration_token,
    refresh_tokens,
    tokens_database,
)

#: How many rows a step covers: others wait for it.
STEP: Final = 50

#: The number at which counting stops.
MAX_COUNTED: Final = 100_000


@dataclass(frozen=True)
class Part:
    """Rows of one table that end together with something."""

    #: What they are counted as; empty if they are not counted.
    name: str
    rows: Any
    #: Ends those with the given primary keys, and returns how many were ended of what is counted.
    end: Callable[[list[Any]], int]
    #: The condition of those that end, given the moment.
    chosen: Callable[[datetime], Any] = lambda moment: Q(created__lte=moment)


@dataclass(frozen=True)
class Progress:
    """How far ending has come, as values that JSON can hold."""

    #: The current part, and the last primary key that was handled in it, as text; None for none yet.
    part: int = 0
    after: str | None = None
    #: The moment (ISO 8601); empty before it begins.
    moment: str = ""
    #: How many have ended, by the name of the part.
    ended: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class EndingAll:
    """All that ends: first the parts with codes, then those with what was issued."""

    codes: list[Part]
    issued: list[Part]
    #: Called when all has ended, with how many, by the name of the part.
    done: Callable[[dict[str, int]], None] = lambda ended: None

    @cached_property
    def _parts(self) -> list[Part]:
        return [*self.codes, *self.issued]

    def count(self) -> dict[str, int]:
        """Return how many there are, by the name of the part; ``MAX_COUNTED`` + 1 stands for any more."""
        counts: dict[str, int] = {}
        for part in self.issued:
            if part.name:
                number = part.rows.order_by().values("pk")[: MAX_COUNTED + 1].count()
                counts[part.name] = min(counts.get(part.name, 0) + number, MAX_COUNTED + 1)
        return counts

    def is_done(self, progress: Progress) -> bool:
        return progress.part == len(self._parts)

    def go_on(self, progress: Progress, seconds: float) -> Progress:
        """End more of it, for about a given time but at least one step, and return how far that has come.

        :raises OperationalError: as ``repeat()`` in storage/attempts.py says.
        """
        deadline = time.monotonic() + seconds
        while not self.is_done(progress):
            progress = self._step(progress)
            if time.monotonic() > deadline:
                break
        return progress

    def _step(self, progress: Progress) -> Progress:
        if not progress.moment:
            progress = replace(progress, moment=timezone.now().isoformat())
        part = self._parts[progress.part]
        rows = part.rows.filter(part.chosen(datetime.fromisoformat(progress.moment)))
        if progress.after is not None:
            rows = rows.filter(pk__gt=progress.after)
        pks = list(rows.order_by("pk").values_list("pk", flat=True)[:STEP])
        ended = dict(progress.ended)
        if pks:
            number = part.end(pks)
            if part.name:
                ended[part.name] = ended.get(part.name, 0) + number
            return replace(progress, after=str(pks[-1]), ended=ended)
        progress = replace(progress, part=progress.part + 1, after=None)
        if progress.part == len(self.codes):
            # Only for what was issued: what codes were redeemed for meanwhile was issued before this moment.
            progress = replace(progress, moment=timezone.now().isoformat())
        if self.is_done(progress):
            self.done(ended)
        return progress


def all_of_bindings(rows: Any) -> EndingAll:
    """Return what ends with some bindings: all tokens of each, with what was exchanged from them.

    :param rows: a queryset of the bindings, from where they are written.
    """
    return EndingAll(codes=[], issued=[_bindings(rows, is_told=True)])


def all_of_application(application: Any) -> EndingAll:
    """Return all that an application has of anybody: tokens, bound or not, and codes not redeemed yet."""
    held = Q(application=application)
    devices = written(get_device_grant_model()).filter(client_id=application.client_id)

    def tell(holders: set[Any]) -> None:
        for user in holders:
            facts = Facts(client_id=application.client_id, user=user)
            audit.tell(Event.TOKEN_REVOKED, tokens_database(), facts)

    return EndingAll(
        codes=_codes(written(get_grant_model()).filter(held), devices, Q(pk=application.pk)),
        issued=[
            *_bindings_of(held, is_told=True),
            *_unbound_tokens(held, tell),
            *([_exchanged(application)] if binding_settings.token_exchange_cascade else []),
        ],
    )


def all_of_user(user: Any) -> EndingAll:
    """Return all that a user has: what ``sign_out_everywhere()`` ends."""
    held = Q(user=user)
    sessions = written(LoginSession).filter(held, terminated_at__isnull=True)
    devices = written(get_device_grant_model()).filter(held)

    def end(pks: list[Any]) -> int:
        end_sessions(user.pk, pks, TerminationReason.OPERATOR)
        return len(pks)

    def tell(ended: dict[str, int]) -> None:
        if ended.get("bindings") or ended.get("tokens"):
            model = get_user_model()
            send_after_commit(
                user_signed_out, model, write_alias(model), user=user, cause="sign_out_everywhere"
            )

    return EndingAll(
        codes=_codes(written(get_grant_model()).filter(held), devices, Q()),
        issued=[
            Part("sessions", sessions, end),
            *_bindings_of(held, is_told=False),
            *_unbound_tokens(held),
        ],
        done=tell,
    )


def _bindings_of(held: Q, *, is_told: bool) -> list[Part]:
    """Return the parts of bindings, without those that can have nothing left to end."""
    rows = written(TokenBinding).filter(held)
    # What was exchanged from a binding's tokens may outlive them.
    exchanges = written(TokenExchange).filter(subject_binding=OuterRef("pk"))
    # A refresh token that is too old by today's policy may be live by tomorrow's.
    unrevoked = refresh_tokens().filter(held, revoked__isnull=True, binding__isnull=False)
    unended = access_tokens().filter(held, not_ended(), binding__isnull=False)
    left = unrevoked.order_by().values("binding").union(unended.order_by().values("binding"))
    return [
        _bindings(rows.filter(Q(may_be_live=True) | Exists(exchanges)), is_told=is_told),
        _bindings(rows.filter(~Exists(exchanges), may_be_live=False, pk__in=left), is_told=is_told),
    ]


def _bindings(rows: Any, *, is_told: bool) -> Part:
    """Return the part of some bindings.

    :param is_told: whether ``binding_revoked`` is sent for each that had something to end.
    """

    def end(pks: list[Any]) -> int:
        rows = written(TokenBinding).select_related("application")
        bindings = rows.filter(pk__in=pks).order_by("pk").in_bulk()
        held = Q(binding__in=pks)
        holders = {binding.user_id for binding in bindings.values()}
        _count, ended = end_of_several(
            holders, held, held, exchanges=Q(subject_binding__in=pks), of_bindings=pks
        )
        for pk, binding in bindings.items():
            if is_told and pk in ended:
                send_after_commit(binding_revoked, TokenBinding, write_alias(TokenBinding), binding=binding)
        return len(pks)

    return Part("bindings", rows, end)


def _codes(grants: Any, devices: Any, applications: Q) -> list[Part]:
    def of(rows: Any, **chosen: Any) -> Part:
        def end(pks: list[Any]) -> int:
            holders = set(rows.filter(pk__in=pks).values_list("user", flat=True))
            end_of_several(holders, NOTHING, NOTHING, codes_for=applications)
            return len(pks)

        return Part("", rows, end, **chosen)

    # It is not kept when a device code was approved.
    approved = devices.filter(status=AbstractDeviceGrant.AUTHORIZED)
    return [of(grants), of(approved, chosen=lambda moment: Q())]


def _unbound_tokens(held: Q, tell: Callable[[set[Any]], None] = lambda holders: None) -> list[Part]:
    """Return the parts of the tokens that are bound to nothing.

    :param tell: called with the primary keys of the users whose tokens a step has ended, and None for the
        client itself.
    """
    held &= Q(binding__isnull=True)
    unrevoked = refresh_tokens().filter(held, revoked__isnull=True)

    def end_and_tell(holders: set[Any], access: Q, refresh: Q) -> int:
        count, _bindings = end_of_several(holders, access, refresh)
        if count:
            tell(holders)
        return count

    def end_families(pks: list[Any]) -> int:
        rows = list(refresh_tokens().filter(pk__in=pks).values_list("user", "token_family"))
        # Including whatever they are refreshed to until their users are locked.
        families = {family for _user, family in rows if family is not None}
        refresh = held & (Q(pk__in=pks) | Q(token_family__in=families))
        access = refresh_tokens().filter(refresh, access_token__isnull=False).values("access_token")
        return end_and_tell({user for user, _family in rows}, Q(pk__in=access), refresh)

    def end_access(pks: list[Any]) -> int:
        holders = set(access_tokens().filter(pk__in=pks).values_list("user", flat=True))
        return end_and_tell(holders, Q(pk__in=pks), Q(access_token__in=pks))

    def refreshed(moment: datetime) -> Any:
        older = refresh_tokens().filter(token_family=OuterRef("token_family"), created__lte=moment)
        return Q(Exists(older), created__gt=moment)

    access_rows = access_tokens().filter(held & not_registration_token(), not_ended())
    return [
        Part("tokens", unrevoked, end_families),
        Part("", unrevoked, end_families, refreshed),
        Part("tokens", access_rows, end_access),
    ]


def _exchanged(application: Any) -> Part:
    """Return the part of what was exchanged from an application's tokens, which may have expired since."""

    def end(pks: list[Any]) -> int:
        models = (access_tokens(), refresh_tokens())
        holders = {
            user
            for tokens in models
            for user in tokens.filter(exchange__in=pks).values_list("user", flat=True)
        }
        return end_of_several(holders, NOTHING, NOTHING, exchanges=Q(pk__in=pks))[0]

    def chosen(moment: datetime) -> Any:
        # When it was first exchanged.
        older = {"exchange": OuterRef("pk"), "created__lte": moment}
        return Exists(access_tokens().filter(**older)) | Exists(refresh_tokens().filter(**older))

    return Part("", written(TokenExchange).filter(subject_client=application), end, chosen)
