"""Revoking tokens, and signing devices and users out."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Final

from django.db import models
from django.db.models import Q
from oauth2_provider.models import get_application_model

from oauth_binding.authorization_server.revocation.cascade import NOTHING
from oauth_binding.authorization_server.revocation.end import end, end_in_batches
from oauth_binding.binding.semantics import NO_BINDING
from oauth_binding.core.databases import write_alias, written
from oauth_binding.core.signals import binding_revoked, send_after_commit, user_signed_out
from oauth_binding.models import BoundAccessToken, BoundRefreshToken, TokenBinding
from oauth_binding.storage.token_values import token_checksum
from oauth_binding.storage.tokens import access_tokens, not_registration_token, refresh_tokens

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser

#: The condition that everything meets.
EVERYTHING: Final = Q()

#: The condition of applications that bind.
BINDS: Final = ~Q(token_binding_type=NO_BINDING)


def revoke_binding(binding: TokenBinding) -> None:
    """Revoke all access and refresh tokens of a binding: sign a device out.

    A request that is being answered for the same binding is waited for, and its tokens are revoked, too.
    """
    held = Q(binding=binding)
    exchanges = Q(subject_binding=binding)
    if end(binding.user_id, held, held, exchanges=exchanges, of_bindings=[binding.pk]):
        send_after_commit(binding_revoked, TokenBinding, write_alias(TokenBinding), binding=binding)


def revoke_unbound_tokens(user: AbstractBaseUser, application: models.Model) -> None:
    """Revoke all access and refresh tokens of a user and an application that are bound to nothing.

    With them end the authorization codes and device codes that the application has of the user. It takes
    several transactions, unless it is called in one.
    """
    unbound = Q(user=user, application=application, binding__isnull=True)
    end_in_batches(user.pk, unbound & not_registration_token(), unbound, codes_for=Q(pk=application.pk))


def revoke_token(token: str, application: models.Model) -> None:
    """Revoke an access or refresh token and the one it was issued with (RFC 7009 section 2.1).

    Does nothing where the application has no such token.
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
    """Revoke an access token and its refresh token."""
    end(token.user_id, Q(pk=token.pk), Q(access_token=token.pk))


def revoke_refresh_token(token: BoundRefreshToken) -> None:
    """Revoke a refresh token and its access token."""
    end(token.user_id, _access_tokens_of(Q(pk=token.pk)), Q(pk=token.pk))


def revoke_tokens_of_clients(
    user: AbstractBaseUser, *, client_types: Collection[str], grant_types: Collection[str]
) -> None:
    """Revoke the tokens of a user that some kinds of applications have.

    :param client_types: the ``client_type`` of the applications.
    :param grant_types: the ``authorization_grant_type`` of the applications.
    """
    these = written(get_application_model()).filter(
        client_type__in=client_types, authorization_grant_type__in=grant_types
    )
    held = Q(user=user, application__in=these)
    end(user.pk, held & not_registration_token(), held)


def revoke_family(user: Any, family: Any, access_token: Any = None) -> None:
    """Revoke all tokens of a login, whatever they were refreshed to.

    :param user: the user's primary key.
    :param family: the ``token_family`` of the refresh tokens; None where there is none.
    :param access_token: the primary key of an access token that ends, too.
    """
    access = Q(pk__in=[] if access_token is None else [access_token])
    refresh = Q(access_token__in=[] if access_token is None else [access_token])
    if family is not None:
        access |= _access_tokens_of(Q(token_family=family))
        refresh |= Q(token_family=family)
    end(user, access, refresh)


def end_with_cause(user: AbstractBaseUser, cause: str, *, applications: Q) -> None:
    """End the tokens, authorization codes and approved device codes of a user for good, in one transaction.

    :param cause: what the signal ``user_signed_out`` is sent with, where there was a token to end. The caller
        saves it in the same transaction.
    :param applications: the condition of the applications whose tokens end; bound tokens of others do, too.
    """
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


def sign_out_user(user: AbstractBaseUser, cause: str, *, keep: Q = NOTHING) -> None:
    """End all tokens, authorization codes and approved device codes of a user for good, however many.

    It takes several transactions, unless it is called in one.

    :param cause: what the signal ``user_signed_out`` is sent with, where there was a token to end.
    :param keep: the condition of access and refresh tokens that stay.
    """
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


def _bindings_of(user: AbstractBaseUser) -> Any:
    return written(TokenBinding).filter(user=user).values_list("pk", flat=True)


def _tell(user: AbstractBaseUser, cause: str, count: int) -> None:
    if count:
        send_after_commit(user_signed_out, type(user), write_alias(type(user)), user=user, cause=cause)


def _access_tokens_of(refresh: Q) -> Q:
    """Return the condition of the access tokens that belong to some refresh tokens."""
    return Q(pk__in=refresh_tokens().filter(refresh, access_token__isnull=False).values("access_token"))
