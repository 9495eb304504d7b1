"""JWTs of other servers for token exchange (RFC 8693): of the issuers in ``TOKEN_EXCHANGE_ISSUERS``."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone
from jwcrypto.common import JWException
from oauth2_provider.settings import oauth2_settings

from oauth_binding.authorization_server.signing import key_file
from oauth_binding.core import moments
from oauth_binding.core.databases import write_alias
from oauth_binding.core.jose import jws
from oauth_binding.core.jose.claims import check_types, is_for, valid_from
from oauth_binding.core.jose.jwk_sets import JWKSet, remote_jwk_set
from oauth_binding.core.jose.remote_document import MALFORMED
from oauth_binding.core.log_lines import one_line
from oauth_binding.core.settings import binding_settings
from oauth_binding.core.toolkit_paths import jwk_from_pem
from oauth_binding.core.trusted_issuers import Issuer, read_issuer

logger = logging.getLogger(__name__)

#: What is raised while a token that somebody else has written is read.
_MALFORMED: Final = (jwt.PyJWTError, *MALFORMED)

#: The claims that a token has to have, besides the one that names the user.
REQUIRED: Final = ("iss", "sub", "aud", "exp", "iat")


# Tokens


@dataclass(frozen=True, slots=True)
class ForeignToken:
    """A token of another server, after it was found to be valid."""

    issuer: Issuer
    claims: dict[str, Any]

    @property
    def expires(self) -> datetime:
        """When it expires (RFC 7519 section 4.1.4)."""
        return moments.at(self.claims["exp"])

    @property
    def scopes(self) -> list[str]:
        """The scopes it stands for (RFC 8693 section 4.2)."""
        scope: str | None = self.claims.get("scope")
        return list(self.issuer.scopes) if scope is None else scope.split()

    @property
    def act(self) -> dict[str, Any] | None:
        """Who acts (RFC 8693 section 4.1), or None: ``iss`` and ``sub`` of each party, and nothing else.

        Other members would be taken for what this server says about its own clients.
        """
        act: dict[str, Any] | None = None
        for party in reversed(list(_parties(self.claims))):
            named = {"iss": party.get("iss", self.issuer.name), "sub": party["sub"]}
            act = named if act is None else {**named, "act": act}
        return act


def verify(text: str) -> ForeignToken | None:
    """Return a valid token of a configured issuer, or None; the reason is logged, and never the token.

    It has what RFC 7523 section 3 and RFC 8725 ask for: the signature of a key that the configuration, and
    never the token, leads to; ``iss``, ``sub``, ``aud``, ``exp`` and ``iat``, and the right ones; no ``nbf``
    to come; and an accepted ``typ``. What a key of this server has signed is never valid here.

    :param text: the token as it was sent; a JWS in the compact serialization (RFC 7515 section 3.1).
    """
    try:
        issuer = _get_issuer(jws.unverified_issuer(text))
        claims = jws.read(
            text,
            types=[jws.media_type(typ) for typ in issuer.types],
            algorithms=issuer.algorithms,
            find_key=functools.partial(_find_key, issuer),
        )
        _check_claims(issuer, claims)
    except _MALFORMED as error:
        logger.info("A token to be exchanged is not valid: %s (%s)", one_line(error), type(error).__name__)
        return None
    return ForeignToken(issuer, claims)


def _parties(claims: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the actors in an ``act`` claim, beginning with the one that acts now.

    :raises InvalidTokenError: the name of one of them is not a text.
    """
    party = claims.get("act")
    while party is not None:
        if not isinstance(party, dict) or not isinstance(party.get("sub"), str):
            raise jwt.InvalidTokenError("its act names a party without a sub")
        if not isinstance(party.get("iss", ""), str):
            raise jwt.InvalidTokenError("its act has an iss that is not a string")
        yield party
        party = party.get("act")


def _get_issuer(name: Any) -> Issuer:
    """Return the configured issuer that has the name in a token.

    :raises InvalidIssuerError: there is none, or its options are wrong (``manage.py check``: E013).
    """
    issuers = binding_settings.token_exchange_issuers
    if not isinstance(name, str) or name not in issuers:
        raise jwt.InvalidIssuerError("its issuer is not in TOKEN_EXCHANGE_ISSUERS")
    try:
        return read_issuer(name, issuers[name])
    except ValueError as error:
        logger.error("OAUTH_BINDING['TOKEN_EXCHANGE_ISSUERS'] has %r, which %s.", name, error)
        raise jwt.InvalidIssuerError("its issuer is misconfigured") from None


