"""Revoking tokens, and signing devices and users out."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any, Final

from django.db import models
from django.db.models import Q
from oauth2_provider.models import get_application_model, get_id_token_model

from oauth_binding.authorization_server.revocation.cascade import NOTHING
from oauth_binding.authorization_server.revocation.end import end, end_in_batches
from oauth_binding.authorization_server.revocation.login_sessions import end_sessions_of
from oauth_binding.binding.semantics import NO_BINDING
from oauth_binding.core import audit
from oauth_binding.core.audit import Event, Facts, facts_of
from oauth_binding.core.databases import write_alias, written
from oauth_binding.core.reasons import Reason
from oauth_binding.core.signals import binding_revoked, send_after_commit, user_signed_out
from oauth_binding.models import BoundAccessToken, BoundRefreshToken, TerminationReason, TokenBinding
from oauth_binding.storage.chunks import in_chunks
from oauth_binding.storage.token_values import token_checksum
from oauth_binding.storage.tokens import (
    access_tokens,
    not_registration_token,
    refresh_tokens,
    tokens_database,
)

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser

#: The condition that every row meets.
EVERYTHING: Final = Q()

#: The condition of applications that bind.
BINDS: Final = ~Q(token_binding_type=NO_BINDING)


def revoke_binding(binding: TokenBinding) -> int:
    """Revoke all access and refresh tokens of a binding: sign a device out.

    This waits for a request that is being answered for the same binding, and revokes its tokens, too.

    :param binding: the row of the device; it stays.
    :returns: how many tokens were ended, with those that were exchanged from them.
    """
    held = Q(binding=binding)
    exchanges = Q(subject_binding=binding)
    count = end(binding.user_id, held, held, exchanges=exchanges, of_bindings=[binding.pk])
    if count:
        send_after_commit(binding_revoked, TokenBinding, write_alias(TokenBinding), binding=binding)
    return count


def revoke_bindings(pks: Iterable[Any]) -> None:
    """Revoke all access and refresh tokens of one user's bindings, as ``revoke_binding`` does for one.

    :param pks: their primary keys.
    """
    for chunk in in_chunks(pks):
        held = Q(binding__in=chunk)
        rows = written(TokenBinding).select_related("application")
        bindings = list(rows.filter(pk__in=chunk).order_by("pk"))
        (user,) = {binding.user_id for binding in bindings}
        end(user, held, held, exchanges=Q(subject_binding__in=chunk), of_bindings=chunk)
        for binding in bindings:
            send_after_commit(binding_revoked, TokenBinding, write_alias(TokenBinding), binding=binding)


def revoke_unbound_tokens(user: AbstractBaseUser, application: models.Model) -> None:
    """Revoke all access and refresh tokens of a user and an application that are bound to nothing.

    The authorization codes and device codes that the application has of the user end with them. It takes
    several transactions, unless it is called in one.

    :param user: whose tokens they are.
    :param application: the client that they were issued to.
    """
    unbound = Q(user=user, application=application, binding__isnull=True)
    if end_in_batches(user.pk, unbound & not_registration_token(), unbound, codes_for=Q(pk=application.pk)):
        _tell_revoked(Facts(client_id=getattr(application, "client_id", None), user=user.pk))


def revoke_token(token: str, application: models.Model) -> None:
    """Revoke an access or refresh token and the one it was issued with (RFC 7009 section 2.1).

    Does nothing if the application has no such token.
    """
    lookup = {"token_checksum": token_checksum(token), "application": application}
    access = access_tokens().filter(**lookup).first()
    if access is not None:
        revoke_access_token(access)
        return
    refresh = refresh_tokens().filter(**lookup, revoked__isnull=True).first()
    if refresh is not None:
        revoke_refresh_token(refresh)


def revoke_access_token(token: BoundAccessToken) -> None:
    """Revoke an access token and its refresh token (RFC 7009 section 2.1).

    :param token: the row, live or not; nothing happens to one that has ended.
    """
    if end(token.user_id, Q(pk=token.pk), Q(access_token=token.pk)):
        _tell_revoked_token(token)


def revoke_refresh_token(token: BoundRefreshToken) -> None:
    """Revoke a refresh token and its access token (RFC 7009 section 2.1).

    :param token: the row, live or not; nothing happens to one that has ended.
    """
    if end(token.user_id, _access_tokens_of(Q(pk=token.pk)), Q(pk=token.pk)):
        _tell_revoked_token(token)


def revoke_tokens_of_clients(
    user: AbstractBaseUser, *, client_types: Collection[str], grant_types: Collection[str]
) -> None:
    """Revoke and delete the tokens of a user at some kinds of applications, as DOT does at a logout.

    Applications that decide for themselves what a logout ends (``revoke_on_logout``) are left alone.

    :param client_types: the ``client_type`` of the applications.
    :param grant_types: the ``authorization_grant_type`` of the applications.
    """
    these = written(get_application_model()).filter(
        client_type__in=client_types,
        authorization_grant_type__in=grant_types,
        token_policy__revoke_on_logout__isnull=True,
    )
    held = Q(user=user, application__in=these)
    if end(user.pk, held & not_registration_token(), held):
        _tell_revoked(Facts(user=user.pk), TerminationReason.LOGOUT)
    tokens = access_tokens().filter(held)
    written(get_id_token_model()).filter(access_token__in=tokens).delete()
    tokens.delete()


def revoke_family(user: Any, family: Any, access_token: Any = None, *, reason: Reason, client: Any) -> None:
    """Revoke all tokens of a login, whatever they were refreshed to.

    :param user: the user's primary key.
    :param family: the ``token_family`` of the refresh tokens; None where there is none.
    :param access_token: the primary key of an access token that ends, too.
    :param reason: why, for the audit log.
    :param client: the application that has them.
    """
    access = Q(pk__in=[] if access_token is None else [access_token])
    refresh = Q(access_token__in=[] if access_token is None else [access_token])
    if family is not None:
        access |= _access_tokens_of(Q(token_family=family))
        refresh |= Q(token_family=family)
    if end(user, access, refresh):
        _tell_revoked(Facts(client_id=client.client_id, user=user), reason)


def end_with_cause(user: AbstractBaseUser, cause: str, *, applications: Q | None) -> None:
    """End the tokens, codes and login sessions of a user for good, in one transaction.

    :param cause: what the signal ``user_signed_out`` is sent with, if there was a token to end. The caller
        saves the cause in the same transaction.
    :param applications: the condition of the applications whose tokens end; bound tokens of others do, too.
        None if nothing ends except the login sessions, and what ends with them.
    """
    end_sessions_of(user.pk, TerminationReason(cause))
    if applications is None:
        return
    held = Q(user=user)
    if applications != EVERYTHING:
        these = written(get_application_model()).filter(applications)
        held &= Q(application__in=these) | Q(binding__isnull=False)
    count = end(
        user.pk,
        held & not_registration_token(),
        held,
        of_bindings=_bindings_of(user),
        codes_for=applications,
    )
    _tell(user, cause, count)


def sign_out_user(
    user: AbstractBaseUser, cause: str, *, keep: Q = NOTHING, keep_sessions: Iterable[int] = ()
) -> None:
    """End all tokens, codes and login sessions of a user for good, however many.

    It takes several transactions, unless it is called in one.

    :param cause: what the signal ``user_signed_out`` is sent with, if there was a token to end.
    :param keep: the condition of access and refresh tokens that stay.
    :param keep_sessions: the primary keys of login sessions that go on.
    """
    end_sessions_of(user.pk, TerminationReason(cause), keep=keep_sessions)
    held = Q(user=user)
    count = end_in_batches(
        user.pk,
        held & not_registration_token(),
        held,
        of_bindings=_bindings_of(user),
        codes_for=EVERYTHING,
        keep=keep,
    )
    _tell(user, cause, count)


def _tell_revoked_token(token: BoundAccessToken | BoundRefreshToken) -> None:
    if audit.is_on():
        _tell_revoked(facts_of(token))


def _tell_revoked(facts: Facts, reason: str | None = None) -> None:
    audit.tell(Event.TOKEN_REVOKED, tokens_database(), facts, reason)


def _bindings_of(user: AbstractBaseUser) -> Any:
    return written(TokenBinding).filter(user=user).values_list("pk", flat=True)


def _tell(user: AbstractBaseUser, cause: str, count: int) -> None:
    if count:
        send_after_commit(user_signed_out, type(user), write_alias(type(user)), user=user, cause=cause)


def _access_tokens_of(refresh: Q) -> Q:
    """Return the condition of the access tokens that belong to some refresh tokens."""
    return Q(pk__in=refresh_tokens().filter(refresh, access_token__isnull=False).values("access_token"))
