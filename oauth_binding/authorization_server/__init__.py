"""The server that issues tokens: what sites name in their settings, derive from and call.

The names are loaded when they are asked for: importing one room of this package does not import the others.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from oauth_binding.authorization_server.revocation.revoke import (
        revoke_access_token,
        revoke_binding,
        revoke_refresh_token,
        revoke_unbound_tokens,
    )
    from oauth_binding.authorization_server.toolkit.backend import BindingOAuthLibCore
    from oauth_binding.authorization_server.toolkit.client_secrets import (
        ClientSecretGenerator,
        GeneratedSecretHasher,
    )
    from oauth_binding.authorization_server.toolkit.generators import (
        generate_access_token,
        generate_refresh_token,
    )
    from oauth_binding.authorization_server.toolkit.validator import BindingOAuth2Validator

__all__ = [
    "BindingOAuth2Validator",
    "BindingOAuthLibCore",
    "ClientSecretGenerator",
    "GeneratedSecretHasher",
    "generate_access_token",
    "generate_refresh_token",
    "revoke_access_token",
    "revoke_binding",
    "revoke_refresh_token",
    "revoke_unbound_tokens",
]

_ROOMS: Final = {
    "BindingOAuth2Validator": "toolkit.validator",
    "BindingOAuthLibCore": "toolkit.backend",
    "ClientSecretGenerator": "toolkit.client_secrets",
    "GeneratedSecretHasher": "toolkit.client_secrets",
    "generate_access_token": "toolkit.generators",
    "generate_refresh_token": "toolkit.generators",
    "revoke_access_token": "revocation.revoke",
    "revoke_binding": "revocation.revoke",
    "revoke_refresh_token": "revocation.revoke",
    "revoke_unbound_tokens": "revocation.revoke",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(name)
    return getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)
