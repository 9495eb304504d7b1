"""Saving what was planned: in one transaction, with the user's row shared and a lock on the binding.

oauthlib saves a token after it has built the answer, so the answer is then brought in line with what was
saved. A plan that another request has made obsolete by then is made again. Locks are taken in one order
everywhere: the user, the code or device code, the gate of new devices, the binding, refresh tokens, access
tokens.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import IntegrityError, OperationalError
from django.db.models import Q
from django.utils import timezone
from oauth2_provider.models import get_access_token_model, get_application_model, get_refresh_token_model

from oauth_binding.authorization_server.issuing.answered import tell_answered
from oauth_binding.authorization_server.issuing.device_limit import (
    DeviceLimitError,
    limit_for,
    make_room,
)
from oauth_binding.authorization_server.issuing.in_flight import (
    UserChangedError,
    check_locked_user,
    check_user,
    refusal,
)
from oauth_binding.authorization_server.issuing.plan import (
    adopt_changes,
    adopt_rotation,
    get_plan,
    may_reuse,
    recover_live,
)
from oauth_binding.authorization_server.issuing.presented_proof import check_refresh_proof, record_proof
from oauth_binding.authorization_server.issuing.request_state import BoundPlan, Plan, state_of, user_of
from oauth_binding.core.databases import written
from oauth_binding.core.device_facts import DeviceFacts, facts_of
from oauth_binding.core.errors import (
    DeviceCodeExpiredError,
    InvalidClientError,
    InvalidGrantError,
    SlotContendedError,
)
from oauth_binding.core.reasons import Reason
from oauth_binding.core.signals import send_after_commit, token_reused, token_superseded
from oauth_binding.models import (
    SSO_SESSION,
    BoundAccessToken,
    BoundRefreshToken,
    TokenBinding,
    TokenExchange,
)
from oauth_binding.proof.dpop import DPOP
from oauth_binding.storage import bindings, codes, devices, prepared_sql, slots
from oauth_binding.storage.attempts import (
    OutdatedError,
    in_transaction,
    is_given_up,
    repeat,
    tokens_transaction,
)
from oauth_binding.storage.ending import (
    add_rows_to_revocation_feed,
    add_to_revocation_feed,
    expire_access_tokens,
    revoke_refresh_tokens,
)
from oauth_binding.storage.liveness import live_access_tokens
from oauth_binding.storage.refreshed import Left, end_pair
from oauth_binding.storage.reports import report
from oauth_binding.storage.slots import SlotToken
from oauth_binding.storage.token_values import token_checksum
from oauth_binding.storage.tokens import access_tokens, refresh_tokens, tokens_database

if TYPE_CHECKING:
    from oauthlib.common import Request

    from oauth_binding.authorization_server.issuing.token_writer import TokenWriter

logger = logging.getLogger(__name__)


def save_token(writer: TokenWriter, request: Request, token: dict[str, Any]) -> None:
    """Save what a request is answered with, and bring the answer in line with what was saved.

    :param writer: makes the rows.
    :param token: the token response to be (RFC 6749 section 5.1).
    :raises InvalidGrantError: what the request presents was revoked or redeemed meanwhile.
    :raises SlotContendedError: others overtook the request until ``RETRY_SECONDS`` were over.
    """
    adopt_rotation(request, token)
    renew_answer(writer, request, token)
    answered = dict(token)

    def once() -> None:
        _authenticate_again(writer, request)
        plan = get_plan(request)
        try:
            if isinstance(plan, BoundPlan):
                _save_bound(writer, plan, request, token)
            else:
                token.clear()
                token.update(answered)
                _save_unbound(writer, plan, request, token)
        except Exception as error:
            _forget(plan, request, error)
            raise

    state_of(request).facts = facts_of(request.headers)  # before anything is locked
    record_proof(request)
    try:
        repeat(once, lambda error: isinstance(error, OutdatedError) or is_given_up(error))
    except (OutdatedError, OperationalError) as error:
        if not isinstance(error, OutdatedError) and not is_given_up(error):
            raise
        logger.warning("A token request was outdated again and again, last by: %r", error.__cause__ or error)
        raise SlotContendedError(Reason.SLOT_CONTENDED, request=request) from error
    plan = get_plan(request)
    if plan.confirmation is not None:
        token["token_type"] = DPOP.scheme
    tell_answered(plan, request, token)
    missed = state_of(request).missed_demands
    if missed:
        _report(missed, plan, request)


def _report(missed: Iterable[str], plan: Plan, request: Request) -> None:
    """Report that a request was answered that is going to be refused in future.

    :param missed: the demands that it falls short of.
    """
    binding = plan.binding if isinstance(plan, BoundPlan) else None
    if binding is not None and not binding.pk:  # a token was returned again without looking at its row
        binding = written(TokenBinding).filter(key=binding.key).first()
    for demand in sorted(missed):
        report(demand, request.client, user_of(request), binding, state_of(request).facts)


def renew_answer(writer: TokenWriter, request: Request, token: dict[str, Any]) -> None:
    """Answer with a new token if the site's own code has changed what a request is granted.

    :param token: the token response to be.
    """
    if not adopt_changes(request, token):
        return
    plan = get_plan(request)
    token["access_token"] = plan.access.text
    # Even if the site asks for a longer time than the token that is exchanged lives.
    token["expires_in"] = request.expires_in
    if "id_token" in token:
        writer.sign_id_token_again(token, request)


def _authenticate_again(writer: TokenWriter, request: Request) -> None:
    """Check the password again if the user's row has changed; a new hash of the same one is no change."""
    state = state_of(request)
    if state.is_user_changed and not writer.authenticate_user_again(request):
        raise refusal(request)
    state.is_user_changed = False


