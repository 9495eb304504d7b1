"""Checks of the databases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connections
from oauth2_provider.models import (
    get_access_token_model,
    get_application_model,
    get_device_grant_model,
    get_grant_model,
    get_id_token_model,
    get_refresh_token_model,
)

from oauth_binding.core.databases import read_alias, write_alias
from oauth_binding.models import TokenBinding


@register(Tags.models)
def check_sqlite(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """W002: SQLite takes its write lock when a transaction begins."""
    alias = write_alias(get_access_token_model())
    if alias not in connections:
        return []  # E030
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
    if write_alias(TokenBinding) == alias or unknown_databases():
        return []
    return [
        Error(
            f"oauth_binding.TokenBinding is not in the database of the access tokens, {alias!r}.",
            hint="Let the database router treat the app 'oauth_binding' like the token models.",
            id="oauth_binding.E010",
        )
    ]


@register(Tags.models)
def check_known_databases(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E030: database routers name databases that exist."""
    return [
        Error(
            f"A database router puts {model._meta.label} into {alias!r}, which is not in DATABASES.",
            hint=f"Add {alias!r} to DATABASES, or correct the router; the databases are: "
            f"{', '.join(connections)}.",
            obj=model,
            id="oauth_binding.E030",
        )
        for model, alias in unknown_databases()
    ]


def unknown_databases() -> list[tuple[Any, str]]:
    """Return the models that are read from or written to a database that does not exist, with its alias."""
    models = [
        get_user_model(),
        get_application_model(),
        get_grant_model(),
        get_access_token_model(),
        get_refresh_token_model(),
        get_id_token_model(),
        get_device_grant_model(),
        *apps.get_app_config("oauth_binding").get_models(),
    ]
    named = {(model, alias) for model in models for alias in (read_alias(model), write_alias(model))}
    return sorted(
        ((model, alias) for model, alias in named if alias not in connections),
        key=lambda each: (each[0]._meta.label, each[1]),
    )
