"""Saving what was planned: in one transaction, with the user's row shared and a lock on the binding.

oauthlib saves a token after it has built the answer, and the answer is brought in line with what was saved. A
plan that another request has outdated by then is made again. Locks are taken in one order everywhere: the
user, the code or device code, the binding, refresh tokens, access tokens.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, OperationalError
from django.db.models import Q
from django.utils import timezone
from oauth2_provider.models import get_access_token_model, get_application_model, get_refresh_token_model
from oauthlib.oauth2.rfc6749.errors import InvalidClientError, InvalidGrantError
from oauthlib.oauth2.rfc8628.errors import ExpiredTokenError

from oauth_binding.authorization_server.issuing.in_flight import UserChangedError, check_user, refusal
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
from oauth_binding.core.errors import SlotContendedError
from oauth_binding.core.log_lines import one_line
from oauth_binding.core.settings import binding_settings
from oauth_binding.core.signals import demand_reported, send_after_commit, token_reused, token_superseded
from oauth_binding.models import BoundAccessToken, BoundRefreshToken, TokenBinding, TokenExchange
from oauth_binding.proof.dpop import DPOP
from oauth_binding.storage import bindings, codes, prepared_sql, slots
from oauth_binding.storage.attempts import (
    OutdatedError,
    in_transaction,
    is_given_up,
    repeat,
    tokens_transaction,
)
from oauth_binding.storage.ending import add_to_revocation_feed, expire_access_tokens, revoke_refresh_tokens
from oauth_binding.storage.liveness import live_access_tokens
from oauth_binding.storage.slots import SlotToken
from oauth_binding.storage.token_values import token_checksum
from oauth_binding.storage.tokens import access_tokens, refresh_tokens, tokens_database

if TYPE_CHECKING:
    from oauthlib.common import Request

    from oauth_binding.authorization_server.issuing.token_writer import TokenWriter

logger = logging.getLogger(__name__)


def save_token(writer: TokenWriter, request: Request, token: dict[str, Any]) -> None:
    """Save what a request is answered, and bring the answer in line with what was saved.

    :param writer: makes the rows.
    :param token: the token response to be (RFC 6749 section 5.1).
    :raises InvalidGrantError: what the request presents was revoked or redeemed meanwhile.
    :raises SlotContendedError: others overtook the request for as long as storage/attempts.py has patience.
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

    record_proof(request)
    try:
        repeat(once, lambda error: isinstance(error, OutdatedError) or is_given_up(error))
    except (OutdatedError, OperationalError) as error:
        if not isinstance(error, OutdatedError) and not is_given_up(error):
            raise
        logger.warning("A token request was outdated again and again, last by: %r", error.__cause__ or error)
        raise SlotContendedError(request=request) from error
    plan = get_plan(request)
    if plan.confirmation is not None:
        token["token_type"] = DPOP.scheme
    if state_of(request).is_proof_missed:
        _report_missing_proof(plan, request)


def _report_missing_proof(plan: Plan, request: Request) -> None:
    """Say that a request was answered which is going to be refused, once a proof is demanded."""
    client, binding = request.client, plan.binding if isinstance(plan, BoundPlan) else None
    logger.info("A token request of client %s has no proof", one_line(client.client_id))
    send_after_commit(
        demand_reported,
        type(client),
        tokens_database(),
        application=client,
        user=user_of(request),
        binding=binding,
        demand="require_sender_constraint",
    )
    if binding is not None:
        bindings.note_proof_missed(binding.key)


def renew_answer(writer: TokenWriter, request: Request, token: dict[str, Any]) -> None:
    """Answer a new token where the site's own code has changed what a request is granted.

    :param token: the token response to be.
    """
    if not adopt_changes(request, token):
        return
    plan = get_plan(request)
    token["access_token"] = plan.access.text
    # Also where the site asks for longer than what is exchanged lives.
    token["expires_in"] = request.expires_in
    if "id_token" in token:
        writer.sign_id_token_again(token, request)


def _authenticate_again(writer: TokenWriter, request: Request) -> None:
    """Check the password of a user again whose row has changed; a new hash of the same one is no change."""
    state = state_of(request)
    if state.is_user_changed and not writer.authenticate_user_again(request):
        raise refusal(request)
    state.is_user_changed = False


def _forget(plan: Plan, request: Request, error: Exception) -> None:
    """Forget a plan that could not be carried out.

    :raises OutdatedError: another request has got the slot since it was looked at, which its unique
        constraint tells; it may have left the slot again by now.
    :raises InvalidClientError: the application was deleted meanwhile.
    """
    state = state_of(request)
    state.is_user_changed = isinstance(error, UserChangedError)
    if isinstance(plan, BoundPlan):
        state.plan = None
    if not isinstance(error, IntegrityError):
        return
    if not written(get_application_model()).filter(pk=request.client.pk).exists():
        raise InvalidClientError(request=request) from error
    if isinstance(plan, BoundPlan) and (plan.is_free or access_tokens().filter(slot=plan.slot).exists()):
        raise OutdatedError from error


def _save_bound(writer: TokenWriter, plan: BoundPlan, request: Request, token: dict[str, Any]) -> None:
    _update_response(writer, plan, request, token)
    if plan.reused is not None and (plan.kept_refresh is not None or "refresh_token" not in token):
        _answer_again(plan.reused, plan.binding, request, token)
        return
    save_exchange(plan)
    with tokens_transaction():
        check_user(request)
        _redeem(request)
        # Where its slot has not been looked up yet, the binding is most likely there.
        if not bindings.lock(plan.binding, is_expected=not may_reuse(plan)):
            raise OutdatedError
        _check_presented(request)
        access = _write(writer, plan, request, token)
        _note_redeemed(request, access.pk)


