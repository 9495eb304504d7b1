"""What a token or a binding id is, and whether and why it is good: for ``manage.py explain``.

Whether a token is good is asked the way the doors ask it, rule by rule; nothing is decided again here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import jwt
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone
from oauth2_provider.settings import oauth2_settings
from oauthlib.common import Request

from oauth_binding.authorization_server.signing import key_file
from oauth_binding.authorization_server.signing.jwt_access_tokens import is_jwt_access_token
from oauth_binding.authorization_server.signing.signing_key import get_toolkit_key
from oauth_binding.binding.confirmation import Confirmation
from oauth_binding.binding.semantics import NO_BINDING, SHARED, Decision, TokenType, decide
from oauth_binding.core.databases import written
from oauth_binding.core.jose import jws
from oauth_binding.core.jose.algorithms import SIGNING_ALGORITHMS
from oauth_binding.core.jose.claims import valid_from
from oauth_binding.core.jose.jwk_sets import JWKSet
from oauth_binding.core.jose.remote_document import MALFORMED
from oauth_binding.core.log_lines import one_line
from oauth_binding.core.reasons import Reason
from oauth_binding.models import RevokedToken, TokenBinding, TokenPolicy, policy_of
from oauth_binding.storage.ending import ended
from oauth_binding.storage.liveness import (
    access_token_faults,
    is_live,
    live_access_tokens,
    live_refresh_tokens,
    login_faults,
    refresh_token_faults,
    refresh_token_limits,
    repeatable_until,
)
from oauth_binding.storage.logins import login_end, login_started
from oauth_binding.storage.standing import find_login, token_faults
from oauth_binding.storage.token_values import token_checksum
from oauth_binding.storage.tokens import access_tokens, refresh_tokens

_RELATED: Final = ("user", "application__token_policy", "binding", "exchange", "binding_session")

#: The reasons in words. docs/audit-log.md has them as reasons of refusals.
_WORDS: Final = {
    Reason.TOKEN_EXPIRED: "it has expired",
    Reason.TOKEN_REVOKED: "it was revoked, or a newer token took its place",
    Reason.REFRESH_TOKEN_EXPIRED: "it has expired",
    Reason.REFRESH_TOKEN_REVOKED: "it was revoked or used",
    Reason.LOGIN_TOO_OLD: "its login has lasted as long as the token policy allows",
    Reason.USER_INACTIVE: "its user is not active",
    Reason.CLIENT_DISABLED: "its application, or one that it was exchanged from, is not usable",
    Reason.SESSION_ENDED: "its login session has ended",
    Reason.EXCHANGE_ENDED: "what it was exchanged from is gone",
    Reason.EXCHANGE_RULE_MISSING: "the rule that it was exchanged by is gone, or allows less",
    Reason.ISSUER_NOT_TRUSTED: "the issuer that it was exchanged from is not in TOKEN_EXCHANGE_ISSUERS",
    Reason.GRANT_TYPE_NOT_ALLOWED: "the application may not exchange tokens any more",
}


@dataclass(slots=True)
class Explanation:
    """What there is to say about something."""

    #: What it is.
    kind: str
    #: What is known about it, by name.
    facts: dict[str, Any] = field(default_factory=dict)
    #: What is wrong with it: a reason, and the same in words; empty if it is good.
    faults: dict[str, str] = field(default_factory=dict)
    #: When it ends by each setting that applies, beginning with the one that decides.
    limits: dict[str, Any] = field(default_factory=dict)

    @property
    def is_good(self) -> bool:
        return not self.faults


def explain_token(text: str) -> Explanation:
    """Return what a token is: an access, refresh or ID token of this server."""
    checksum = token_checksum(text)
    access = access_tokens().select_related(*_RELATED).filter(token_checksum=checksum).first()
    if access is not None:
        return _access_token(access, text)
    # Several may have been saved under one checksum: those that are not revoked go first.
    refresh = refresh_tokens().select_related(*_RELATED, "access_token").filter(token_checksum=checksum)
    row = refresh.filter(revoked=None).first() or refresh.order_by("-revoked").first()
    if row is not None:
        return _refresh_token(row)
    if not jws.is_jwt(text):
        return Explanation("unknown", faults={"token_invalid": "this server knows no such token"})
    if is_jwt_access_token(text):
        return _unknown_jwt(text)
    return _id_token(text)


def _access_token(row: Any, text: str) -> Explanation:
    is_jwt = is_jwt_access_token(text)
    found = Explanation("access token (JWT)" if is_jwt else "access token (opaque)", _facts(row))
    if row.expires == ended():
        found.facts["ended"] = _moment(row.updated)
    else:
        found.facts["expires"] = _moment(row.expires)
    found.facts |= {"scope": row.scope, "resource": list(row.resource)}
    source = row.source_refresh_token_id is not None
    found.facts["from"] = _origin(row, refreshed=source)
    found.faults = _in_words([*access_token_faults(row), *token_faults(row, _request())])
    if is_jwt:
        found.faults |= _jwt_faults(text)
        if row.jti is not None and _is_in_feed(row.jti):
            found.faults.setdefault("token_revoked", _WORDS[Reason.TOKEN_REVOKED])
    if row.application is not None:
        policy = policy_of(row.application)
        own = policy.token_lifetime(
            is_clients_own=row.user is None, is_constrained=row.binding_confirmation is not None
        )
        name = "ACCESS_TOKEN_EXPIRE_SECONDS" if own is None else _lifetime_field(policy, row)
        seconds = oauth2_settings.ACCESS_TOKEN_EXPIRE_SECONDS if own is None else own
        limits = {} if callable(seconds) else {name: row.created + timedelta(seconds=seconds)}
        end = login_end(row)
        found.limits = _in_order({**limits, **({} if end is None else {"login_lifetime": end})})
    return found


def _lifetime_field(policy: TokenPolicy, row: Any) -> str:
    if row.binding_confirmation is not None and policy.constrained_token_lifetime is not None:
        return "constrained_token_lifetime"
    return "client_token_lifetime" if row.user is None else "access_token_lifetime"


def _refresh_token(row: Any) -> Explanation:
    found = Explanation("refresh token", _facts(row))
    if row.access_token is not None:
        found.facts |= {"scope": row.access_token.scope, "resource": list(row.resource)}
        found.limits = _in_order(refresh_token_limits(row))
    if row.revoked is not None:
        found.facts["ended"] = _moment(row.revoked)
    found.facts["from"] = _origin(row, refreshed=False)
    until = repeatable_until(row)
    if until is None or not _has_answer(row):
        faults = refresh_token_faults(row)
    else:
        # It was used, and the same answer can be had once more: of its own rules, only that of the login is
        # left.
        found.facts["may be used again until"] = _moment(until)
        faults = login_faults(row)
    found.faults = _in_words([*faults, *token_faults(row, _request())])
    return found


def _has_answer(row: Any) -> bool:
    """Return whether the answer to a refresh token can be had again, as with a binding it always can.

    For others, storage that redacts tokens (``COMPLIANT_BCP_RFC9700_TOKEN_STORAGE``) has kept nothing.
    """
    answered = access_tokens().filter(source_refresh_token=row).exclude(token="")
    return row.binding is not None or answered.exists()


def _id_token(text: str) -> Explanation:
    validator = oauth2_settings.OAUTH2_VALIDATOR_CLASS()
    row = validator.find_id_token(text)
    if row is None:
        return Explanation(
            "JWT", faults={"token_invalid": "it is not an ID token or access token that this server knows"}
        )
    found = Explanation("ID token", {"application": row.application.client_id})
    found.facts |= {"user": row.user.get_username(), "expires": _moment(row.expires)}
    if not is_live(row.expires):
        found.faults = _in_words([Reason.TOKEN_EXPIRED])
    login = find_login(row)
    if login is None:
        found.faults["session_ended"] = "the login that it stands for has ended"
    else:
        found.faults |= _in_words(token_faults(login, _request()))
    return found


def _unknown_jwt(text: str) -> Explanation:
    """Return what can be said about a JWT access token without a row: another server's, or deleted."""
    found = Explanation("access token (JWT)", faults=_jwt_faults(text))
    found.faults |= {Reason.TOKEN_INVALID: "this server has not issued it, or has deleted it since"}
    return found


