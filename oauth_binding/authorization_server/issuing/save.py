"""Saving what was planned, under a lock on the binding.

oauthlib saves a token after it has built the answer, and the answer is brought in line with what was saved. A
plan that another request has outdated by then is made again.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from django.db import IntegrityError, OperationalError, transaction
from django.db.models import Q
from django.utils import timezone
from oauth2_provider.models import (
    AbstractDeviceGrant,
    get_access_token_model,
    get_device_grant_model,
    get_grant_model,
    get_refresh_token_model,
)
from oauthlib.oauth2.rfc6749.errors import InvalidGrantError
from oauthlib.oauth2.rfc8628.errors import ExpiredTokenError

from oauth_binding.authorization_server.issuing.plan import get_plan, may_reuse, recover_live
from oauth_binding.authorization_server.issuing.request_state import BoundPlan, Plan, state_of
from oauth_binding.core.databases import written
from oauth_binding.core.errors import SlotContendedError
from oauth_binding.core.settings import binding_settings
from oauth_binding.core.signals import send_after_commit, token_reused, token_superseded
from oauth_binding.models import BoundAccessToken, BoundRefreshToken, TokenBinding, TokenExchange
from oauth_binding.storage import bindings, prepared_sql, slots
from oauth_binding.storage.ending import add_to_revocation_feed, expire_access_tokens, revoke_refresh_tokens
from oauth_binding.storage.liveness import is_live, live_access_tokens
from oauth_binding.storage.slots import SlotToken
from oauth_binding.storage.tokens import access_tokens, refresh_tokens, tokens_database

if TYPE_CHECKING:
    from oauthlib.common import Request

    from oauth_binding.authorization_server.issuing.token_writer import TokenWriter

logger = logging.getLogger(__name__)

#: How often a plan is made before the request is refused as ``temporarily_unavailable``.
MAX_ATTEMPTS: Final = 5


class _PlanOutdatedError(Exception):
    """Another request changed what the plan was made from."""


def save_bound_token(writer: TokenWriter, request: Request, token: dict[str, Any]) -> bool:
    """Save a bound token, and bring the answer in line with what was saved.

    Return whether the token is a bound one; another is not saved here.

    :param writer: makes the rows.
    :param token: the token response to be (RFC 6749 section 5.1).
    :raises InvalidGrantError: the refresh token or authorization code was revoked or redeemed meanwhile.
    :raises SlotContendedError: other requests overtook this one :data:`MAX_ATTEMPTS` times.
    """
    error: Exception | None = None
    for _attempt in range(MAX_ATTEMPTS):
        plan = get_plan(request)
        if not isinstance(plan, BoundPlan):
            return False
        _update_response(writer, plan, request, token)
        try:
            if plan.reused is not None and (plan.kept_refresh is not None or "refresh_token" not in token):
                _answer_again(plan.reused, plan.binding, request)
                return True
            _save(writer, plan, request, token)
            return True
        except _PlanOutdatedError as outdated:
            error = outdated
        except IntegrityError as collision:
            if not access_tokens().filter(slot=plan.slot).exists():
                raise
            error = collision
        except OperationalError as failure:
            # A serialization failure or deadlock; in a transaction of the site's own nothing can be retried.
            if transaction.get_connection(tokens_database()).in_atomic_block:
                raise
            error = failure
        state_of(request).plan = None
    logger.warning("A token request was outdated %s times, last by: %r", MAX_ATTEMPTS, error)
    raise SlotContendedError(request=request) from error


def _update_response(writer: TokenWriter, plan: BoundPlan, request: Request, token: dict[str, Any]) -> None:
    """Bring the token response in line with the plan."""
    changed = token["access_token"] != plan.access.text
    token["access_token"] = plan.access.text
    if plan.reused is None:
        token["expires_in"] = request.expires_in  # what lies between iat and exp
    else:
        token["expires_in"] = int(plan.expires.timestamp()) - int(timezone.now().timestamp())
    token["scope"] = " ".join(request.scopes)
    if "refresh_token" in token:
        token["refresh_token"] = plan.refresh.text
    if changed and "id_token" in token:
        writer.sign_id_token_again(token, request)


def _save(writer: TokenWriter, plan: BoundPlan, request: Request, token: dict[str, Any]) -> None:
    """Save what is planned, in one transaction.

    :raises _PlanOutdatedError: another request changed what the plan was made from.
    """
    state = state_of(request)
    save_exchange(plan)
    with transaction.atomic(using=tokens_database()):
        # Where its slot has not been looked up yet, the binding is most likely there.
        if not bindings.lock(plan.binding, is_expected=not may_reuse(plan)):
            raise _PlanOutdatedError
        check_subject(request)
        if plan.reused is not None:
            _check_reused(plan.reused)
            reused = access_tokens().get(pk=plan.reused.pk)
            writer.create_refresh_token(request, plan.refresh.text, reused, state.refresh_token)
            redeem_device_code(request)
            return
        source = _clear_slot(plan, request)
        access = writer.create_access_token(request, token, source)
        if plan.kept_refresh is not None:
            _repoint(plan.kept_refresh, access)
        elif "refresh_token" in token:
            writer.create_refresh_token(request, plan.refresh.text, access, state.refresh_token)
        _redeem_code(request)
        redeem_device_code(request)


def save_exchange(plan: Plan) -> None:
    """Save what a plan's tokens are exchanged from, in a transaction of its own before that of the tokens."""
    if plan.exchange is None or not plan.exchange._state.adding:
        return
    records = written(TokenExchange)
    this = records.filter(key=plan.exchange.key)
    for _attempt in range(MAX_ATTEMPTS):
        records.bulk_create([plan.exchange], ignore_conflicts=True)
        # clearbindings leaves alone what was used just now, but may have deleted it before.
        if this.update(last_used=timezone.now()):
            break
    plan.exchange = this.get()


