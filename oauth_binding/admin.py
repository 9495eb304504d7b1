"""Django's door: importing these registers what the admin shows."""

from oauth_binding.console import bindings, exchange_rules

__all__ = ["bindings", "exchange_rules"]