def _forget(plan: Plan, request: Request, error: Exception) -> None:
    """Forget a plan that could not be carried out.

    :raises OutdatedError: another request has taken the slot since it was looked at, as its unique constraint
        tells; by now, the slot may be free again.
    :raises InvalidClientError: the application was deleted meanwhile.
    """
    state = state_of(request)
    state.is_user_changed = isinstance(error, UserChangedError)
    state.signs_devices_out |= isinstance(error, DeviceLimitError)
    if isinstance(plan, BoundPlan):
        state.plan = None
    if not isinstance(error, IntegrityError):
        return
    if not written(get_application_model()).filter(pk=request.client.pk).exists():
        raise InvalidClientError(Reason.CLIENT_DELETED, request=request) from error
    if isinstance(plan, BoundPlan) and (plan.is_free or access_tokens().filter(slot=plan.slot).exists()):
        state.is_slot_contended = True
        raise OutdatedError from error


def _save_bound(writer: TokenWriter, plan: BoundPlan, request: Request, token: dict[str, Any]) -> None:
    _update_response(writer, plan, request, token)
    if plan.reused is not None and (plan.kept_refresh is not None or "refresh_token" not in token):
        _answer_again(plan, plan.reused, request, token)
        return
    save_exchange(plan)
    with tokens_transaction():
        seen = _check_user_and_look(plan, request)
        _redeem(request)
        _lock_binding(writer, plan, request, seen)
        _check_presented(request)
        access = _write(writer, plan, request, token)
        _note_redeemed(request, access.pk)


class _Seen(NamedTuple):
    """What was seen together with the user."""

    #: How many devices there are, up to the limit; None where they were not counted.
    devices: int | None = None
    #: Whether the binding had a live token in the slot, and is locked; None where that was not looked at.
    is_occupied: bool | None = None


def _check_user_and_look(plan: BoundPlan, request: Request) -> _Seen:
    """Check the user of a request, and look for what comes next, where nothing is locked between the two.

    Whether the slot is taken is already known for an opaque token, which would be returned again.
    """
    state, limit = state_of(request), limit_for(plan, request)
    is_between = state.code is not None or state.device_code is not None
    if limit is None or state.signs_devices_out or is_between:
        check_user(request)
        return _Seen()
    if may_reuse(plan):
        user, number = devices.share_user_and_count(plan.binding, limit)
        seen = _Seen(devices=number)
    else:
        facts = _facts_of_device(plan, request)
        user, is_occupied = bindings.share_user_and_lock_occupied(plan.binding, plan.slot, facts)
        seen = _Seen(is_occupied=is_occupied)
    check_locked_user(request, user)
    return seen


