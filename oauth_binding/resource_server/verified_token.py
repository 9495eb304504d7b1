"""Access tokens that another server has issued, and the users that they name."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from oauth_binding.binding.confirmation import Confirmation
from oauth_binding.core import moments
from oauth_binding.resource_server.settings import resource_server_settings


@dataclass(frozen=True, slots=True)
class Binding:
    """What a token is bound to."""

    #: The ``binding_type`` of the token.
    binding_type: str
    #: Its ``binding_ref``: the base64url SHA-256 of what the client has named.
    reference: str


class AccessToken:
    """A verified access token, with what APIs use of django-oauth-toolkit's access tokens."""

    #: Its user, as the setting ``USER`` returns it; None for a client's own token.
    user: Any = None

    def __init__(self, claims: dict[str, Any]) -> None:
        """:param claims: those of a JWT (RFC 9068), or the members of an introspection answer (RFC 7662)."""
        #: What the server says about it.
        self.claims = claims

    def __repr__(self) -> str:
        return f"<AccessToken of client {self.client_id!r}>"

    @property
    def client_id(self) -> str | None:
        """The client that it was issued to; None if introspection does not say."""
        return self.claims.get("client_id")

    @property
    def is_of_client(self) -> bool:
        """Whether it is a client's own, and no user is involved (RFC 9068 section 2.2)."""
        subject = self.claims.get("sub")
        return subject is None or subject == self.client_id

    @property
    def scope(self) -> str:
        """Its scopes, separated by spaces (RFC 6749 section 3.3)."""
        return str(self.claims.get("scope", ""))

    @property
    def scopes(self) -> dict[str, str]:
        """Its scopes by name, as django-oauth-toolkit has them; here nothing describes them but the name."""
        return {name: name for name in self.scope.split()}

    @property
    def expires(self) -> datetime | None:
        """When it expires; None if introspection does not say."""
        expires = self.claims.get("exp")
        return None if expires is None else moments.at(expires)

    @property
    def binding_confirmation(self) -> str | None:
        """The key that it has to be presented with, as ``member:thumbprint``, or None for a bearer token."""
        confirmation = Confirmation.from_claims(self.claims)
        return None if confirmation is None else confirmation.stored

    @property
    def binding(self) -> Binding | None:
        """What it is bound to, or None."""
        reference = self.claims.get("binding_ref")
        return None if reference is None else Binding(self.claims["binding_type"], reference)

    def is_expired(self) -> bool:
        """Return whether it has expired, allowing for clocks that differ."""
        leeway = timedelta(seconds=resource_server_settings.leeway)
        return self.expires is not None and timezone.now() - leeway >= self.expires

    def is_valid(self, scopes: Iterable[str] | None = None) -> bool:
        """Return whether it has not expired and has all of some scopes."""
        return not self.is_expired() and self.allow_scopes(scopes)

    def allow_scopes(self, scopes: Iterable[str] | None) -> bool:
        """Return whether it has all of some scopes."""
        return set(scopes or ()) <= self.scopes.keys()


@dataclass(frozen=True)
class TokenUser:
    """The user that a token names, if no table knows them. They have no permissions."""

    #: The ``sub`` of the token.
    pk: str
    username: str

    is_authenticated = True
    is_anonymous = False
    is_active = True
    is_staff = False
    is_superuser = False

    def __str__(self) -> str:
        return self.username

    @property
    def id(self) -> str:
        """The ``sub`` of the token."""
        return self.pk

    def get_username(self) -> str:
        return self.username

    def get_all_permissions(self, obj: Any = None) -> set[str]:
        return set()

    def has_perm(self, perm: str, obj: Any = None) -> bool:
        return False

    def has_perms(self, perm_list: Collection[str], obj: Any = None) -> bool:
        return not perm_list

    def has_module_perms(self, app_label: str) -> bool:
        return False


def get_user(token: AccessToken) -> TokenUser | None:
    """Return the user that a token names, or None for a client's own token.

    It is the default of the setting ``USER``, and does not ask a database.

    :param token: a token that has been verified.
    """
    if token.is_of_client:
        return None
    subject = token.claims["sub"]
    username = token.claims.get("username")
    return TokenUser(subject, username if isinstance(username, str) and username else subject)
