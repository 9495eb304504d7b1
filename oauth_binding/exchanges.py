"""Token exchange (RFC 8693): what a request may get, by the rules that operators have made."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from django.core.exceptions import ImproperlyConfigured
from django.db import router
from django.utils import timezone
from jwcrypto.common import JWException
from oauth2_provider.models import (
    get_access_token_model,
    get_refresh_token_model,
    refresh_token_expire_timedelta,
)
from oauth2_provider.settings import oauth2_settings
from oauthlib.oauth2.rfc6749.errors import (
    CustomOAuth2Error,
    InvalidGrantError,
    InvalidRequestError,
    InvalidScopeError,
    UnauthorizedClientError,
)

from oauth_binding import issuers
from oauth_binding.access_tokens import is_jwt_access_token, read_claims
from oauth_binding.conf import binding_settings
from oauth_binding.issuance import Exchange, set_exchange
from oauth_binding.models import TOKEN_EXCHANGE, TokenExchange, TokenExchangeRule
from oauth_binding.semantics import TokenType, exchange_key, subject_key

if TYPE_CHECKING:
    from oauthlib.common import Request

    from oauth_binding.models import BoundAccessToken, BoundRefreshToken, TokenBinding

#: The ``grant_type`` (RFC 8693 section 2.1).
GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"

#: Token type identifiers (RFC 8693 section 3).
TYPE_ACCESS: Final = "urn:ietf:params:oauth:token-type:access_token"
TYPE_JWT: Final = "urn:ietf:params:oauth:token-type:jwt"
TYPE_REFRESH: Final = "urn:ietf:params:oauth:token-type:refresh_token"
TYPE_ID: Final = "urn:ietf:params:oauth:token-type:id_token"

#: What each of the parameters that name a type may name.
_SUPPORTED: Final = {
    "subject_token_type": {TYPE_ACCESS, TYPE_JWT, TYPE_REFRESH, TYPE_ID},
    "actor_token_type": {TYPE_ACCESS, TYPE_JWT},
    "requested_token_type": {TYPE_ACCESS, TYPE_JWT, TYPE_REFRESH},
}

#: Parameters that may be sent once.
_SINGLE: Final = (
    "grant_type",
    "subject_token",
    "subject_token_type",
    "actor_token",
    "actor_token_type",
    "requested_token_type",
    "scope",
)


def check_parameters(request: Request) -> None:
    """Check what a token exchange request has, before anything is looked up (RFC 8693 section 2.1).

    :raises InvalidRequestError: a parameter is missing, repeated, or asks for what is not supported.
    """
    for name in _SINGLE:
        if len(_values(request, name)) > 1:
            raise InvalidRequestError(description=f"{name} is repeated.", request=request)
    for name in ("subject_token", "subject_token_type"):
        if not _value(request, name):
            raise InvalidRequestError(description=f"Missing {name} parameter.", request=request)
    if bool(_value(request, "actor_token")) is not bool(_value(request, "actor_token_type")):
        raise InvalidRequestError(
            description="actor_token and actor_token_type must be sent together.", request=request
        )
    for name, supported in _SUPPORTED.items():
        if _value(request, name) and _value(request, name) not in supported:
            raise InvalidRequestError(description=f"This {name} is not supported.", request=request)
    is_jwt_client = TokenType(request.client.token_type) is TokenType.JWT
    if _value(request, "requested_token_type") == TYPE_JWT and not is_jwt_client:
        raise InvalidRequestError(
            description="requested_token_type: the access tokens of this client are no JWTs.", request=request
        )


@dataclass(frozen=True, slots=True)
class Subject:
    """What a subject or actor token says, whoever issued it."""

    #: The user, or None where the token is a client's own.
    user: Any
    #: The application that the token was issued to; None where another server issued it.
    client: Any
    #: Of another server: its ``iss``; else empty.
    issuer: str
    scopes: list[str]
    #: The audiences and resources the token is for; empty where it is for all.
    targets: list[str]
    #: None where it does not expire, as a refresh token may.
    expires: datetime | None
    binding: TokenBinding | None
    act: dict[str, Any] | None
    may_act: Any
    #: The subject_key().
    key: str
    #: The access or refresh token itself, where it is one of this server.
    row: BoundAccessToken | BoundRefreshToken | None = None

    @property
    def identity(self) -> dict[str, str]:
        """What ``act`` and ``may_act`` say of it."""
        sub = self.client.client_id if self.user is None else str(self.user.pk)
        return {"sub": sub} if self.client is None else {"sub": sub, "client_id": self.client.client_id}


def authorize(request: Request) -> TokenExchangeRule:
    """Prepare a request for issuing what it may get, and return the rule that allows it.

    :param request: a token request whose client is authenticated and may exchange tokens.
    :raises OAuth2Error: the subject or actor token is not valid, or the rules do not allow the exchange.
    """
    subject = _find(request, "subject_token")
    rule = _find_rule(request, subject)
    if issued_token_type(request) == TYPE_REFRESH and not rule.refresh_tokens:
        raise InvalidRequestError(
            description="requested_token_type: this client gets no refresh tokens.", request=request
        )
    actor = _find_actor(request, subject, rule)
    request.user = subject.user
    request.scopes = _scopes(request, subject)
    targets = _targets(request, subject, rule)
    act = _act(subject, actor)
    request.user = _saved_user(request, subject)
    record = TokenExchange(
        client=request.client,
        subject_client=subject.client,
        subject_issuer=subject.issuer,
        subject=subject.key,
        subject_binding=subject.binding,
        act=act,
        key=exchange_key(str(request.client.pk), subject.key, act),
    )
    set_exchange(request, Exchange(record, subject.expires, targets, subject.row))
    return rule


def issued_token_type(request: Request) -> str:
    """Return the ``issued_token_type`` of the answer (RFC 8693 section 2.2.1)."""
    return _value(request, "requested_token_type") or TYPE_ACCESS


def is_in_good_standing(request: Request) -> bool:
    """Return whether a refresh token may be used, as far as it was once exchanged from something.

    :param request: a refresh request whose refresh token was found to be valid.
    """
    exchange: TokenExchange | None = request.refresh_token_instance.exchange
    if exchange is None:
        return True
    rules = TokenExchangeRule.objects.filter(
        client_id=exchange.client_id,
        subject_client_id=exchange.subject_client_id,
        subject_issuer=exchange.subject_issuer,
        refresh_tokens=True,
    )
    clients = (exchange.client, exchange.subject_client)
    is_known = exchange.subject_issuer in {"", *binding_settings.token_exchange_issuers}
    return bool(
        request.user.is_active
        and is_known
        and exchange.client.allows_grant_type(TOKEN_EXCHANGE)
        and all(client is None or client.is_usable(request) for client in clients)
        and rules.exists()
    )


def _values(request: Request, name: str) -> list[str]:
    return [value for key, value in request.decoded_body or () if key == name]


def _value(request: Request, name: str) -> str:
    return next(iter(_values(request, name)), "")


def _find(request: Request, name: str) -> Subject:
    """Return what the token in a parameter says.

    :raises InvalidGrantError: it is unknown or inactive, or its user or client is disabled.
    """
    text, token_type = _value(request, name), _value(request, f"{name}_type")
    if token_type == TYPE_REFRESH:
        subject = _find_refresh_token(text)
    elif token_type == TYPE_ID:
        subject = _find_id_token(text, request)
    else:
        subject = _find_access_token(text, token_type)
    if subject is None and token_type == TYPE_JWT and name == "subject_token":
        subject = _find_foreign_token(text)
    if (
        subject is None
        or (subject.client is not None and not subject.client.is_usable(request))
        or (subject.user is not None and not subject.user.is_active)
    ):
        raise InvalidGrantError(description=f"The {name} is not valid.", request=request)
    return subject


def _find_access_token(text: str, token_type: str) -> Subject | None:
    """Return what a live access token of this server says, or None."""
    tokens = _written(get_access_token_model()).select_related("application", "user", "binding", "exchange")
    token: BoundAccessToken | None = tokens.filter(token_checksum=_checksum(text)).first()
    if token is None or token.is_expired() or token.application is None:
        return None
    if token_type == TYPE_JWT and not is_jwt_access_token(text):
        return None
    families = _written(get_refresh_token_model()).filter(access_token=token)
    family = families.values_list("token_family", flat=True).first()
    return Subject(
        user=token.user,
        client=token.application,
        issuer="",
        scopes=token.scope.split(),
        targets=list(token.resource),
        expires=token.expires,
        binding=token.binding,
        act=None if token.exchange is None else token.exchange.act,
        may_act=(read_claims(text) or {}).get("may_act"),
        key=_pair_key(family, token),
        row=token,
    )


def _find_refresh_token(text: str) -> Subject | None:
    """Return what a refresh token of this server says that can still be used, or None."""
    tokens = _written(get_refresh_token_model()).select_related(
        "application", "user", "binding", "exchange", "access_token"
    )
    token: BoundRefreshToken | None = tokens.filter(
        token_checksum=_checksum(text), revoked__isnull=True
    ).first()
    if token is None or token.access_token is None:
        return None
    lifetime = refresh_token_expire_timedelta()
    expires = None if lifetime is None else token.access_token.expires + lifetime
    if expires is not None and expires <= timezone.now():
        return None
    return Subject(
        user=token.user,
        client=token.application,
        issuer="",
        scopes=token.access_token.scope.split(),
        targets=list(token.resource),
        expires=expires,
        binding=token.binding,
        act=None if token.exchange is None else token.exchange.act,
        may_act=None,
        key=_pair_key(token.token_family, token.access_token),
        row=token,
    )


def _find_id_token(text: str, request: Request) -> Subject | None:
    """Return what a valid ID token says that this server issued to the requesting client, or None.

    Whoever is not its audience must not accept an ID token (OpenID Connect Core 1.0 section 3.1.3.7).
    """
    try:
        token = oauth2_settings.OAUTH2_VALIDATOR_CLASS()._load_id_token(text)
    except (JWException, ImproperlyConfigured, ValueError, KeyError, TypeError):
        return None  # django-oauth-toolkit's reading of it is not guarded against junk
    if token is None or token.expires <= timezone.now() or token.application != request.client:
        return None
    return Subject(
        user=token.user,
        client=token.application,
        issuer="",
        scopes=token.scope.split(),
        targets=[],
        expires=token.expires,
        binding=None,
        act=None,
        may_act=None,
        key=subject_key("ID token", str(token.jti)),
    )


def _find_foreign_token(text: str) -> Subject | None:
    """Return what a valid JWT of another server says, or None."""
    token = issuers.verify(text)
    user = None if token is None else issuers.find_user(token)
    if token is None or user is None:
        return None
    return Subject(
        user=user,
        client=None,
        issuer=token.issuer.name,
        scopes=token.scopes,
        targets=[],
        expires=token.expires,
        binding=None,
        act=token.act,
        may_act=token.claims.get("may_act"),
        key=subject_key("issuer", token.issuer.name, token.claims["sub"]),
    )


def _saved_user(request: Request, subject: Subject) -> Any:
    """Return the user, who may be a new one: created last, so that no refused request creates one.

    :raises InvalidGrantError: another request was first, and its user is disabled.
    """
    user = issuers.save_user(subject.user)
    if user is None or not user.is_active:
        raise InvalidGrantError(description="The subject_token is not valid.", request=request)
    return user


def _pair_key(family: Any, access_token: BoundAccessToken) -> str:
    if family is None:
        return subject_key("access token", str(access_token.pk))
    return subject_key("family", str(family))


def _written(model: Any) -> Any:
    return model.objects.using(router.db_for_write(model))


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _find_rule(request: Request, subject: Subject) -> TokenExchangeRule:
    if subject.user is None:
        raise InvalidGrantError(description="The subject_token belongs to no user.", request=request)
    rules = TokenExchangeRule.objects.filter(
        client=request.client, subject_client=subject.client, subject_issuer=subject.issuer
    )
    rule = rules.first()
    if rule is None:
        raise UnauthorizedClientError(
            description="This client may not exchange the tokens of the subject_token's client.",
            request=request,
        )
    return rule


def _find_actor(request: Request, subject: Subject, rule: TokenExchangeRule) -> Subject | None:
    """Return the actor, or None for an impersonation (RFC 8693 section 1.1).

    :raises OAuth2Error: the rule does not allow it, or the actor is not the one that the subject token names.
    """
    if not _value(request, "actor_token"):
        if not rule.impersonation:
            raise UnauthorizedClientError(
                description="This client may not impersonate: actor_token is required.", request=request
            )
        acting = {"sub": request.client.client_id, "client_id": request.client.client_id}
        _check_may_act(request, subject.may_act, acting)
        return None
    if not rule.delegation:
        raise UnauthorizedClientError(
            description="This client may not act for others: actor_token is not allowed.", request=request
        )
    actor = _find(request, "actor_token")
    if actor.client != request.client:
        raise InvalidGrantError(description="The actor_token was issued to another client.", request=request)
    _check_may_act(request, subject.may_act, actor.identity)
    return actor


def _check_may_act(request: Request, may_act: Any, acting: dict[str, str]) -> None:
    """Honour the ``may_act`` claim of the subject token (RFC 8693 section 4.4)."""
    if may_act is None:
        return
    acting = {**acting, "iss": oauth2_settings.oidc_issuer(request)}
    named = may_act if isinstance(may_act, dict) else {}
    if named.keys() <= {"iss"} or any(acting.get(name) != value for name, value in named.items()):
        raise InvalidGrantError(
            description="The subject_token names another party that may act for its subject.", request=request
        )


def _act(subject: Subject, actor: Subject | None) -> dict[str, Any] | None:
    """Return the ``act`` claim; who acted before is inside of who acts now (RFC 8693 section 4.1)."""
    if actor is None or subject.act is None:
        return subject.act if actor is None else actor.identity
    return {**actor.identity, "act": subject.act}


def _scopes(request: Request, subject: Subject) -> list[str]:
    """Return the scopes of the new token: never beyond those of the subject token and of the client."""
    held = subject.scopes
    asked = _value(request, "scope").split()
    validate = oauth2_settings.OAUTH2_VALIDATOR_CLASS().validate_scopes
    if asked:
        allowed = set(asked) <= set(held) and validate(request.client_id, asked, request.client, request)
        scopes = asked
    else:
        scopes = [scope for scope in held if validate(request.client_id, [scope], request.client, request)]
        allowed = bool(scopes) or not held
    if not allowed:
        raise InvalidScopeError(request=request)
    return scopes


def _targets(request: Request, subject: Subject, rule: TokenExchangeRule) -> list[str]:
    """Return the audiences and resources of the new token: those asked for, or those of the subject token."""
    asked = [*_values(request, "audience"), *_values(request, "resource")]
    targets = list(dict.fromkeys(value for value in asked if value)) or subject.targets
    allowed = rule.audiences.split()
    if not set(targets) <= set(allowed) or bool(targets) is not bool(allowed):
        name = "resource" if not _values(request, "audience") and _values(request, "resource") else "audience"
        raise CustomOAuth2Error(
            error="invalid_target",
            description=f"This client may not exchange for this {name}, or it has to name one.",
            request=request,
        )
    return targets


def may_exchange(client: Any) -> bool:
    """Return whether the settings let a kind of client exchange tokens at all."""
    is_public = client.client_type == client.CLIENT_PUBLIC
    return not is_public or binding_settings.token_exchange_public_clients