def _lock_binding(writer: TokenWriter, plan: BoundPlan, request: Request, seen: _Seen) -> None:
    """Lock the binding of a plan; for one that has no live token, after others have made room for it.

    :param seen: what ``_check_user_and_look`` has returned.
    """
    limit, name = limit_for(plan, request), state_of(request).device_name
    facts = _facts_of_device(plan, request)
    if limit is None:
        # If its slot has not been looked up yet, the binding most likely exists.
        if not bindings.lock(plan.binding, facts, is_expected=not may_reuse(plan), name=name):
            raise OutdatedError
        return
    is_occupied = seen.is_occupied
    if is_occupied is None:
        is_occupied = not may_reuse(plan) and bindings.lock_occupied(plan.binding, plan.slot, facts)
    if not is_occupied:
        make_room(writer, plan, request, limit, seen.devices)
        is_new = bindings.make_or_lock(plan.binding, facts, name)
        if not state_of(request).is_slot_contended:
            # Nothing is in a slot of what was just made, unless its row was deleted without its tokens.
            plan.is_free |= is_new


def _facts_of_device(plan: BoundPlan, request: Request) -> DeviceFacts | None:
    """Return what is known about the device that a plan's tokens are for, or None: nothing new.

    For a login session, the device is the browser, which has not sent this request.
    """
    state = state_of(request)
    if plan.binding.binding_type != SSO_SESSION or plan.binding.is_shared:
        return state.facts
    context = state.code_context
    return None if context is None or context.session is None else context.session.facts


def _write(writer: TokenWriter, plan: BoundPlan, request: Request, token: dict[str, Any]) -> BoundAccessToken:
    """Write the planned rows, and return that of the access token."""
    state = state_of(request)
    if plan.reused is not None:
        _check_reused(plan.reused)
        _move_login(plan, plan.reused, request, token)
        reused: BoundAccessToken = access_tokens().get(pk=plan.reused.pk)
        writer.create_refresh_token(request, plan.refresh.text, reused, state.refresh_token)
        return reused
    source = _clear_slot(plan, request)
    access = writer.create_access_token(request, token, source)
    if plan.kept_refresh is not None:
        _repoint(plan.kept_refresh, access, plan.stored_confirmation)
    elif "refresh_token" in token:
        writer.create_refresh_token(request, plan.refresh.text, access, state.refresh_token)
    return access


def _save_unbound(writer: TokenWriter, plan: Plan, request: Request, token: dict[str, Any]) -> None:
    """Let django-oauth-toolkit save a token that is bound to nothing."""
    # What it removes from the request while it saves; a second try needs it again.
    refreshed = vars(request).get("refresh_token_instance")
    save_exchange(plan)
    try:
        with tokens_transaction():
            check_user(request)
            # It reads the code's resources, which are gone once the code is.
            writer.set_resources(request)
            _redeem(request)
            _check_presented(request)
            writer.save_unbound_token(request, token)
            if state_of(request).code is not None:
                checksum = token_checksum(token["access_token"])
                _note_redeemed(
                    request, access_tokens().values_list("pk", flat=True).get(token_checksum=checksum)
                )
    except Exception:
        if refreshed is not None:
            request.refresh_token_instance = refreshed
        raise


def _update_response(writer: TokenWriter, plan: BoundPlan, request: Request, token: dict[str, Any]) -> None:
    """Bring the token response in line with the plan."""
    changed = token["access_token"] != plan.access.text
    token["access_token"] = plan.access.text
    if plan.reused is None:
        token["expires_in"] = request.expires_in  # the time between iat and exp
        token["scope"] = " ".join(request.scopes)
    else:
        token["expires_in"] = int(plan.expires.timestamp()) - int(timezone.now().timestamp())
        token["scope"] = plan.reused.scope  # less than was asked for, if an operator has narrowed it
    if "refresh_token" in token:
        token["refresh_token"] = plan.refresh.text
    if changed and "id_token" in token:
        writer.sign_id_token_again(token, request)


def save_exchange(plan: Plan) -> None:
    """Save what a plan's tokens are exchanged from, in a transaction of its own before that of the tokens."""
    if plan.exchange is None or not plan.exchange._state.adding:
        return
    exchange = plan.exchange

    def save() -> TokenExchange:
        records = written(TokenExchange)
        records.bulk_create([exchange], ignore_conflicts=True)
        this = records.filter(key=exchange.key)
        # clearbindings leaves alone what has just been used, but may have deleted it before that.
        if not this.update(last_used=timezone.now(), login_lifetime=exchange.login_lifetime):
            raise OutdatedError
        saved: TokenExchange = this.get()
        return saved

    plan.exchange = in_transaction(save)


