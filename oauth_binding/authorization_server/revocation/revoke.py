"""Revoking tokens, and signing devices out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Q
from oauth2_provider import models as toolkit_models

from oauth_binding.authorization_server.revocation.cascade import revoke_exchanged, subjects_of_rows
from oauth_binding.authorization_server.revocation.under_lock import revoke_locked, revoke_unbound
from oauth_binding.core.databases import write_alias
from oauth_binding.core.signals import binding_revoked, send_after_commit
from oauth_binding.models import BoundAccessToken, BoundRefreshToken, TokenBinding
from oauth_binding.storage.ending import not_ended
from oauth_binding.storage.token_values import token_checksum
from oauth_binding.storage.tokens import access_tokens, refresh_tokens

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser


def revoke_binding(binding: TokenBinding) -> None:
    """Revoke all access and refresh tokens of a binding: sign a device out.

    A request that is being answered for the same binding is waited for, and its tokens are revoked, too.
    """
    if revoke_locked(binding, Q(binding=binding), Q(binding=binding) & not_ended()):
        send_after_commit(binding_revoked, TokenBinding, write_alias(TokenBinding), binding=binding)
    revoke_exchanged(Q(subject_binding=binding))


def revoke_unbound_tokens(user: AbstractBaseUser, application: models.Model) -> None:
    """Revoke all access and refresh tokens of a user and an application that are bound to nothing.

    No row stands for them that could be locked. A refresh which is saving its pair is waited for, and the
    next pass, a transaction of its own, finds that pair.

    A refresh that was validated before, and has not begun to save, finds its refresh token revoked when it
    saves (see BindingOAuth2Validator).
    """
    unbound = Q(user=user, application=application, binding__isnull=True)
    subjects = subjects_of_rows(unbound)
    revoke_unbound(unbound)
    # With those of a login meanwhile, which was revoked, too.
    revoke_exchanged(Q(subject__in=subjects + subjects_of_rows(unbound)))


def revoke_bound_token(token: str, application: models.Model) -> bool:
    """Revoke a bound access or refresh token and the one it was issued with (RFC 7009 section 2.1).

    Return whether the application has such a token. django-oauth-toolkit deletes the rows of what it revokes,
    and on MariaDB its transaction is then given up now and then for one that issues.
    """
    lookup = {
        "token_checksum": token_checksum(token),
        "application": application,
        "binding__isnull": False,
    }
    access = access_tokens().select_related("binding").filter(**lookup).first()
    if access is not None:
        revoke_access_token(access)
        return True
    refresh = refresh_tokens().select_related("binding").filter(**lookup, revoked__isnull=True).first()
    if refresh is not None:
        revoke_refresh_token(refresh)
        return True
    return False


def revoke_access_token(token: BoundAccessToken) -> None:
    """Revoke an access token and its refresh token; one without a binding as django-oauth-toolkit does it."""
    subjects = subjects_of_rows(Q(pk=token.pk), Q(access_token=token))
    if token.binding is None:
        toolkit_models.revoke_access_token(token)
    else:
        revoke_locked(token.binding, Q(access_token=token), Q(pk=token.pk))
    revoke_exchanged(Q(subject__in=subjects))


def revoke_refresh_token(token: BoundRefreshToken) -> None:
    """Revoke a refresh token and its access token; one without a binding as django-oauth-toolkit does it."""
    subjects = subjects_of_rows(Q(pk=token.access_token_id), Q(pk=token.pk))
    if token.binding is None:
        token.revoke()
    else:
        revoke_locked(token.binding, Q(pk=token.pk), Q(pk=token.access_token_id))
    revoke_exchanged(Q(subject__in=subjects))
