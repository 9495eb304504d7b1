"""What client-request binding means, without Django: the decision table and the keys it works on."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final

#: The ``token_binding_type`` of an application that does not bind its tokens.
NO_BINDING: Final = "none"

#: The binding value of the shared slot: the token request named no binding.
SHARED: Final = ""


class TokenType(Enum):
    """The form of an application's access tokens."""

    OPAQUE = "opaque"
    JWT = "jwt"


class Decision(Enum):
    """What a token request does with the slot it asks for."""

    ISSUE = "issue"
    REUSE = "reuse"
    REPLACE = "replace"


#: (token type, is there a live token in the slot?) -> decision. The whole of client-request binding.
DECISIONS: Final[Mapping[tuple[TokenType, bool], Decision]] = MappingProxyType(
    {
        (TokenType.OPAQUE, False): Decision.ISSUE,
        (TokenType.OPAQUE, True): Decision.REUSE,
        (TokenType.JWT, False): Decision.ISSUE,
        (TokenType.JWT, True): Decision.REPLACE,
    }
)


def decide(token_type: TokenType, live: bool) -> Decision:
    """Return what a token request does with its slot.

    :param token_type: the form of the access tokens of the requesting application.
    :param live: whether the slot holds an access token that is neither expired nor revoked.
    """
    return DECISIONS[token_type, live]


def binding_key(client: str, subject: str | None, binding_type: str, binding_value: str) -> str:
    """Return the identity of a binding: 64 lower-case hexadecimal characters.

    :param client: primary key of the application.
    :param subject: primary key of the user; None where the client acts for itself (RFC 6749 section 4.4).
    :param binding_type: the ``type`` of the binder.
    :param binding_value: what the binder returned, or ``SHARED``.
    """
    return _digest([client, subject, binding_type, binding_value])


def slot_key(binding: str, scopes: Iterable[str], resources: Iterable[str]) -> str:
    """Return the identity of a slot: 64 lower-case hexadecimal characters.

    A slot holds at most one live access and refresh token pair.

    :param binding: the ``binding_key``, which covers client and subject.
    :param scopes: the granted scopes (RFC 6749 section 3.3); order and repetition do not matter.
    :param resources: the resource indicators (RFC 8707); order and repetition do not matter.
    """
    return _digest([binding, sorted(set(scopes)), sorted(set(resources))])


def subject_key(kind: str, *names: str) -> str:
    """Return the identity of what a token was exchanged from: 64 lower-case hexadecimal characters.

    :param kind: ``family`` of refresh tokens, which stays the same as they are refreshed; ``access token`` if
        there is none; ``ID token``; or ``issuer`` of a token of another server.
    :param names: what distinguishes one of that kind from the others.
    """
    return _digest([kind, *names])


def exchange_key(client: str, subject: str, act: object) -> str:
    """Return the identity of an exchange: 64 lower-case hexadecimal characters.

    :param client: primary key of the application that exchanges.
    :param subject: the ``subject_key``.
    :param act: the ``act`` claim, or None.
    """
    return _digest([client, subject, act])


def binding_reference(binding_value: str) -> str:
    """Return the ``binding_ref`` of a binding value: 43 characters.

    It is the base64url SHA-256 of the value's UTF-8 bytes without padding, the form of a
    ``jkt`` (RFC 7638 section 3) or ``x5t#S256`` (RFC 8705 section 3.1).

    :param binding_value: what the binder returned.
    """
    digest = hashlib.sha256(binding_value.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _digest(parts: list[object]) -> str:
    # JSON keeps the parts apart whatever they contain.
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
