"""Whose tokens are exchanged: subject and actor tokens (RFC 8693 section 2.1)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from oauth2_provider.models import get_refresh_token_model
from oauth2_provider.settings import oauth2_settings

from oauth_binding.authorization_server.exchange import foreign_tokens
from oauth_binding.authorization_server.exchange.parameters import TYPE_ID, TYPE_JWT, TYPE_REFRESH, value_of
from oauth_binding.authorization_server.signing.jwt_access_tokens import is_jwt_access_token, read_claims
from oauth_binding.binding.confirmation import Confirmation
from oauth_binding.binding.semantics import subject_key
from oauth_binding.core.errors import InvalidGrantError
from oauth_binding.core.reasons import Reason
from oauth_binding.models import client_subject
from oauth_binding.storage.liveness import is_live, live_refresh_tokens, refresh_token_expiry
from oauth_binding.storage.standing import find_login, token_has_standing
from oauth_binding.storage.token_values import token_checksum
from oauth_binding.storage.tokens import access_tokens, refresh_tokens

if TYPE_CHECKING:
    from oauthlib.common import Request

    from oauth_binding.models import BoundAccessToken, BoundRefreshToken, TokenBinding


@dataclass(frozen=True, slots=True)
class Subject:
    """What a subject or actor token says, whoever issued it."""

    #: The user, or None where the token is a client's own.
    user: Any
    #: The application that the token was issued to; None where another server issued it.
    client: Any
    #: The ``iss`` of another server's token; otherwise empty.
    issuer: str
    scopes: list[str]
    #: The audiences and resources that the token is for; empty if it is for all.
    targets: list[str]
    #: None if it does not expire, which a refresh token need not.
    expires: datetime | None
    binding: TokenBinding | None
    act: dict[str, Any] | None
    may_act: Any
    #: The subject_key().
    key: str
    #: The access or refresh token itself, if this server issued it.
    row: BoundAccessToken | BoundRefreshToken | None = None
    #: The key without which it is not accepted (RFC 7800 section 3.1); None for a bearer token.
    confirmation: Confirmation | None = None

    @property
    def identity(self) -> dict[str, str]:
        """How ``act`` and ``may_act`` refer to it."""
        if self.user is None:
            return client_identity(self.client)
        sub = str(self.user.pk)
        return {"sub": sub} if self.client is None else {"sub": sub, "client_id": self.client.client_id}


def client_identity(client: Any) -> dict[str, str]:
    """Return how ``act`` and ``may_act`` refer to a client: without a ``sub`` that could be a user's."""
    subject = client_subject(client)
    identity = {"client_id": str(client.client_id)}
    return identity if subject is None else {"sub": subject, **identity}


def find_subject(request: Request, name: str) -> Subject:
    """Return what the token in a parameter says.

    :raises InvalidGrantError: it is unknown or inactive, or its user or client is disabled.
    """
    text, token_type = value_of(request, name), value_of(request, f"{name}_type")
    if token_type == TYPE_REFRESH:
        subject = _find_refresh_token(text)
    elif token_type == TYPE_ID:
        subject = _find_id_token(text, request)
    else:
        subject = _find_access_token(text, token_type)
    if subject is None and token_type == TYPE_JWT and name == "subject_token":
        subject = _find_foreign_token(text)
    # Whether the user that another server's token names is active is checked when the user is saved.
    if subject is None or not (subject.row is None or token_has_standing(subject.row, request)):
        raise InvalidGrantError(
            Reason.SUBJECT_TOKEN_INVALID, description=f"The {name} is not valid.", request=request
        )
    return subject


def _find_access_token(text: str, token_type: str) -> Subject | None:
    """Return what a live access token of this server says, or None."""
    tokens = access_tokens().select_related("application", "user", "binding", "exchange")
    token: BoundAccessToken | None = tokens.filter(token_checksum=token_checksum(text)).first()
    if token is None or not is_live(token.expires) or token.application is None:
        return None
    if token_type == TYPE_JWT and not is_jwt_access_token(text):
        return None
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
        key=_key_of(token),
        row=token,
        confirmation=Confirmation.from_stored(token.binding_confirmation),
    )


def _find_refresh_token(text: str) -> Subject | None:
    """Return what a refresh token of this server says, if it can still be used, or None."""
    tokens = refresh_tokens().select_related("application", "user", "binding", "exchange", "access_token")
    token: BoundRefreshToken | None = tokens.filter(
        token_checksum=token_checksum(text), revoked__isnull=True
    ).first()
    if token is None or token.access_token is None:
        return None
    expires = refresh_token_expiry(token)
    if not is_live(expires):
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
        may_act=_may_act(token.access_token),
        key=_pair_key(token.token_family, token.access_token),
        row=token,
        confirmation=Confirmation.from_stored(token.binding_confirmation),
    )


def _find_id_token(text: str, request: Request) -> Subject | None:
    """Return what a valid ID token that this server issued to the requesting client says, or None.

    Nobody but its audience may accept an ID token (OpenID Connect Core 1.0 section 3.1.3.7). It ends with the
    login that it stands for.
    """
    token = oauth2_settings.OAUTH2_VALIDATOR_CLASS().find_id_token(text)
    if token is None or not is_live(token.expires) or token.application != request.client:
        return None
    login: Any = find_login(token)
    if login is None:
        return None
    access = login.access_token if isinstance(login, get_refresh_token_model()) else login
    return Subject(
        user=token.user,
        client=token.application,
        issuer="",
        scopes=access.scope.split(),
        targets=list(login.resource),
        expires=min(token.expires, _login_expiry(access) or token.expires),
        binding=login.binding,
        act=None if login.exchange is None else login.exchange.act,
        may_act=_may_act(access),
        key=_key_of(login),
        row=login,
        confirmation=Confirmation.from_stored(login.binding_confirmation),
    )


def _find_foreign_token(text: str) -> Subject | None:
    """Return what a valid JWT of another server says, or None."""
    token = foreign_tokens.verify(text)
    user = None if token is None else foreign_tokens.find_user(token)
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
        confirmation=Confirmation.from_claims(token.claims),
    )


def save_user(request: Request, subject: Subject) -> Any:
    """Return the user, who may be new: created last, so that no refused request creates one.

    :raises InvalidGrantError: another request was first, and its user is disabled.
    """
    user = foreign_tokens.save_user(subject.user)
    if user is None or not user.is_active:
        raise InvalidGrantError(
            Reason.USER_INACTIVE, description="The subject_token is not valid.", request=request
        )
    return user


def _may_act(access_token: BoundAccessToken) -> Any:
    """Return the ``may_act`` claim of an access token, which holds for all that was issued with it."""
    claim = access_token.binding_may_act
    return None if claim is None else json.loads(claim)


def _login_expiry(access_token: BoundAccessToken) -> datetime | None:
    """Return when a login that nobody refreshes ends; None if it does not end by itself."""
    live = refresh_tokens().select_related("access_token").filter(live_refresh_tokens())
    refresh = live.filter(access_token=access_token).first()
    return access_token.expires if refresh is None else refresh_token_expiry(refresh)


def _key_of(login: BoundAccessToken | BoundRefreshToken) -> str:
    if isinstance(login, get_refresh_token_model()):
        return _pair_key(login.token_family, login.access_token)
    families = refresh_tokens().filter(access_token=login).values_list("token_family", flat=True)
    return _pair_key(families.first(), login)


def _pair_key(family: Any, access_token: BoundAccessToken) -> str:
    if family is None:
        return subject_key("access token", str(access_token.pk))
    return subject_key("family", str(family))
