"""The ``OAUTH_BINDING`` setting, read live."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.utils.module_loading import import_string

if TYPE_CHECKING:
    from oauth_binding.binding.binder import TokenBinder

DEFAULTS: dict[str, Any] = {
    "BINDERS": ["oauth_binding.binding.ClientRequestBinder"],
    "BINDING_HEADER": "Token-Binding-Id",
    "REVOCATION_FEED": False,
    "SIGNING_ALGORITHM": "RS256",
    "SIGNING_KEYS": None,
    "TOKEN_EXCHANGE_CASCADE": True,
    "TOKEN_EXCHANGE_ISSUERS": {},
    "TOKEN_EXCHANGE_PUBLIC_CLIENTS": False,
}


class BindingSettings:
    """Typed access to ``OAUTH_BINDING``."""

    @property
    def user_settings(self) -> dict[str, Any]:
        """The dict as the site wrote it; empty where it wrote none."""
        return getattr(settings, "OAUTH_BINDING", {})

    @property
    def binder_paths(self) -> list[str]:
        """Dotted paths of the installed binders."""
        return list(self._get("BINDERS"))

    @property
    def binders(self) -> Mapping[str, TokenBinder]:
        """The installed binders by their ``type``.

        :raises ImportError: a path in ``BINDERS`` can't be imported (``manage.py check``: E006).
        """
        return _load_binders(tuple(self.binder_paths))

    @property
    def binder_parameters(self) -> list[str]:
        """The form parameters that the installed binders read."""
        return [binder.parameter for binder in self.binders.values() if binder.parameter]

    @property
    def binding_header(self) -> str:
        """The header in which an API request names what its token is bound to."""
        return str(self._get("BINDING_HEADER"))

    @property
    def revocation_feed(self) -> bool:
        """Whether revoked JWTs are published for APIs that validate them on their own."""
        return bool(self._get("REVOCATION_FEED"))

    @property
    def signing_algorithm(self) -> str:
        """The ``alg`` of JWT access tokens whose application has not chosen one."""
        return str(self._get("SIGNING_ALGORITHM"))

    @property
    def signing_keys(self) -> Path | None:
        """The file of signing keys.

        None where the site has none, or wrote what is no path (``manage.py check``: E016).
        """
        path = self._get("SIGNING_KEYS")
        return Path(path) if path and isinstance(path, str | os.PathLike) else None

    @property
    def token_exchange_cascade(self) -> bool:
        """Whether revoking a token or a binding revokes what was exchanged from it."""
        return bool(self._get("TOKEN_EXCHANGE_CASCADE"))

    @property
    def token_exchange_issuers(self) -> dict[str, Any]:
        """Other servers whose tokens may be exchanged: by ``iss``, the options of ``issuers.Issuer``.

        Empty where the site wrote no dict (``manage.py check``: E013).
        """
        issuers = self._get("TOKEN_EXCHANGE_ISSUERS")
        return issuers if isinstance(issuers, dict) else {}

    @property
    def token_exchange_public_clients(self) -> bool:
        """Whether public clients may exchange tokens."""
        return bool(self._get("TOKEN_EXCHANGE_PUBLIC_CLIENTS"))

    def _get(self, key: str) -> Any:
        return self.user_settings.get(key, DEFAULTS[key])


@functools.cache
def _load_binders(paths: tuple[str, ...]) -> Mapping[str, TokenBinder]:
    binders = [import_string(path)() for path in paths]
    return {binder.type: binder for binder in binders}


binding_settings = BindingSettings()
