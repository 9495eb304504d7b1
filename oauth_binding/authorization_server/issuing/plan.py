"""Deciding how a token request is answered.

A request is planned when oauthlib asks for the access token, because the ``at_hash`` of an ID token covers
the one that is answered then.
"""

from __future__ import annotations

import logging
import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.utils import timezone
from oauthlib.common import generate_token

from oauth_binding.authorization_server.issuing.audiences import inherit
from oauth_binding.authorization_server.issuing.device_limit import refuse_beforehand
from oauth_binding.authorization_server.issuing.lifetimes import (
    continued_login,
    latest_expiry,
    limit_lifetime,
)
from oauth_binding.authorization_server.issuing.presented_binding import read_binding_value
from oauth_binding.authorization_server.issuing.presented_proof import check_refresh_proof
from oauth_binding.authorization_server.issuing.request_state import (
    BoundPlan,
    Plan,
    RequestState,
    browser_session,
    state_of,
    user_of,
)
from oauth_binding.authorization_server.issuing.token_writer import get_writer
from oauth_binding.authorization_server.signing import jwt_access_tokens
from oauth_binding.authorization_server.signing.user_claims import user_claims
from oauth_binding.binding.semantics import (
    NO_BINDING,
    SHARED,
    Decision,
    TokenType,
    decide,
    slot_key,
)
from oauth_binding.core.databases import written
from oauth_binding.core.errors import InvalidGrantError, MisconfiguredError
from oauth_binding.core.log_lines import one_line
from oauth_binding.core.reasons import Reason
from oauth_binding.models import (
    BoundRefreshToken,
    CodeContext,
    TokenBinding,
    TokenExchange,
    client_subject,
    policy_of,
)
from oauth_binding.storage import slots
from oauth_binding.storage.ending import CLOCK_LEEWAY
from oauth_binding.storage.logins import login_lifetime
from oauth_binding.storage.slots import SlotToken
from oauth_binding.storage.token_values import TokenValue, new_value, recover
from oauth_binding.storage.tokens import access_tokens, tokens_database

if TYPE_CHECKING:
    from oauthlib.common import Request

logger = logging.getLogger(__name__)


def get_plan(request: Request) -> Plan:
    """Return the plan for a token or authorization request, made when it is first asked for.

    :raises OAuth2Error: the request can't be answered.
    """
    state = state_of(request)
    if state.plan is None:
        state.plan = _make_plan(request, state)
    return state.plan


def _make_plan(request: Request, state: RequestState) -> Plan:
    token_type = TokenType(request.client.token_type)
    issued = timezone.now().replace(microsecond=0)
    if state.exchange is not None:
        request.resource = state.exchange.targets
    # Once again: the site's own code may have asked for longer.
    request.expires_in = limit_lifetime(request, request.expires_in)
    binding = _find_binding(request, state)
    if binding is not None or token_type is TokenType.JWT or policy_of(request.client).restricts_audiences:
        # RFC 8707: normalises request.resource, and refuses what the grant does not allow.
        get_writer().set_resources(request)
    plan = _begin(token_type, issued + timedelta(seconds=request.expires_in), binding, state)
    plan.latest_expiry, plan.login_started = latest_expiry(request), continued_login(request)
    plan.session_id = _session_id(request, state)
    if isinstance(plan, BoundPlan):
        if state.refresh_token is not None:
            _plan_refresh(plan, request, state.refresh_token)
        else:
            _plan_slot(plan, request)
        if plan.reused is not None:
            return plan
        refuse_beforehand(plan, request)
    if token_type is TokenType.JWT:
        plan.access = _sign(request, plan, issued)
    return plan


def _find_binding(request: Request, state: RequestState) -> TokenBinding | None:
    """Return the binding of the token to come, or None for an unbound one; it may not be saved yet."""
    if not state.is_token_request:
        return None  # implicit and hybrid tokens are never bound
    if state.refresh_token is not None:
        binding: TokenBinding | None = state.refresh_token.binding
        return binding
    binding_type = request.client.token_binding_type
    if binding_type == NO_BINDING:
        return None
    user = user_of(request)
    return TokenBinding.identify(request.client, user, binding_type, read_binding_value(request) or SHARED)


