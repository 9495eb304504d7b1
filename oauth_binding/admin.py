"""Where Django looks for admin classes: importing these registers what the admin shows."""

from oauth_binding.console import bindings, exchange_rules, login_sessions, logout_notifications
from oauth_binding.console.users import add_to_admin_of_users

__all__ = ["bindings", "exchange_rules", "login_sessions", "logout_notifications"]

add_to_admin_of_users()