def check_subject(request: Request) -> None:
    """Check again, in the transaction that issues, that what a request exchanges was not revoked meanwhile.

    Whoever revokes it from now on waits for its row, and then finds what was issued here.

    :raises InvalidGrantError: it was revoked, or has expired.
    """
    exchange = state_of(request).exchange
    if exchange is None or exchange.subject is None:
        return
    is_refresh_token = isinstance(exchange.subject, get_refresh_token_model())
    rows = refresh_tokens() if is_refresh_token else access_tokens()
    current: Any = next(iter(rows.select_for_update().filter(pk=exchange.subject.pk)), None)
    if current is None or (current.revoked is not None if is_refresh_token else not is_live(current.expires)):
        raise InvalidGrantError(description="The subject_token is not valid.", request=request)


def _answer_again(reused: SlotToken, binding: TokenBinding, request: Request) -> None:
    redeem_device_code(request)
    bindings.touch(binding.key, reused.binding_last_used)
    model = get_access_token_model()
    if token_reused.has_listeners(model):
        for token in access_tokens().filter(pk=reused.pk):
            send_after_commit(token_reused, model, tokens_database(), access_token=token)


def _check_reused(reused: SlotToken) -> None:
    """Check under the lock that the token to be answered is still there, and still lacks a refresh token."""
    current = slots.find(tokens_database(), "pk", reused.pk)
    if current is None or current.slot != reused.slot or not current.is_live or current.has_refresh_token:
        raise _PlanOutdatedError


def _clear_slot(plan: BoundPlan, request: Request) -> BoundRefreshToken | None:
    """End what leaves the slot, and return the refresh token that the new access token comes from."""
    if plan.is_free:
        return None
    state = state_of(request)
    presented = state.refresh_token
    if presented is None:
        if may_reuse(plan):
            held = slots.find(tokens_database(), "slot", plan.slot)
            if held is None:
                return None
            if recover_live(held, plan) is not None:
                raise _PlanOutdatedError
        _empty_slot(plan)
        return None

    consumed: BoundRefreshToken | None = prepared_sql.find(
        tokens_database(), type(presented), "pk", presented.pk, ("binding",)
    )
    if consumed is None:
        raise InvalidGrantError(request=request)
    was_consumed = presented.revoked is not None
    state.refresh_token = consumed
    if (consumed.revoked is not None) is not was_consumed:
        raise _PlanOutdatedError
    predecessor = consumed.access_token_id
    if plan.successor is not None:
        predecessor = plan.successor.pk
        if not access_tokens().filter(pk=predecessor, source_refresh_token_id=consumed.pk).exists():
            raise _PlanOutdatedError
    if predecessor is None:
        raise InvalidGrantError(request=request)  # an orphan: its access token was deleted meanwhile
    if access_tokens().filter(slot=plan.slot).exclude(pk=predecessor).exists():
        _empty_slot(plan)
    if plan.kept_refresh is None:
        revoke_refresh_tokens(refresh_tokens().filter(Q(access_token_id=predecessor) | Q(pk=consumed.pk)))
    ended = access_tokens().filter(pk=predecessor)
    _announce_superseded(ended)
    if plan.successor is None:
        expire_access_tokens(ended)
    else:
        add_to_revocation_feed(ended)  # its row gets the new token
    return consumed if plan.successor is not None or plan.kept_refresh is None else None


def _empty_slot(plan: BoundPlan) -> None:
    """Revoke the access token that has the slot, and its refresh token."""
    if binding_settings.revocation_feed or token_superseded.has_listeners(get_access_token_model()):
        ended = access_tokens().filter(slot=plan.slot)
        _announce_superseded(ended)
        add_to_revocation_feed(ended)
    # A client has no refresh tokens of its own (RFC 6749 section 4.4.3).
    slots.empty(tokens_database(), plan.slot, has_refresh_tokens=plan.binding.user_id is not None)


def _announce_superseded(ended: Any) -> None:
    if token_superseded.has_listeners(get_access_token_model()):
        for token in ended.filter(live_access_tokens()):
            send_after_commit(token_superseded, type(token), tokens_database(), access_token=token)


def _repoint(refresh_token_id: Any, access_token: BoundAccessToken) -> None:
    unrevoked = refresh_tokens().filter(pk=refresh_token_id, revoked__isnull=True)
    if not unrevoked.update(access_token=access_token, updated=timezone.now()):
        raise _PlanOutdatedError


def _redeem_code(request: Request) -> None:
    """Redeem the authorization code together with issuing, so that two requests can't both redeem it."""
    state = state_of(request)
    if state.code is not None:
        code = get_grant_model().objects.filter(code=state.code, application=request.client)
        if not code.delete()[0]:
            raise InvalidGrantError(request=request)
        state.is_code_redeemed = True


def redeem_device_code(request: Request) -> None:
    """Redeem the device code of a request, if it has one: in the transaction that issues, so only once.

    :raises ExpiredTokenError: another request was first (RFC 8628 section 3.5).
    """
    state = state_of(request)
    if state.device_code is None:
        return
    grants = written(get_device_grant_model())
    approved = grants.filter(device_code=state.device_code, status=AbstractDeviceGrant.AUTHORIZED)
    # The row stays: django-oauth-toolkit answers 404 where there is none.
    if not approved.update(status=AbstractDeviceGrant.EXPIRED):
        raise ExpiredTokenError(request=request)
