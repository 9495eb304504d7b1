"""What the audit log says about requests that were answered with a token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oauth_binding.authorization_server.issuing.request_state import (
    BoundPlan,
    Plan,
    RequestState,
    browser_session,
    state_of,
    user_of,
)
from oauth_binding.authorization_server.signing.jwt_access_tokens import read_claims
from oauth_binding.core import audit
from oauth_binding.core.audit import Event, Facts
from oauth_binding.core.databases import written
from oauth_binding.models import LoginSession
from oauth_binding.storage.token_values import token_checksum
from oauth_binding.storage.tokens import tokens_database

if TYPE_CHECKING:
    from oauthlib.common import Request


def tell_answered(plan: Plan, request: Request, token: dict[str, Any]) -> None:
    """Have the audit log say that a request was answered with a token.

    :param token: the token response (RFC 6749 section 5.1).
    """
    if not audit.is_on():
        return
    state, user, text = state_of(request), user_of(request), token["access_token"]
    facts = Facts(
        client_id=request.client.client_id,
        user=None if user is None else user.pk,
        binding=plan.binding if isinstance(plan, BoundPlan) else None,
        sid=_sid_of(plan, request, state),
        grant_type=request.grant_type if state.is_token_request else "implicit",
        token=(read_claims(text) or {}).get("jti") or token_checksum(text),
        meta=request.headers,
    )
    audit.tell(_event_of(plan, state), tokens_database(), facts)


def _event_of(plan: Plan, state: RequestState) -> Event:
    if state.exchange is not None:
        return Event.TOKEN_EXCHANGED
    if isinstance(plan, BoundPlan) and plan.reused is not None:
        return Event.TOKEN_REUSED
    return Event.TOKEN_ISSUED if state.refresh_token is None else Event.TOKEN_REFRESHED


def _sid_of(plan: Plan, request: Request, state: RequestState) -> Any:
    if plan.session_id is None:
        return None
    context = state.code_context
    session = browser_session(request) if context is None else context.session
    if session is None:  # the session of a login that is refreshed
        session = written(LoginSession).filter(pk=plan.session_id).first()
    return None if session is None else session.sid