# Its parts


def _facts(row: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "application": None if row.application is None else row.application.client_id,
        "user": None if row.user is None else row.user.get_username(),
        "issued": _moment(row.created),
        "login began": _moment(login_started(row)),
    }
    binding = row.binding
    if binding is not None:
        facts["bound to"] = binding.label or "(shared)"
        facts["binding type"] = binding.binding_type
        if binding.description:
            facts["device"] = binding.description
    confirmation = Confirmation.from_stored(row.binding_confirmation)
    if confirmation is not None:
        facts["constrained to key"] = confirmation.thumbprint
    if row.binding_session is not None:
        facts["login session"] = row.binding_session.label
    return facts


def _origin(row: Any, *, refreshed: bool) -> str:
    exchange = row.exchange
    if exchange is not None:
        subject = exchange.subject_issuer or getattr(exchange.subject_client, "client_id", None)
        return f"token exchange, from a token of {subject}"
    if refreshed:
        return "a refresh token"
    if row.user is None:
        return "client credentials"
    return "a login in a browser" if row.binding_session is not None else "a login"


def _request() -> Request:
    """Return a request for code that needs one: it comes from nowhere."""
    return Request("https://localhost/", headers={})


def _jwt_faults(text: str) -> dict[str, str]:
    """Return what is wrong with a JWT access token by its own claims (RFC 9068 section 4)."""
    try:
        claims = jws.read(
            text,
            types=(jws.ACCESS_TOKEN_TYPE,),
            algorithms=list(SIGNING_ALGORITHMS),
            find_key=_own_keys().find_key,
        )
    except (jwt.PyJWTError, ImproperlyConfigured, *MALFORMED) as error:
        return {"signature": one_line(error)}
    faults, now = {}, timezone.now().timestamp()
    issuer = oauth2_settings.OIDC_ISS_ENDPOINT
    if issuer and claims.get("iss") != issuer:
        faults["iss"] = "its iss is not OIDC_ISS_ENDPOINT"
    if claims.get("exp", 0) <= now:
        faults["exp"] = "its exp has passed"
    if valid_from(claims) > now:
        faults["nbf"] = "its iat or nbf is in the future"
    return faults


