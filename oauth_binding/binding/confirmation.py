"""What a sender-constrained token is confirmed by: the digest of a key that its sender has to have."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

#: The ``cnf`` member of a key that is proven with DPoP (RFC 9449 section 6.1).
JWK_THUMBPRINT: Final = "jkt"

#: The longest stored form of a confirmation, in characters.
MAX_STORED_LENGTH: Final = 64


_THUMBPRINT: Final = re.compile("[A-Za-z0-9_-]{43}")


def is_thumbprint(text: str) -> bool:
    """Return whether a text has the form of a thumbprint: the base64url SHA-256 of a key (RFC 7638)."""
    return _THUMBPRINT.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Confirmation:
    """A confirmation (RFC 7800 section 3.1) that is a digest of a key."""

    #: The member of ``cnf``, such as ``jkt``.
    member: str
    #: The base64url SHA-256 without padding: 43 characters. It is public.
    thumbprint: str

    @property
    def stored(self) -> str:
        """The value of a token's column ``binding_confirmation``."""
        return f"{self.member}:{self.thumbprint}"

    @property
    def claims(self) -> dict[str, dict[str, str]]:
        """What introspection and JWTs say about it (RFC 7800 section 3.1)."""
        return {"cnf": {self.member: self.thumbprint}}

    @classmethod
    def from_claims(cls, claims: Mapping[str, Any]) -> Confirmation | None:
        """Return the confirmation in claims (RFC 7800 section 3.1), or None: it is a bearer token.

        One that is not understood, or has more than one key, can't be proven by anybody, but is not None.

        :param claims: those of a JWT or of introspection.
        """
        confirmation = claims.get("cnf")
        if confirmation is None:
            return None
        thumbprint = confirmation.get(JWK_THUMBPRINT) if isinstance(confirmation, dict) else None
        if not isinstance(thumbprint, str) or len(confirmation) != 1:
            return cls("cnf", "")
        return cls(JWK_THUMBPRINT, thumbprint)

    @classmethod
    def from_stored(cls, stored: str | None) -> Confirmation | None:
        """Return the confirmation in a column, or None: the token is a bearer token."""
        if stored is None:
            return None
        member, _colon, thumbprint = stored.rpartition(":")
        return cls(member, thumbprint)