def _begin(
    token_type: TokenType, expires: datetime, binding: TokenBinding | None, state: RequestState
) -> Plan:
    """Return a plan for answering with a new opaque token."""
    if binding is None:
        plan = Plan(token_type, expires, TokenValue(generate_token()), TokenValue(generate_token()))
    else:
        plan = BoundPlan(token_type, expires, new_value(), new_value(), binding)
    if state.proof is not None:
        plan.confirmation = state.proof.confirmation
    if state.exchange is not None:
        plan.exchange = state.exchange.record
    elif state.refresh_token is not None:
        plan.exchange = state.refresh_token.exchange
    return plan


def _session_id(request: Request, state: RequestState) -> int | None:
    """Return the primary key of the login session that the tokens come from, or None.

    A token that was got by exchange comes from none: it ends with what it was exchanged from.
    """
    row = state.refresh_token or state.code_context
    if row is None:
        session = browser_session(request)
        return None if session is None else session.pk
    session_id: int | None = row.session_id if isinstance(row, CodeContext) else row.binding_session_id
    return session_id


def _plan_slot(plan: BoundPlan, request: Request) -> None:
    plan.slot = slot_key(plan.binding.key, request.scopes, request.resource)
    if not may_reuse(plan):
        return
    plan.least_left = timedelta(seconds=policy_of(request.client).reuse_min_lifetime or 0)
    plan.login_lifetime = login_lifetime(request.client, plan.exchange)
    held = slots.find(tokens_database(), "slot", plan.slot)
    plan.is_free = held is None
    value = recover_live(held, plan)
    if held is not None and value is not None:
        _reuse(plan, held, value)


def _plan_refresh(plan: BoundPlan, request: Request, consumed: BoundRefreshToken) -> None:
    if consumed.revoked is None:
        plan.slot = slot_key(plan.binding.key, request.scopes, request.resource)
        if state_of(request).keeps_refresh_token:
            _keep_presented(plan, request, consumed)
        return
    # Already consumed: by a simultaneous request, or within REFRESH_TOKEN_GRACE_PERIOD_SECONDS. The answer is
    # the one that the other request got, as far as it can be brought back.
    successor = slots.find(tokens_database(), "source_refresh_token", consumed.pk)
    granted = access_tokens().filter(source_refresh_token=consumed.pk).values_list("scope", "resource")
    row = next(iter(granted), None)
    if successor is None or row is None:
        raise InvalidGrantError(Reason.TOKEN_ENDED_MEANWHILE, request=request)
    # Since then, it may have been returned to a login in another browser.
    plan.session_id = successor.binding_session_id
    # It may be bound to a key to which the refresh token was not bound yet.
    check_refresh_proof(request, successor.binding_confirmation)
    proof = state_of(request).proof
    plan.confirmation = None if proof is None else proof.confirmation
    granted, request.resource = row[0].split(), inherit(policy_of(request.client), row[1], request=request)
    site_scopes = state_of(request).site_scopes
    left = granted if site_scopes is None else site_scopes
    request.scopes = [scope for scope in granted if scope in left]
    plan.slot = slot_key(plan.binding.key, request.scopes, request.resource)
    is_as_granted = (request.scopes, request.resource) == (granted, row[1])
    value = recover_live(successor, plan) if is_as_granted else None
    if value is not None:
        _reuse(plan, successor, value)
    else:
        plan.successor = successor
        _keep_refresh(plan, successor)


def _keep_presented(plan: BoundPlan, request: Request, presented: BoundRefreshToken) -> None:
    plan.refresh = TokenValue(request.refresh_token, presented.token_seed)
    plan.kept_refresh = presented.pk


def adopt_rotation(request: Request, token: dict[str, Any]) -> None:
    """Go on with the refresh token of a request, if the answer has that one again.

    oauthlib asks the validator whether there is a new one only after it has asked for the access token.

    :param token: the token response to be (RFC 6749 section 5.1), before it is saved.
    """
    state = state_of(request)
    presented, plan = state.refresh_token, state.plan
    if presented is None or token.get("refresh_token") != request.refresh_token:
        return
    state.keeps_refresh_token = True
    if isinstance(plan, BoundPlan) and presented.revoked is None:
        _keep_presented(plan, request, presented)


