"""System checks: what is missing, contradictory or misspelt in a site's set-up."""

from oauth_binding.checks import (
    applications,
    client_ids,
    client_secrets,
    database,
    keys,
    lifetimes,
    login_page,
    middleware,
    models,
    provider_entries,
    resources,
    scopes,
    settings,
    time_zone,
    toolkit_defaults,
    urls,
)

__all__ = [
    "applications",
    "client_ids",
    "client_secrets",
    "database",
    "keys",
    "lifetimes",
    "login_page",
    "middleware",
    "models",
    "provider_entries",
    "resources",
    "scopes",
    "settings",
    "time_zone",
    "toolkit_defaults",
    "urls",
]