def _check_claims(issuer: Issuer, claims: dict[str, Any]) -> None:
    """Check the claims of a token whose signature is right.

    :raises InvalidTokenError: one is not accepted.
    :raises ValueError: one is malformed.
    """
    for name in (*REQUIRED, issuer.user_claim):
        if claims.get(name) is None:
            raise jwt.MissingRequiredClaimError(name)
    check_types(claims, ("iss", "sub", "jti", issuer.user_claim))
    if not isinstance(claims.get("scope"), str | None):
        raise jwt.InvalidTokenError("its scope is not a string")
    list(_parties(claims))
    now = timezone.now().timestamp()
    # A new token must not live longer than this one, so there is no leeway here.
    if claims["exp"] <= now:
        raise jwt.ExpiredSignatureError("it has expired")
    if valid_from(claims) > now + issuer.leeway:
        raise jwt.ImmatureSignatureError("it is not valid yet, by its iat or nbf")
    if now - claims["iat"] > issuer.max_age + issuer.leeway:
        raise jwt.InvalidIssuedAtError("it is older than MAX_AGE")
    if not is_for(claims, issuer.audiences):
        raise jwt.InvalidAudienceError("its aud does not have AUDIENCE")


# Users


def find_user(token: ForeignToken) -> Any:
    """Return the user that a token names, or None.

    If the issuer has ``CREATE_USERS``, it may be a new user, whom ``save_user`` saves.
    """
    issuer, value = token.issuer, token.claims[token.issuer.user_claim]
    users = _find_users(issuer.user_field or get_user_model().USERNAME_FIELD, value)
    if len(users) == 1:
        return users[0]
    if users:
        logger.warning("A token of %r names %d users by %s.", issuer.name, len(users), issuer.user_field)
        return None
    if issuer.create_users:
        return _new_user(issuer, value)
    logger.info("A token of %r names no user.", issuer.name)
    return None


def save_user(user: Any) -> Any:
    """Save a new user that ``find_user`` returned, and return the user that exists now.

    :returns: the given user; the one that another request saved first; or None if the database takes the name
        for that of another user, as MariaDB does because it ignores case.
    """
    if not user._state.adding:
        return user
    try:
        with transaction.atomic(using=_user_database()):
            user.save(using=_user_database(), force_insert=True)
    except IntegrityError:
        return next(iter(_find_users(user.USERNAME_FIELD, user.get_username())), None)
    return user


def _find_users(field: str, value: str) -> list[Any]:
    manager: Any = get_user_model()._default_manager
    try:
        users = list(manager.using(_user_database()).filter(**{field: value}))
    except (ValueError, ValidationError):
        return []  # the field can't have such a value
    # MariaDB ignores case when it compares text.
    return [user for user in users if str(getattr(user, field)) == value]


def _new_user(issuer: Issuer, name: str) -> Any:
    model: Any = get_user_model()
    user = model(**{model.USERNAME_FIELD: name})
    user.set_unusable_password()
    try:
        user.clean_fields()
    except ValidationError as error:
        fields = ", ".join(error.message_dict)
        logger.warning("A token of %r names a user that can't be created: %s", issuer.name, fields)
        return None
    return user


def _user_database() -> str:
    return write_alias(get_user_model())


# Keys


def _find_key(issuer: Issuer, kid: str | None, algorithm: str) -> jwt.PyJWK:
    """Return the key that must have signed a token; without a ``kid``, the only one of its kind.

    :raises InvalidKeyError: there is no such key or more than one, or it is this server's own.
    """
    keys = remote_jwk_set(issuer.jwks_url) if issuer.jwks_url else JWKSet(issuer.keys)
    key = keys.find_key(kid, algorithm)
    if key.key in _own_keys():
        raise jwt.InvalidKeyError("the key of its issuer is this server's own")
    return key


def _own_keys() -> list[Any]:
    pems: Iterable[str] = [
        oauth2_settings.OIDC_RSA_PRIVATE_KEY,
        *oauth2_settings.OIDC_RSA_PRIVATE_KEYS_INACTIVE,
    ]
    try:
        toolkit_keys = [_public_key(pem) for pem in pems if pem]
        return toolkit_keys + [key.private_key.public_key() for key in key_file.load()]
    except (JWException, UnsupportedAlgorithm, ValueError, key_file.KeyFileError):
        # The libraries' messages about a key may quote it.
        raise jwt.InvalidKeyError("this server's own keys can't be read") from None


def _public_key(pem: str) -> Any:
    """Return the public key of a private one.

    :raises JWException, UnsupportedAlgorithm, ValueError: it can't be read.
    """
    try:
        jwk = jwk_from_pem(pem)
    except TypeError:
        raise ValueError("it is encrypted") from None
    return jwt.PyJWK(jwk.export_public(as_dict=True)).key