def _own_keys() -> JWKSet:
    keys = [key.public_jwk for key in key_file.load()]
    try:
        toolkit = get_toolkit_key()
    except ImproperlyConfigured:
        return JWKSet({"keys": keys})
    public = jwt.get_algorithm_by_name(toolkit.algorithm).to_jwk(
        toolkit.private_key.public_key(), as_dict=True
    )
    return JWKSet({"keys": [*keys, {**public, "kid": toolkit.kid, "alg": toolkit.algorithm, "use": "sig"}]})


def _is_in_feed(jti: str) -> bool:
    return bool(written(RevokedToken).filter(jti=jti).exists())


def _in_words(reasons: Iterable[Reason]) -> dict[str, str]:
    return {str(reason): _WORDS[reason] for reason in reasons}


def _in_order(limits: dict[str, datetime]) -> dict[str, Any]:
    return {name: _moment(end) for name, end in sorted(limits.items(), key=lambda limit: limit[1])}


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


# Bindings


def explain_binding(application: Any, user: Any, value: str) -> Explanation:
    """Return what an application's tokens for a user are bound to if a request names a binding id.

    :param user: None for the client itself.
    :param value: what the client sends.
    """
    binding_type = application.token_binding_type
    if binding_type == NO_BINDING:
        return Explanation("nothing", faults={"token_not_bound": "the application has no token binding type"})
    named = TokenBinding.identify(application, user, binding_type, value or SHARED)
    row = written(TokenBinding).filter(key=named.key).first()
    facts: dict[str, Any] = {
        "application": application.client_id,
        "user": None if user is None else user.get_username(),
        "binding type": binding_type,
        "reference": named.reference or "(shared)",
    }
    found = Explanation("binding", facts)
    policy = policy_of(application)
    facts["policy"] = {
        each.name: getattr(policy, each.name)
        for each in TokenPolicy._meta.concrete_fields
        if each.name not in ("id", "application") and getattr(policy, each.name) != each.get_default()
    }
    facts["next token request"] = "a new token"
    if row is None:
        found.faults |= {Reason.TOKEN_INVALID: "no token was ever issued for it"}
        return found
    facts |= {"label": row.label, "first seen": _moment(row.created), "last used": _moment(row.last_used)}
    live = list(access_tokens().filter(live_access_tokens(), binding=row).order_by("pk"))
    facts["live access tokens"] = [
        {"scope": token.scope, "resource": list(token.resource), "expires": _moment(token.expires)}
        for token in live
    ]
    facts["live refresh tokens"] = refresh_tokens().filter(live_refresh_tokens(), binding=row).count()
    if live and decide(TokenType(application.token_type), live=True) is Decision.REUSE:
        left = timezone.now() + timedelta(seconds=policy.reuse_min_lifetime or 0)
        again = [token.scope for token in live if token.slot and token.expires >= left]
        if again:
            facts["next token request"] = (
                f"the same token again, for the scope {' or '.join(map(repr, again))}"
            )
    if not live and not facts["live refresh tokens"]:
        found.faults |= {Reason.TOKEN_EXPIRED: "it has no live token"}
    return found