def _write(writer: TokenWriter, plan: BoundPlan, request: Request, token: dict[str, Any]) -> BoundAccessToken:
    """Write the rows of what is planned, and return that of the access token."""
    state = state_of(request)
    if plan.reused is not None:
        _check_reused(plan.reused)
        reused: BoundAccessToken = access_tokens().get(pk=plan.reused.pk)
        writer.create_refresh_token(request, plan.refresh.text, reused, state.refresh_token)
        _move_id_token(plan.reused, request, token)
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
    # What it puts aside of the request while it saves; a second try needs it again.
    refreshed = vars(request).get("refresh_token_instance")
    save_exchange(plan)
    try:
        with tokens_transaction():
            check_user(request)
            # It reads the code's resources, which are gone with the code.
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
        token["expires_in"] = request.expires_in  # what lies between iat and exp
        token["scope"] = " ".join(request.scopes)
    else:
        token["expires_in"] = int(plan.expires.timestamp()) - int(timezone.now().timestamp())
        token["scope"] = plan.reused.scope  # less than was asked for, where an operator has narrowed it
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
        # clearbindings leaves alone what was used just now, but may have deleted it before.
        if not this.update(last_used=timezone.now()):
            raise OutdatedError
        saved: TokenExchange = this.get()
        return saved

    plan.exchange = in_transaction(save)


def _check_presented(request: Request) -> None:
    """Check again, in the transaction that issues, that what a request exchanges was not ended meanwhile.

    It is a write: whoever ends it from now on waits for its row, and then finds what was issued here.

    :raises InvalidGrantError: it was ended, or has expired.
    """
    exchange = state_of(request).exchange
    for name, row in () if exchange is None else exchange.presented.items():
        if isinstance(row, get_refresh_token_model()):
            there = refresh_tokens().filter(pk=row.pk, revoked__isnull=True)
        else:
            there = access_tokens().filter(live_access_tokens(), pk=row.pk)
        # One that has got a key meanwhile was not proven by it.
        there = there.filter(binding_confirmation=row.binding_confirmation)
        if not there.update(updated=timezone.now()):
            raise InvalidGrantError(description=f"The {name} is not valid.", request=request)


def _answer_again(reused: SlotToken, binding: TokenBinding, request: Request, token: dict[str, Any]) -> None:
    state = state_of(request)
    if any((state.code, state.device_code, state.exchange)) or "id_token" in token:
        with tokens_transaction():
            check_user(request)
            _redeem(request)
            _check_presented(request)
            _confirm(reused)
            _move_id_token(reused, request, token)
            _note_redeemed(request, reused.pk)
    else:
        _confirm(reused)
    bindings.touch(binding.key, reused.binding_last_used)
    model = get_access_token_model()
    if token_reused.has_listeners(model):
        for row in access_tokens().filter(pk=reused.pk):
            send_after_commit(token_reused, model, tokens_database(), access_token=row)


def _confirm(reused: SlotToken) -> SlotToken:
    """Return what is there now of a token to be answered again.

    :raises OutdatedError: it was ended since it was looked up: by another request, or by the site's own code.
    """
    current = slots.find(tokens_database(), "pk", reused.pk)
    if current is None or current.slot != reused.slot or not current.is_live:
        raise OutdatedError
    if current.binding_confirmation != reused.binding_confirmation:
        raise OutdatedError
    return current


def _move_id_token(reused: SlotToken, request: Request, token: dict[str, Any]) -> None:
    """Link a token that is answered again to the ID token of this answer: it stands for the same login."""
    if "id_token" in token:
        access_tokens().filter(pk=reused.pk).update(id_token=request.id_token)


def _check_reused(reused: SlotToken) -> None:
    """Check under the lock that the token to be answered is still there, and still lacks a refresh token."""
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
        raise OutdatedError
    if consumed.binding_confirmation != presented.binding_confirmation:
        # Another request has given it a key, and it goes on; a plan is made for that.
        check_refresh_proof(request, consumed.binding_confirmation)
        raise OutdatedError
    predecessor = consumed.access_token_id
    if plan.successor is not None:
        predecessor = plan.successor.pk
        there = access_tokens().filter(pk=predecessor, source_refresh_token_id=consumed.pk)
        # Another replay may have given it a key, which this one has not proven.
        if not there.filter(binding_confirmation=plan.successor.binding_confirmation).exists():
            raise OutdatedError
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


def _repoint(refresh_token_id: Any, access_token: BoundAccessToken, confirmation: str | None) -> None:
    unrevoked = refresh_tokens().filter(pk=refresh_token_id, revoked__isnull=True)
    values = {"access_token": access_token, "binding_confirmation": confirmation, "updated": timezone.now()}
    if not unrevoked.update(**values):
        raise OutdatedError


def _redeem(request: Request) -> None:
    """Redeem the code of a request, if it has one: in the transaction that issues, so only once.

    :raises InvalidGrantError: another request was first with the authorization code.
    :raises ExpiredTokenError: another request was first with the device code (RFC 8628 section 3.5).
    """
    state = state_of(request)
    if state.code is not None:
        if not codes.redeem(state.code, request.client):
            state.is_code_replayed = True
            raise InvalidGrantError(request=request)
        state.is_code_redeemed = True
    if state.device_code is not None and not codes.redeem_device_code(state.device_code):
        raise ExpiredTokenError(request=request)


def _note_redeemed(request: Request, access_token: Any) -> None:
    """Keep what an authorization code was redeemed for, so that a replay can end it."""
    code = state_of(request).code
    if code is not None:
        codes.note_redeemed(code, access_token)
