"""A fast hash for client secrets that were generated.

A password hasher is slow because passwords can be guessed. A generated client secret can't: trying out one in
2**256 takes for ever with a fast hash, too. So one round of SHA-256 keeps it as safe, and each request of its
client gets by without the hundreds of milliseconds.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from typing import Any, Final

from django.contrib.auth.hashers import (
    BasePasswordHasher,
    get_hasher,
    get_hashers,
    get_hashers_by_algorithm,
    identify_hasher,
    mask_hash,
    must_update_salt,
)
from django.core.exceptions import ImproperlyConfigured
from django.utils.crypto import constant_time_compare
from django.utils.translation import gettext_noop as _

#: What generators make: 256 bits in base64url are 43 characters (``secrets.token_urlsafe(32)``).
_FORM: Final = re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9])[A-Za-z0-9._~-]{43,}")


def is_generated(secret: object) -> bool:
    """Return whether a secret looks generated, as one of 256 bits does that was not made up by somebody.

    It has at least 43 characters (unreserved ones, RFC 3986 section 2.3), with lower-case and upper-case
    letters and digits; these take turns as often as in a random text, which they do not in one of words; and
    little of it comes again. Of those that are generated, one in two hundred does not look so at 43
    characters, and one in hundreds of thousands at the 128 of django-oauth-toolkit.
    """
    if not isinstance(secret, str) or not _FORM.fullmatch(secret):
        return False
    kinds = [(character.isdigit(), character.isupper()) for character in secret if character.isalnum()]
    turns = sum(one != other for one, other in itertools.pairwise(kinds))
    pairs = list(itertools.pairwise(secret))
    return turns >= 0.4 * len(kinds) and len(set(pairs)) >= 0.75 * len(pairs)


def preferred_hasher(secret: str, stored: str, preference: str) -> BasePasswordHasher | None:
    """Return the hasher that a client secret is to be hashed with again, or None where its hash may stay.

    Only to and from the fast hash; what else a site changes about its hashers is not for here.

    :param stored: what is stored for the secret.
    :param preference: the site's hasher for client secrets, ``"default"`` or the name of an algorithm.
    """
    try:
        current, preferred = identify_hasher(stored), get_hasher(preference)
    except ValueError:
        return None  # not hashed, or by a hasher that is not installed
    if current.algorithm == preferred.algorithm:
        return None
    if isinstance(preferred, GeneratedSecretHasher):
        return preferred if is_generated(secret) else None
    return preferred if isinstance(current, GeneratedSecretHasher) else None


def is_orphaned(stored: str) -> bool:
    """Return whether what is stored for a secret is a fast hash, and nothing here can tell so any more."""
    return stored.startswith(f"{GeneratedSecretHasher.algorithm}$") and not is_installed()


def is_installed() -> bool:
    """Return whether ``PASSWORD_HASHERS`` has the fast hasher."""
    return GeneratedSecretHasher.algorithm in get_hashers_by_algorithm()


class GeneratedSecretHasher(BasePasswordHasher):
    """One round of salted SHA-256, for generated secrets only; all others get the slow hash.

    List it in ``PASSWORD_HASHERS``, but not first, and choose it for client secrets with
    ``OAUTH2_PROVIDER["CLIENT_SECRET_HASHER"]``.
    """

    algorithm = "oauth_binding_sha256"

    def hasher_for(self, secret: object) -> BasePasswordHasher:
        """Return this hasher for a generated secret, and for another the first of ``PASSWORD_HASHERS``.

        :raises ImproperlyConfigured: ``PASSWORD_HASHERS`` has no other hasher than this one.
        """
        if is_generated(secret):
            return self
        for hasher in get_hashers():
            if hasher.algorithm != self.algorithm:
                return hasher
        raise ImproperlyConfigured("PASSWORD_HASHERS has no hasher for passwords.")

    def encode(self, password: str, salt: str) -> str:
        """Return the hash of a secret: a slow one, by the hasher for passwords, unless it was generated.

        :raises ValueError: the salt is empty or has a ``$``.
        """
        hasher = self.hasher_for(password)
        if hasher is not self:
            return hasher.encode(password, hasher.salt())
        if not salt or "$" in salt:
            raise ValueError("The salt must not be empty, nor contain $.")
        return f"{self.algorithm}${salt}${self._digest(password, salt)}"

    def decode(self, encoded: str) -> dict[str, Any]:
        """Return the parts of a hash."""
        algorithm, salt, digest = encoded.split("$", 2)
        return {"algorithm": algorithm, "salt": salt, "hash": digest}

    def verify(self, password: str, encoded: str) -> bool:
        """Return whether a secret is the one that was hashed, in the same time for each wrong one."""
        decoded = self.decode(encoded)
        return constant_time_compare(decoded["hash"], self._digest(password, decoded["salt"]))

    def must_update(self, encoded: str) -> bool:
        """Return whether a hash has a shorter salt than new ones."""
        return must_update_salt(self.decode(encoded)["salt"], self.salt_entropy)

    def harden_runtime(self, password: str, encoded: str) -> None:
        """Do nothing: there is one round, and never more."""

    def safe_summary(self, encoded: str) -> dict[Any, Any]:
        """Return what may be shown of a hash."""
        decoded = self.decode(encoded)
        return {
            _("algorithm"): decoded["algorithm"],
            _("salt"): mask_hash(decoded["salt"], show=2),
            _("hash"): mask_hash(decoded["hash"]),
        }

    @staticmethod
    def _digest(secret: str, salt: str) -> str:
        return hashlib.sha256(f"{salt}{secret}".encode()).hexdigest()
