"""The issuers whose tokens may be exchanged (RFC 8693): what ``TOKEN_EXCHANGE_ISSUERS`` says of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist

from oauth_binding.core.jose.algorithms import ALGORITHM_LIST
from oauth_binding.core.jose.jwk_sets import JWKSet
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """Another server whose tokens may be exchanged: an item of ``TOKEN_EXCHANGE_ISSUERS``.

    Each field but the name is an option, in capitals there. ``AUDIENCE`` is required, and so is either
    ``JWKS_URL`` or ``KEYS``.
    """

    #: The ``iss`` claim of its tokens (RFC 7519 section 4.1.1).
    name: str
    #: Where its JWK set is fetched from (RFC 7517 section 5); http only for the machine itself.
    jwks_url: str = ""
    #: The JWK set, if it is not fetched.
    keys: dict[str, Any] | None = None
    #: The values that stand for this server: its tokens must have one of them in ``aud``.
    audience: str | Sequence[str]
    #: The ``alg`` values that are accepted; see ``oauth_binding.core.jose.algorithms.ALGORITHMS``.
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

    @property
    def audiences(self) -> Sequence[str]:
        """The accepted values of ``aud``."""
        return [self.audience] if isinstance(self.audience, str) else self.audience


def read_issuer(name: str, options: Any) -> Issuer:
    """Return an issuer.

    :param name: its ``iss``.
    :param options: as the site wrote them.
    :raises ValueError: they are wrong; the text completes "TOKEN_EXCHANGE_ISSUERS has one that ...".
    """
    for problem in _problems_of(name, options):
        raise ValueError(problem)
    return Issuer(name=name, **{option.lower(): value for option, value in options.items()})


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
    "AUDIENCE": (is_text_or_list, "a string or a list of strings"),
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
