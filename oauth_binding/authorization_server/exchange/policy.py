"""Token exchange (RFC 8693): what a request may get, by the rules that operators have made."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from oauth2_provider.models import AbstractApplication
from oauth2_provider.settings import oauth2_settings

from oauth_binding.authorization_server.exchange.parameters import (
    TYPE_REFRESH,
    issued_token_type,
    value_of,
    values_of,
)
from oauth_binding.authorization_server.exchange.subjects import (
    Subject,
    client_identity,
    find_subject,
    save_user,
)
from oauth_binding.authorization_server.issuing.audiences import check_asked, inherit
from oauth_binding.authorization_server.issuing.presented_proof import check_exchanged_proof, check_proof
from oauth_binding.authorization_server.issuing.request_state import Exchange, state_of
from oauth_binding.binding.semantics import exchange_key
from oauth_binding.core.addresses import get_issuer
from oauth_binding.core.errors import (
    InvalidGrantError,
    InvalidRequestError,
    InvalidScopeError,
    InvalidTargetError,
    UnauthorizedClientError,
)
from oauth_binding.core.jose.strict_json import depth
from oauth_binding.core.reasons import Reason
from oauth_binding.core.settings import binding_settings
from oauth_binding.models import TokenExchange, TokenExchangeRule, policy_of
from oauth_binding.storage.login_sessions import sid_of
from oauth_binding.storage.logins import login_lifetime, login_started

if TYPE_CHECKING:
    from oauthlib.common import Request

#: How deeply ``act`` may be nested: as far as MariaDB accepts JSON, which has the lowest limit of all
#: databases.
MAX_ACT_DEPTH: Final = 31

#: How long ``act`` may be, in characters of JSON: it is part of each JWT, and JWTs are sent in a header.
MAX_ACT_LENGTH: Final = 4096


def authorize(request: Request) -> TokenExchangeRule:
    """Prepare a request so that what it may get can be issued, and return the rule that allows it.

    :param request: a token request whose client is authenticated and may exchange tokens.
    :raises OAuth2Error: the subject or actor token is not valid, or the rules do not allow the exchange.
    """
    subject = find_subject(request, "subject_token")
    rule = _find_rule(request, subject)
    if issued_token_type(request) == TYPE_REFRESH and not rule.refresh_tokens:
        raise InvalidRequestError(
            Reason.EXCHANGE_NOT_ALLOWED,
            description="requested_token_type: this client gets no refresh tokens.",
            request=request,
        )
    actor = _find_actor(request, subject, rule)
    _check_proofs(request, subject, actor, rule)
    request.user = subject.user
    request.scopes = _scopes(request, subject)
    targets = _targets(request, subject, rule)
    act = _act(request, subject, actor)
    request.user = save_user(request, subject)
    record = TokenExchange(
        client=request.client,
        subject_client=subject.client,
        subject_issuer=subject.issuer,
        subject=subject.key,
        subject_binding=subject.binding,
        session_sid=None if subject.row is None else sid_of(subject.row, subject.row.exchange),
        act=act,
        login_lifetime=_login_lifetime_before(subject),
        key=exchange_key(str(request.client.pk), subject.key, act),
    )
    rows = {"subject_token": subject.row, "actor_token": None if actor is None else actor.row}
    presented = {name: row for name, row in rows.items() if row is not None}
    started = None if subject.row is None else login_started(subject.row)
    state_of(request).exchange = Exchange(record, subject.expires, started, targets, presented)
    return rule


def _login_lifetime_before(subject: Subject) -> int | None:
    """Return how long the login may last by what the subject token itself was exchanged from, in seconds."""
    lifetime = None if subject.row is None else login_lifetime(None, subject.row.exchange)
    return None if lifetime is None else int(lifetime.total_seconds())


def _find_rule(request: Request, subject: Subject) -> TokenExchangeRule:
    if subject.user is None:
        raise InvalidGrantError(
            Reason.SUBJECT_WITHOUT_USER, description="The subject_token belongs to no user.", request=request
        )
    subject_client = None if subject.client is None else subject.client.pk
    rule = TokenExchangeRule.find(request.client.pk, subject_client, subject.issuer)
    if rule is None:
        raise UnauthorizedClientError(
            Reason.EXCHANGE_NOT_ALLOWED,
            description="This client may not exchange the tokens of the subject_token's client.",
            request=request,
        )
    return rule


def _find_actor(request: Request, subject: Subject, rule: TokenExchangeRule) -> Subject | None:
    """Return the actor, or None for an impersonation (RFC 8693 section 1.1).

    :raises OAuth2Error: the rule does not allow it, or the actor is not the one that the subject token names.
    """
    if not value_of(request, "actor_token"):
        if not rule.impersonation:
            raise UnauthorizedClientError(
                Reason.ACTOR_NOT_ALLOWED,
                description="This client may not impersonate: actor_token is required.",
                request=request,
            )
        _check_may_act(request, subject.may_act, client_identity(request.client))
        return None
    if not rule.delegation:
        raise UnauthorizedClientError(
            Reason.ACTOR_NOT_ALLOWED,
            description="This client may not act for others: actor_token is not allowed.",
            request=request,
        )
    actor = find_subject(request, "actor_token")
    if actor.client != request.client:
        raise InvalidGrantError(
            Reason.ACTOR_NOT_ALLOWED,
            description="The actor_token was issued to another client.",
            request=request,
        )
    _check_may_act(request, subject.may_act, actor.identity)
    return actor


def _check_proofs(request: Request, subject: Subject, actor: Subject | None, rule: TokenExchangeRule) -> None:
    """Check that the keys of sender-constrained tokens are proven (RFC 9449 section 6).

    :raises OAuth2Error: one is not, or the proof is not valid.
    """
    is_confidential = request.client.client_type == AbstractApplication.CLIENT_CONFIDENTIAL
    check_exchanged_proof(
        request,
        value_of(request, "subject_token"),
        subject.confirmation,
        accepts_unproven=rule.accept_unproven_subject and is_confidential,
    )
    if actor is not None and actor.confirmation is not None:
        # A proof names only one token, and that is the subject's.
        check_proof(request, actor.confirmation)


def _check_may_act(request: Request, may_act: Any, acting: dict[str, str]) -> None:
    """Honour the ``may_act`` claim of the subject token (RFC 8693 section 4.4)."""
    if may_act is None:
        return
    acting = {**acting, "iss": get_issuer(request)}
    named = may_act if isinstance(may_act, dict) else {}
    if named.keys() <= {"iss"} or any(
        name not in acting or acting[name] != value for name, value in named.items()
    ):
        raise InvalidGrantError(
            Reason.ACTOR_NOT_ALLOWED,
            description="The subject_token names another party that may act for its subject.",
            request=request,
        )


def _act(request: Request, subject: Subject, actor: Subject | None) -> dict[str, Any] | None:
    """Return the ``act`` claim; who acted before is nested inside of who acts now (RFC 8693 section 4.1).

    :raises InvalidGrantError: there are too many of them, or another server names one of this server's.
    """
    act = subject.act
    if subject.issuer and get_issuer(request) in _issuers_of(act):
        raise InvalidGrantError(
            Reason.ACT_NOT_ALLOWED,
            description="The act of the subject_token names a party of this server.",
            request=request,
        )
    if actor is not None:
        act = actor.identity if act is None else {**actor.identity, "act": act}
    if depth(act) > MAX_ACT_DEPTH:
        raise InvalidGrantError(
            Reason.ACT_TOO_LONG,
            description="The act of the new token would be nested too deeply.",
            request=request,
        )
    if len(json.dumps(act)) > MAX_ACT_LENGTH:
        raise InvalidGrantError(
            Reason.ACT_TOO_LONG, description="The act of the new token would be too long.", request=request
        )
    return act


def _issuers_of(act: dict[str, Any] | None) -> set[str]:
    """Return the issuers that an ``act`` claim names."""
    issuers = set()
    while act is not None:
        issuers.add(act.get("iss", ""))
        act = act.get("act")
    return issuers


def _scopes(request: Request, subject: Subject) -> list[str]:
    """Return the scopes of the new token: never beyond those of the subject token and of the client."""
    held = subject.scopes
    asked = value_of(request, "scope").split()
    validate = oauth2_settings.OAUTH2_VALIDATOR_CLASS().validate_scopes

    def may_have(scope: str) -> bool:
        try:
            return bool(validate(request.client_id, [scope], request.client, request))
        except InvalidScopeError:
            return False

    if asked:
        allowed = set(asked) <= set(held) and validate(request.client_id, asked, request.client, request)
        scopes = asked
    else:
        scopes = [scope for scope in held if may_have(scope)]
        allowed = bool(scopes) or not held
    if not allowed:
        raise InvalidScopeError(Reason.SCOPE_NOT_ALLOWED, request=request)
    return scopes


def _targets(request: Request, subject: Subject, rule: TokenExchangeRule) -> list[str]:
    """Return the audiences and resources of the new token: those asked for, or those of the subject token.

    The client's policy and the rule both have to allow them. If the rule lists any, a default of the policy
    counts only as far as the rule lists it.
    """
    policy, allowed = policy_of(request.client), rule.audiences.split()
    asked: list[str] = []
    for parameter in ("audience", "resource"):
        values = [value for value in values_of(request, parameter) if value]
        check_asked(policy, values, parameter, request=request)
        asked += values
    targets = list(dict.fromkeys(asked)) or inherit(policy, subject.targets, "audience", request=request)
    if not (asked or subject.targets):
        targets = [target for target in targets if target in allowed or not allowed]
        allowed = allowed or targets
    if not set(targets) <= set(allowed) or bool(targets) is not bool(allowed):
        name = (
            "resource"
            if not values_of(request, "audience") and values_of(request, "resource")
            else "audience"
        )
        raise InvalidTargetError(
            Reason.AUDIENCE_NOT_ALLOWED,
            description=f"This client may not exchange tokens for this {name}, or it has to name one.",
            request=request,
        )
    return targets


def may_exchange(client: Any) -> bool:
    """Return whether the settings allow this kind of client to exchange tokens at all."""
    is_public = client.client_type == client.CLIENT_PUBLIC
    return not is_public or binding_settings.token_exchange_public_clients
