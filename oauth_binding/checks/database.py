"""Checks of the databases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connections
from oauth2_provider.models import get_access_token_model

from oauth_binding.core.databases import write_alias
from oauth_binding.models import TokenBinding


@register(Tags.models)
def check_sqlite(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """W002: SQLite takes its write lock when a transaction begins."""
    alias = write_alias(get_access_token_model())
    connection = connections[alias]
    mode = str(connection.settings_dict["OPTIONS"].get("transaction_mode", "")).upper()
    if connection.vendor != "sqlite" or mode in {"IMMEDIATE", "EXCLUSIVE"}:
        return []
    return [
        Warning(
            f"The SQLite database {alias!r} does not begin its transactions with the write lock: "
            "simultaneous token requests will fail with 'database is locked'.",
            hint=f'Set DATABASES[{alias!r}]["OPTIONS"] to {{"transaction_mode": "IMMEDIATE"}}.',
            id="oauth_binding.W002",
        )
    ]


@register(Tags.models)
def check_database_of_bindings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E010: bindings are in the database of the tokens, so that one transaction has both."""
    alias = write_alias(get_access_token_model())
    if write_alias(TokenBinding) == alias:
        return []
    return [
        Error(
            f"oauth_binding.TokenBinding is not in the database of the access tokens, {alias!r}.",
            hint="Let the database router treat the app 'oauth_binding' like the token models.",
            id="oauth_binding.E010",
        )
    ]