def adopt_changes(request: Request, token: dict[str, Any]) -> bool:
    """Plan again if a site's own code has changed a token response, and return whether it has.

    It has the last word on the answer, the row and a JWT: it may grant less than was asked for, or for a
    shorter time.

    :param token: the token response to be (RFC 6749 section 5.1), before it is saved.
    """
    scopes = token.get("scope", " ".join(request.scopes)).split()
    expires_in = token.get("expires_in", request.expires_in)
    if scopes == request.scopes and expires_in == request.expires_in:
        return False
    state = state_of(request)
    if scopes != request.scopes:
        state.site_scopes = scopes
    request.scopes, request.expires_in = scopes, expires_in
    state.plan = None
    return True


def may_reuse(plan: Plan) -> bool:
    """Return whether a live token is returned again, by the decision table."""
    return decide(plan.token_type, live=True) is Decision.REUSE


def recover_live(token: SlotToken | None, plan: Plan) -> TokenValue | None:
    """Return the value of a token that can be returned again: a live one whose text can be recovered.

    That rules out a token that was exchanged from something else, one of another key, and one that lives
    longer than its login, than the token that is exchanged, or than a new one would, because the site now
    grants less. It also rules out one of which so little is left that the application's policy replaces it.
    """
    if token is None or not token.is_live or not may_reuse(plan):
        return None
    if _has_little_left(token, plan):
        return None
    if token.binding_confirmation != plan.stored_confirmation:
        return None
    # The token may come from a host whose clock is ahead.
    latest = plan.expires + timedelta(seconds=CLOCK_LEEWAY)
    if token.expires > (latest if plan.latest_expiry is None else min(latest, plan.latest_expiry)):
        return None
    if not _is_exchanged_alike(token, plan):
        return None
    return recover(token.token, token.token_seed, token.token_checksum)


def _has_little_left(token: SlotToken, plan: Plan) -> bool:
    """Return whether a token, or its login, ends too early for it to be returned again."""
    wanted = timezone.now() + plan.least_left
    if token.expires < wanted:
        return True
    # By now, the policy may have made the login shorter than the token.
    end = None if plan.login_lifetime is None else token.login_started + plan.login_lifetime
    return end is not None and end < max(token.expires, wanted)


def _is_exchanged_alike(token: SlotToken, plan: Plan) -> bool:
    if token.exchange_id is None or plan.exchange is None:
        return token.exchange_id is None and plan.exchange is None
    exchanges = written(TokenExchange)
    return bool(exchanges.filter(pk=token.exchange_id, key=plan.exchange.key).exists())


def _reuse(plan: BoundPlan, token: SlotToken, value: TokenValue) -> None:
    plan.reused = token
    plan.access = value
    plan.expires = token.expires
    _keep_refresh(plan, token)


def _keep_refresh(plan: BoundPlan, token: SlotToken) -> None:
    if not token.has_refresh_token:
        return
    value = recover(token.refresh_token, token.refresh_token_seed, token.refresh_token_checksum)
    if value is not None:
        plan.kept_refresh = token.refresh_pk
        plan.refresh = value


def _subject(request: Request) -> str:
    user = user_of(request)
    subject = client_subject(request.client) if user is None else str(user.pk)
    if subject is None:
        logger.error(
            "No JWT access token for client %s itself: its sub could be a user's",
            one_line(request.client.client_id),
        )
        raise MisconfiguredError(
            Reason.MISCONFIGURED,
            description="The client's identifier can't be the sub of a JWT access token.",
            request=request,
        )
    return subject


def _sign(request: Request, plan: Plan, issued: datetime) -> TokenValue:
    state = state_of(request)
    if state.user_claims is None:
        state.user_claims = user_claims(request.client, user_of(request))
    binding_claims = plan.binding.claims if isinstance(plan, BoundPlan) else {}
    exchange_claims = {} if plan.exchange is None else plan.exchange.claims
    confirmation_claims = {} if plan.confirmation is None else plan.confirmation.claims
    text = jwt_access_tokens.encode(
        request,
        subject=_subject(request),
        issued_at=int(issued.timestamp()),
        expires_at=int(plan.expires.timestamp()),
        jti=secrets.token_urlsafe(16),
        resources=request.resource,
        user_claims=state.user_claims,
        provenance={**binding_claims, **exchange_claims, **confirmation_claims},
    )
    return TokenValue(text)
