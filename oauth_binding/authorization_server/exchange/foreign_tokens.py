"""JWTs of other servers for token exchange (RFC 8693): of the issuers in ``TOKEN_EXCHANGE_ISSUERS``."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import jwt
from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone
from oauth2_provider.settings import oauth2_settings

from oauth_binding.authorization_server.signing import key_file
from oauth_binding.core.databases import write_alias
from oauth_binding.core.jose import strict_json
from oauth_binding.core.jose.algorithms import ALGORITHM_LIST
from oauth_binding.core.jose.jwk_sets import JWKSet, remote_jwk_set
from oauth_binding.core.jose.jws import media_type
from oauth_binding.core.jose.remote import MALFORMED
from oauth_binding.core.setting_rules import (
    SECURE_URL,
    Rule,
    is_flag,
    is_list,
    is_number,
    is_text,
    is_text_or_list,
    option_problems,
)
from oauth_binding.core.settings import binding_settings
from oauth_binding.core.toolkit_paths import jwk_from_pem

logger = logging.getLogger(__name__)

#: What reading a token raises that somebody else has written.
_MALFORMED: Final = (jwt.PyJWTError, *MALFORMED)


# Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """Another server whose tokens may be exchanged: an item of ``TOKEN_EXCHANGE_ISSUERS``.

    Each field but the name is an option, in capitals there. Required are ``AUDIENCE``, and either
    ``JWKS_URL`` or ``KEYS``.
    """

    #: The ``iss`` claim of its tokens (RFC 7519 section 4.1.1).
    name: str
    #: Where its JWK set is fetched (RFC 7517 section 5); http only from the machine itself.
    jwks_url: str = ""
    #: The JWK set, where it is not fetched.
    keys: dict[str, Any] | None = None
    #: What its tokens have to have in ``aud``: one of these values, which stand for this server.
    audience: str | Sequence[str]
    #: The ``alg`` values that are accepted; see :data:`oauth_binding.core.jose.algorithms.ALGORITHMS`.
    algorithms: Sequence[str] = ("RS256",)
    #: The claim that names the user.
    user_claim: str = "sub"
    #: The field of the user model that has the same value; empty for its ``USERNAME_FIELD``.
    user_field: str = ""
    #: Whether a user that is named for the first time is created, with an unusable password.
    create_users: bool = False
    #: The scopes of a token without a ``scope`` claim.
    scopes: Sequence[str] = ()
    #: The ``typ`` headers that are accepted, with or without "application/"; None or "" for a missing one.
    types: Sequence[str | None] = ("at+jwt", "JWT")
    #: The longest time since ``iat``, in seconds.
    max_age: float = 3600
    #: How far the clocks may be apart for ``iat`` and ``nbf``, in seconds. ``exp`` is taken at its word.
    leeway: float = 30


def problems(issuers: Any) -> Iterator[str]:
    """Yield what is wrong with a value of ``TOKEN_EXCHANGE_ISSUERS``.

    :param issuers: the setting as the site wrote it.
    """
    if not isinstance(issuers, dict):
        yield "is not a dict"
        return
    for name, options in issuers.items():
        for problem in _problems_of(name, options):
            yield f"has {name!r}, which {problem}"


def _problems_of(name: Any, options: Any) -> Iterator[str]:
    if not (is_text(name) and len(name) <= 255):
        yield "is not an issuer of 1 to 255 characters"
    if not isinstance(options, dict):
        yield "is not a dict"
        return
    yield from option_problems(options, _OPTIONS)
    if ("JWKS_URL" in options) is ("KEYS" in options):
        yield "has to have either JWKS_URL or KEYS"
    if "AUDIENCE" not in options:
        yield "has no AUDIENCE"
    username = get_user_model().USERNAME_FIELD
    if options.get("CREATE_USERS") and options.get("USER_FIELD", username) != username:
        yield f"creates users, which needs the USER_FIELD {username!r}"


def _is_jwk_set(value: Any) -> bool:
    try:
        JWKSet(value)
    except ValueError:
        return False
    return True


def _is_user_field(value: Any) -> bool:
    try:
        field: Any = get_user_model()._meta.get_field(value)
    except FieldDoesNotExist:
        return False
    return bool(field.concrete and not field.is_relation)


#: The options of an issuer.
_OPTIONS: Final[dict[str, Rule]] = {
    "JWKS_URL": SECURE_URL,
    "KEYS": (_is_jwk_set, "a JWK set with public keys"),
    "AUDIENCE": (is_text_or_list, "a text or a list of texts"),
    "ALGORITHMS": ALGORITHM_LIST,
    "USER_CLAIM": (is_text, "the name of a claim"),
    "USER_FIELD": (_is_user_field, "a field of the user model"),
    "CREATE_USERS": (is_flag, "True or False"),
    "SCOPES": (lambda value: is_list(value, is_text), "a list of scopes"),
    "TYPES": (
        lambda value: bool(value) and is_list(value, lambda item: item is None or isinstance(item, str)),
        "a list of typ headers",
    ),
    "MAX_AGE": (is_number, "a number of seconds"),
    "LEEWAY": (is_number, "a number of seconds"),
}


def _get_issuer(name: Any) -> Issuer:
    """Return the configured issuer of a name that a token has.

    :raises InvalidIssuerError: there is none, or its options are no good (``manage.py check``: E013).
    """
    issuers = binding_settings.token_exchange_issuers
    if not isinstance(name, str) or name not in issuers:
        raise jwt.InvalidIssuerError("its issuer is not in TOKEN_EXCHANGE_ISSUERS")
    for problem in _problems_of(name, issuers[name]):
        logger.error("OAUTH_BINDING['TOKEN_EXCHANGE_ISSUERS'] has %r, which %s.", name, problem)
        raise jwt.InvalidIssuerError("its issuer is misconfigured")
    return Issuer(name=name, **{option.lower(): value for option, value in issuers[name].items()})


# Tokens


@dataclass(frozen=True, slots=True)
class ForeignToken:
    """A token of another server, after it was found to be valid."""

    issuer: Issuer
    claims: dict[str, Any]

    @property
    def expires(self) -> datetime:
        """When it expires (RFC 7519 section 4.1.4)."""
        return datetime.fromtimestamp(self.claims["exp"], UTC)

    @property
    def scopes(self) -> list[str]:
        """The scopes it stands for (RFC 8693 section 4.2)."""
        scope: str | None = self.claims.get("scope")
        return list(self.issuer.scopes) if scope is None else scope.split()

    @property
    def act(self) -> dict[str, Any] | None:
        """Who acts (RFC 8693 section 4.1), or None."""
        act = self.claims.get("act")
        return act if isinstance(act, dict) else None


def verify(text: str) -> ForeignToken | None:
    """Return a valid token of a configured issuer, or None; the reason is logged, and never the token.

    It has what RFC 7523 section 3 and RFC 8725 ask for: the signature of a key that the configuration leads
    to, and never the token; ``iss``, ``sub``, ``aud``, ``exp`` and ``iat``, and the right ones; no ``nbf`` to
    come; and an accepted ``typ``. What a key of this server has signed is never valid here.

    :param text: the token as it was sent; a JWS in the compact serialization (RFC 7515 section 3.1).
    """
    try:
        header = jwt.get_unverified_header(text)
        issuer = _get_issuer(jwt.decode(text, options={"verify_signature": False}).get("iss"))
        return _verify(text, header, issuer)
    except _MALFORMED as error:
        logger.info("A token to be exchanged is not valid: %s (%s)", error, type(error).__name__)
        return None


def _verify(text: str, header: dict[str, Any], issuer: Issuer) -> ForeignToken:
    if "crit" in header:
        raise jwt.InvalidTokenError("it has critical headers, and none is understood")
    if media_type(header.get("typ")) not in map(media_type, issuer.types):
        raise jwt.InvalidTokenError("its typ is not accepted")
    algorithm: Any = header.get("alg")
    if algorithm not in issuer.algorithms:
        raise jwt.InvalidAlgorithmError("its alg is not accepted")
    claims: dict[str, Any] = jwt.decode(
        text,
        _find_key(issuer, header.get("kid"), algorithm),
        algorithms=[algorithm],
        audience=issuer.audience,
        issuer=issuer.name,
        leeway=issuer.leeway,
        options={"require": ["iss", "sub", "aud", "exp", "iat"], "enforce_minimum_key_length": True},
    )
    token = ForeignToken(issuer, claims)
    _check_values(token)
    return token


def _check_values(token: ForeignToken) -> None:
    """Check what is left to check of a token whose signature is right.

    :raises InvalidTokenError: a claim is not accepted.
    :raises ValueError, TypeError, OverflowError: a claim is malformed.
    """
    issuer, claims = token.issuer, token.claims
    now = timezone.now()
    # A new token is to live no longer than this one, so there is no leeway here.
    if token.expires <= now:
        raise jwt.ExpiredSignatureError("it has expired")
    if now.timestamp() - claims["iat"] > issuer.max_age + issuer.leeway:
        raise jwt.InvalidIssuedAtError("it is older than MAX_AGE")
    if not (is_text(claims["sub"]) and is_text(claims.get(issuer.user_claim))):
        raise jwt.InvalidTokenError("its subject is not a text")
    if not isinstance(claims.get("scope"), str | None):
        raise jwt.InvalidTokenError("its scope is not a text")
    strict_json.check(claims)


# Users


def find_user(token: ForeignToken) -> Any:
    """Return the user that a token names, or None.

    Where the issuer has ``CREATE_USERS`` it may be a new one, which :func:`save_user` saves.
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
    """Save a user of :func:`find_user` that is new, and return the user that there is now.

    :returns: the given user; the one that another request saved first; or None where the database takes the
        name for that of another user, as MariaDB does without regard to case.
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
    except (ValueError, TypeError, ValidationError):
        return []  # the field can't have such a value
    # MariaDB compares text without regard to case.
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


def _find_key(issuer: Issuer, kid: Any, algorithm: str) -> jwt.PyJWK:
    """Return the key that has to have signed a token; without a ``kid``, the only one of its kind.

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
    toolkit_keys = [jwt.PyJWK(jwk_from_pem(pem).export_public(as_dict=True)).key for pem in pems if pem]
    try:
        return toolkit_keys + [key.private_key.public_key() for key in key_file.load()]
    except key_file.KeyFileError as error:
        raise jwt.InvalidKeyError("this server's own keys can't be read") from error
