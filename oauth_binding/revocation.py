"""Ending tokens so that requests which are being answered with them come to no harm.

A row stays until ``cleartokens``, because the request that issued it may not have read it back yet. An
access token without its ``source_refresh_token`` is as good as deleted for what django-oauth-toolkit makes of
a replay. Refresh tokens come first: django-oauth-toolkit locks the two in this order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from django.db import OperationalError, models, router, transaction
from django.db.models import Q
from django.utils import timezone
from oauth2_provider import models as toolkit_models
from oauth2_provider.models import get_access_token_model, get_refresh_token_model
from oauth2_provider.settings import oauth2_settings

from oauth_binding.conf import binding_settings
from oauth_binding.models import (
    BoundAccessToken,
    BoundRefreshToken,
    RevokedToken,
    TokenBinding,
    TokenExchange,
    TokenExchangeRule,
)
from oauth_binding.semantics import subject_key
from oauth_binding.signals import binding_revoked, send_after_commit

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser

#: How often revoking is tried where the database gives it up for another transaction.
MAX_ATTEMPTS: Final = 5

#: How often :func:`revoke_unbound_tokens` looks for more; only logins that never pause can take so many.
MAX_PASSES: Final = 10


def revoke_binding(binding: TokenBinding) -> None:
    """Revoke all access and refresh tokens of a binding: sign a device out.

    A request that is being answered for the same binding is waited for, and its tokens are revoked, too.
    """
    if _revoke_locked(binding, Q(binding=binding), Q(binding=binding) & _not_ended()):
        using = router.db_for_write(TokenBinding)
        send_after_commit(binding_revoked, TokenBinding, using, binding=binding)
    revoke_exchanged(Q(subject_binding=binding))


def revoke_unbound_tokens(user: AbstractBaseUser, application: models.Model) -> None:
    """Revoke all access and refresh tokens of a user and an application that are bound to nothing.

    No row stands for them that could be locked. A refresh which is saving its pair is waited for, and the
    next pass, a transaction of its own, finds that pair.

    A refresh that was validated before, and has not begun to save, finds its refresh token revoked when it
    saves (see BindingOAuth2Validator).
    """
    unbound = Q(user=user, application=application, binding__isnull=True)
    subjects = _subjects(unbound)
    _revoke_unbound(unbound)
    # With those of a login meanwhile, which was revoked, too.
    revoke_exchanged(Q(subject__in=subjects + _subjects(unbound)))


def revoke_bound_token(token: str, application: models.Model) -> bool:
    """Revoke a bound access or refresh token and the one it was issued with (RFC 7009 section 2.1).

    Return whether the application has such a token. django-oauth-toolkit deletes the rows of what it revokes,
    and on MariaDB its transaction is then given up now and then for one that issues.
    """
    lookup = {
        "token_checksum": hashlib.sha256(token.encode()).hexdigest(),
        "application": application,
        "binding__isnull": False,
    }
    access = _access_tokens().select_related("binding").filter(**lookup).first()
    if access is not None:
        revoke_access_token(access)
        return True
    refresh = _refresh_tokens().select_related("binding").filter(**lookup, revoked__isnull=True).first()
    if refresh is not None:
        revoke_refresh_token(refresh)
        return True
    return False


def revoke_access_token(token: BoundAccessToken) -> None:
    """Revoke an access token and its refresh token; one without a binding as django-oauth-toolkit does it."""
    subjects = _subjects(Q(pk=token.pk), Q(access_token=token))
    if token.binding is None:
        toolkit_models.revoke_access_token(token)
    else:
        _revoke_locked(token.binding, Q(access_token=token), Q(pk=token.pk))
    revoke_exchanged(Q(subject__in=subjects))


def revoke_refresh_token(token: BoundRefreshToken) -> None:
    """Revoke a refresh token and its access token; one without a binding as django-oauth-toolkit does it."""
    subjects = _subjects(Q(pk=token.access_token_id), Q(pk=token.pk))
    if token.binding is None:
        token.revoke()
    else:
        _revoke_locked(token.binding, Q(pk=token.pk), Q(pk=token.access_token_id))
    revoke_exchanged(Q(subject__in=subjects))


def subjects_of(token: str, application: models.Model) -> list[str]:
    """Return what tokens can have been exchanged from an access or refresh token of an application.

    :param token: its text.
    """
    if not _may_be_exchanged():
        return []
    held = Q(token_checksum=hashlib.sha256(token.encode()).hexdigest(), application=application)
    # In queries of their own: of an OR with a subquery nobody makes use of an index.
    access = list(_access_tokens().filter(held).values_list("pk", flat=True))
    access += _refresh_tokens().filter(held).values_list("access_token", flat=True)
    return _subjects(Q(pk__in=access), held | Q(access_token__in=access))


def subjects_of_reused(refresh_token: str) -> list[str]:
    """Return what tokens can have been exchanged from the family of a refresh token that is revoked.

    :param refresh_token: its text.
    """
    checksum = hashlib.sha256(refresh_token.encode()).hexdigest()
    revoked = _refresh_tokens().filter(token_checksum=checksum, revoked__isnull=False)
    families = revoked.values_list("token_family", flat=True)
    return [subject_key("family", str(family)) for family in families if family is not None]


def revoke_exchanged(exchanges: Q) -> None:
    """Revoke what was exchanged from tokens that were revoked, and what was exchanged from that.

    Does nothing where ``TOKEN_EXCHANGE_CASCADE`` is off.

    :param exchanges: selects rows of TokenExchange.
    """
    if not binding_settings.token_exchange_cascade:
        return
    records = TokenExchange.objects.using(router.db_for_write(TokenExchange))
    pending, seen = list(records.filter(exchanges)), set()
    while pending:
        seen |= {exchange.pk for exchange in pending}
        exchanged = Q(exchange__in=pending)
        subjects = _subjects(exchanged)
        bound = exchanged & Q(binding__isnull=False)
        holders = {
            holder
            for tokens in (_access_tokens(), _refresh_tokens())
            for holder in tokens.filter(bound).values_list("binding", flat=True)
        }
        for binding in TokenBinding.objects.using(records.db).filter(pk__in=holders):
            held = exchanged & Q(binding=binding)
            _revoke_locked(binding, held, held & _not_ended())
        _revoke_unbound(exchanged & Q(binding__isnull=True))
        pending = list(records.filter(subject__in=subjects).exclude(pk__in=seen))


def _subjects(access_tokens: Q, refresh_tokens: Q | None = None) -> list[str]:
    """Return the subjects that tokens are; refresh tokens are selected like access tokens if not apart."""
    if not _may_be_exchanged():
        return []
    refresh = _refresh_tokens().filter(access_tokens if refresh_tokens is None else refresh_tokens)
    families = refresh.order_by().values_list("token_family", flat=True).distinct()
    access = _access_tokens().filter(access_tokens).values_list("pk", flat=True)
    return [
        *(subject_key("family", str(family)) for family in families if family is not None),
        *(subject_key("access token", str(pk)) for pk in access),
    ]


def _may_be_exchanged() -> bool:
    """Return whether there are token exchanges on this server."""
    # A rule is there before the first exchange, which may be about to be saved.
    kept: tuple[Any, ...] = (TokenExchangeRule, TokenExchange)
    return any(model.objects.using(router.db_for_write(model)).exists() for model in kept)


def _revoke_unbound(unbound: Q) -> None:
    for _pass in range(MAX_PASSES):
        if not _in_transaction(partial(_end_unbound, unbound)):
            return


def _revoke_locked(binding: TokenBinding, refresh_tokens: Q, access_tokens: Q) -> int:
    """Revoke tokens of a binding under the lock that issuing takes, too, and return how many were revoked."""

    def revoke(database: str) -> int:
        TokenBinding.objects.using(database).select_for_update().filter(pk=binding.pk).first()
        revoked = revoke_refresh_tokens(_refresh_tokens().filter(refresh_tokens))
        return revoked + expire_access_tokens(_access_tokens().filter(access_tokens))

    return _in_transaction(revoke)


def _end_unbound(unbound: Q, database: str) -> int:
    """Revoke the tokens that are there now, and return how many they were."""
    unrevoked = _refresh_tokens().filter(unbound, revoked__isnull=True)
    # The lock that a rotating refresh takes. One without rotation takes that of the access token, and gives
    # it another expiry: hence also those that have expired.
    list(unrevoked.select_for_update().order_by("pk").values_list("pk"))
    refreshable = Q(pk__in=unrevoked.filter(access_token__isnull=False).values("access_token"))
    ending = unbound & is_for_apis() & (_not_ended() | refreshable)
    expired = expire_access_tokens(_access_tokens().filter(ending))
    return expired + revoke_refresh_tokens(unrevoked)


def is_for_apis() -> Q:
    """Return the access tokens that are not the registration access token of a client (RFC 7592 section 3).

    django-oauth-toolkit keeps those among access tokens; whoever registered a client is not signed in by it.
    """
    return ~Q(scope=oauth2_settings.DCR_REGISTRATION_SCOPE)


def _not_ended() -> Q:
    # A replay within the grace period brings an expired token back by the refresh token that it comes from.
    return Q(expires__gt=timezone.now()) | Q(source_refresh_token__isnull=False)


def _in_transaction(revoke: Callable[[str], int]) -> int:
    """Call a function with the alias of the tokens' database, in a transaction there.

    :raises OperationalError: the database gave it up :data:`MAX_ATTEMPTS` times.
    """
    database = router.db_for_write(get_access_token_model())
    attempt = 0
    while True:
        attempt += 1
        try:
            with transaction.atomic(using=database):
                return revoke(database)
        except OperationalError:
            # A deadlock or serialization failure; in a transaction of the caller's nothing can be retried.
            if attempt == MAX_ATTEMPTS or transaction.get_connection(database).in_atomic_block:
                raise


def _access_tokens() -> Any:
    model = get_access_token_model()
    return model.objects.using(router.db_for_write(model))


def _refresh_tokens() -> Any:
    model = get_refresh_token_model()
    return model.objects.using(router.db_for_write(model))


def revoke_refresh_tokens(refresh_tokens: Any) -> int:
    """Revoke the refresh tokens of a queryset, and return how many were not revoked before."""
    now = timezone.now()
    unrevoked = refresh_tokens.filter(revoked__isnull=True)
    count: int = unrevoked.update(revoked=now, updated=now, access_token=None)
    return count


def expire_access_tokens(access_tokens: Any) -> int:
    """Let the access tokens of a queryset expire now and leave their slots, and return how many they are."""
    now = timezone.now()
    if binding_settings.revocation_feed:
        list_revoked(access_tokens.filter(jti__isnull=False, expires__gt=now))
    count: int = access_tokens.update(slot=None, expires=now, updated=now, source_refresh_token=None)
    return count


def list_revoked(access_tokens: Iterable[BoundAccessToken]) -> None:
    """Let the revocation feed, where there is one, name the JWTs among some access tokens.

    :param access_tokens: which are about to end.
    """
    if not binding_settings.revocation_feed:
        return
    now = timezone.now()
    revoked = [
        RevokedToken(jti=token.jti, expires=token.expires)
        for token in access_tokens
        if token.jti is not None and token.expires > now
    ]
    if revoked:
        rows = RevokedToken.objects.using(router.db_for_write(RevokedToken))
        rows.bulk_create(revoked, ignore_conflicts=True)


def list_deleted(sender: type[models.Model], instance: Any, **kwargs: Any) -> None:
    """Let the revocation feed name a deleted access token: django-oauth-toolkit revokes by deleting."""
    list_revoked([instance])