def _check_presented(request: Request) -> None:
    """Check again, in the transaction that issues, that what a request exchanges has not ended meanwhile.

    The check is a write: whoever ends it from now on waits for its row, and then finds what was issued here.

    :raises InvalidGrantError: it was ended, or has expired.
    """
    exchange = state_of(request).exchange
    for name, row in () if exchange is None else exchange.presented.items():
        if isinstance(row, get_refresh_token_model()):
            there = refresh_tokens().filter(pk=row.pk, revoked__isnull=True)
        else:
            there = access_tokens().filter(live_access_tokens(), pk=row.pk)
        # One that was given a key meanwhile was not proven by it.
        there = there.filter(binding_confirmation=row.binding_confirmation)
        if not there.update(updated=timezone.now()):
            raise InvalidGrantError(
                Reason.TOKEN_ENDED_MEANWHILE, description=f"The {name} is not valid.", request=request
            )


def _answer_again(plan: BoundPlan, reused: SlotToken, request: Request, token: dict[str, Any]) -> None:
    state = state_of(request)
    if any((state.code, state.device_code, state.exchange)) or "id_token" in token:
        with tokens_transaction():
            check_user(request)
            _redeem(request)
            _check_presented(request)
            _confirm(reused)
            _move_login(plan, reused, request, token)
            _note_redeemed(request, reused.pk)
    else:
        _confirm(reused)
    bindings.touch(plan.binding.key, reused.binding_last_used, _facts_of_device(plan, request))
    model = get_access_token_model()
    if token_reused.has_listeners(model):
        for row in access_tokens().filter(pk=reused.pk):
            send_after_commit(token_reused, model, tokens_database(), access_token=row, facts=state.facts)


def _confirm(reused: SlotToken) -> SlotToken:
    """Return the present state of a token that is to be returned again.

    :raises OutdatedError: it has ended since it was looked up: by another request, or by the site's own code.
    """
    current = slots.find(tokens_database(), "pk", reused.pk)
    if current is None or current.slot != reused.slot or not current.is_live:
        raise OutdatedError
    if current.binding_confirmation != reused.binding_confirmation:
        raise OutdatedError
    return current


def _move_login(plan: BoundPlan, reused: SlotToken, request: Request, token: dict[str, Any]) -> None:
    """Link a token that is returned again to the browser and the ID token of this answer.

    From now on it stands for this login. A login without a browser leaves it linked to the last browser.
    """
    moved: dict[str, Any] = {}
    if plan.session_id is not None and plan.session_id != reused.binding_session_id:
        moved["binding_session"] = plan.session_id
        refresh_tokens().filter(access_token=reused.pk).update(**moved)
    if "id_token" in token:
        moved["id_token"] = request.id_token
    if moved:
        access_tokens().filter(pk=reused.pk).update(**moved)


def _check_reused(reused: SlotToken) -> None:
    """Check under the lock that the token to be returned still exists, and still lacks a refresh token."""
    if _confirm(reused).has_refresh_token:
        raise OutdatedError


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
                raise OutdatedError
        _empty_slot(plan, request)
        return None

    consumed, left = presented, _end_presented(plan, presented)
    if left is Left.NOTHING:
        return presented
    if left is Left.PAIR:
        consumed = _look_again(plan, request, presented)
    predecessor = consumed.access_token_id if plan.successor is None else plan.successor.pk
    if access_tokens().filter(slot=plan.slot).exclude(pk=predecessor).exists():
        _empty_slot(plan, request)
    if plan.kept_refresh is None:
        revoke_refresh_tokens(refresh_tokens().filter(Q(access_token_id=predecessor) | Q(pk=consumed.pk)))
    ended = access_tokens().filter(pk=predecessor)
    _announce_superseded(request, pk=predecessor)
    if plan.successor is None:
        expire_access_tokens(ended)
    else:
        add_rows_to_revocation_feed(ended)  # its row gets the new token
    return consumed if plan.successor is not None or plan.kept_refresh is None else None


