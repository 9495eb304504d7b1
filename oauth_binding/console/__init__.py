"""The admin: the classes that sites name in ``OAUTH2_PROVIDER``, and derive from."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from oauth_binding.core import toolkit_paths

if TYPE_CHECKING:
    from oauth_binding.console.applications import BindingApplicationAdmin
    from oauth_binding.console.bindings import TokenBindingAdmin
    from oauth_binding.console.exchange_rules import TokenExchangeRuleAdmin
    from oauth_binding.console.live_bindings import LiveBindingsInline
    from oauth_binding.console.live_sessions import LiveSessionsInline
    from oauth_binding.console.login_sessions import LoginSessionAdmin
    from oauth_binding.console.logout_notifications import LogoutNotificationAdmin
    from oauth_binding.console.tokens import (
        BoundAccessTokenAdmin,
        BoundRefreshTokenAdmin,
        ReadOnlyGrantAdmin,
        ReadOnlyIDTokenAdmin,
    )
    from oauth_binding.console.users import sign_out_users

__all__ = [
    "BindingApplicationAdmin",
    "BoundAccessTokenAdmin",
    "BoundRefreshTokenAdmin",
    "LiveBindingsInline",
    "LiveSessionsInline",
    "LoginSessionAdmin",
    "LogoutNotificationAdmin",
    "ReadOnlyGrantAdmin",
    "ReadOnlyIDTokenAdmin",
    "TokenBindingAdmin",
    "TokenExchangeRuleAdmin",
    "sign_out_users",
]

_ROOMS: Final = {
    "BindingApplicationAdmin": "applications",
    "BoundAccessTokenAdmin": "tokens",
    "BoundRefreshTokenAdmin": "tokens",
    "LiveBindingsInline": "live_bindings",
    "LiveSessionsInline": "live_sessions",
    "LoginSessionAdmin": "login_sessions",
    "LogoutNotificationAdmin": "logout_notifications",
    "ReadOnlyGrantAdmin": "tokens",
    "ReadOnlyIDTokenAdmin": "tokens",
    "TokenBindingAdmin": "bindings",
    "TokenExchangeRuleAdmin": "exchange_rules",
    "sign_out_users": "users",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(name)
    # First, because while their module is being imported it asks for the classes here, which derive from
    # them.
    _ = toolkit_paths.ApplicationAdmin
    return getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)