def _end_presented(plan: BoundPlan, presented: BoundRefreshToken) -> Left:
    """End the pair of a refresh token in one go, and return what is left: all of it in unusual cases.

    A refresh token is unusual if it was consumed before, goes on, or has lost its access token.
    """
    is_usual = presented.revoked is None and plan.kept_refresh is None
    if not is_usual or presented.access_token is None:
        return Left.PAIR
    if token_superseded.has_listeners(get_access_token_model()):
        return Left.PAIR
    left = end_pair(tokens_database(), presented, plan.slot)
    if left is Left.NOTHING:
        add_to_revocation_feed(presented.access_token)
    return left


def _look_again(plan: BoundPlan, request: Request, presented: BoundRefreshToken) -> BoundRefreshToken:
    """Return the present state of a presented refresh token.

    :raises InvalidGrantError: it has ended since it was validated.
    :raises OutdatedError: it was consumed since, or was given a key.
    """
    consumed: BoundRefreshToken | None = prepared_sql.find(
        tokens_database(), type(presented), "pk", presented.pk, ("access_token", "binding")
    )
    if consumed is None:
        raise InvalidGrantError(Reason.TOKEN_ENDED_MEANWHILE, request=request)
    was_consumed = presented.revoked is not None
    state_of(request).refresh_token = consumed
    if (consumed.revoked is not None) is not was_consumed:
        raise OutdatedError
    if consumed.binding_confirmation != presented.binding_confirmation:
        # Another request has given it a key, and it goes on; a new plan takes that into account.
        check_refresh_proof(request, consumed.binding_confirmation)
        raise OutdatedError
    if plan.successor is not None:
        there = access_tokens().filter(pk=plan.successor.pk, source_refresh_token_id=consumed.pk)
        # Another replay may have given it a key that this one has not proven.
        if not there.filter(binding_confirmation=plan.successor.binding_confirmation).exists():
            raise OutdatedError
    elif consumed.access_token_id is None:
        raise InvalidGrantError(
            Reason.TOKEN_ENDED_MEANWHILE, request=request
        )  # an orphan: its access token was deleted meanwhile
    return consumed


def _empty_slot(plan: BoundPlan, request: Request) -> None:
    """Revoke the access token that has the slot, and its refresh token."""
    _announce_superseded(request, slot=plan.slot)
    # A client acting for itself has no refresh tokens (RFC 6749 section 4.4.3).
    slots.empty(tokens_database(), plan.slot, has_refresh_tokens=plan.binding.user_id is not None)


def _announce_superseded(request: Request, **which: Any) -> None:
    if token_superseded.has_listeners(get_access_token_model()):
        for token in access_tokens().filter(live_access_tokens(), **which):
            send_after_commit(
                token_superseded,
                type(token),
                tokens_database(),
                access_token=token,
                facts=state_of(request).facts,
            )


def _repoint(refresh_token_id: Any, access_token: BoundAccessToken, confirmation: str | None) -> None:
    unrevoked = refresh_tokens().filter(pk=refresh_token_id, revoked__isnull=True)
    values = {"access_token": access_token, "binding_confirmation": confirmation, "updated": timezone.now()}
    if not unrevoked.update(**values):
        raise OutdatedError


def _redeem(request: Request) -> None:
    """Redeem the code of a request, if it has one: in the transaction that issues, so only once.

    :raises InvalidGrantError: another request was first with the authorization code.
    :raises DeviceCodeExpiredError: another request was first with the device code (RFC 8628 section 3.5).
    """
    state = state_of(request)
    if state.code is not None:
        if not codes.redeem(state.code, request.client):
            state.is_code_replayed = True
            raise InvalidGrantError(Reason.CODE_REPLAYED, request=request)
        state.is_code_redeemed = True
    if state.device_code is not None and not codes.redeem_device_code(state.device_code):
        raise DeviceCodeExpiredError(Reason.DEVICE_CODE_EXPIRED, request=request)


def _note_redeemed(request: Request, access_token: Any) -> None:
    """Keep what an authorization code was redeemed for, so that a replay can end it."""
    code = state_of(request).code
    if code is not None:
        codes.note_redeemed(code, access_token)
