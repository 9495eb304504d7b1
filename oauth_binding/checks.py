"""System checks: what is missing, contradictory or misspelt in a site's set-up."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.db import connections, models, router
from django.db.migrations.executor import MigrationExecutor
from django.urls import NoReverseMatch, Resolver404, resolve, reverse
from django.utils.module_loading import import_string
from oauth2_provider.models import get_access_token_model, get_application_model, get_refresh_token_model
from oauth2_provider.settings import oauth2_settings

from oauth_binding import OAUTH2_PROVIDER_ENTRIES, tokens, views
from oauth_binding.binders.base import TokenBinder
from oauth_binding.conf import DEFAULTS, binding_settings
from oauth_binding.keys import get_signing_key
from oauth_binding.models import (
    AccessTokenBindingFields,
    ApplicationBindingFields,
    RefreshTokenBindingFields,
    TokenBinding,
    binding_type_choices,
)
from oauth_binding.semantics import NO_BINDING, TokenType
from oauth_binding.server import BindingOAuthLibCore
from oauth_binding.validators import BindingOAuth2Validator

_ENTRIES_HINT = (
    "Spread oauth_binding.OAUTH2_PROVIDER_ENTRIES into OAUTH2_PROVIDER, or set {entry!r} to {value!r}."
)
_SETTINGS_HINT = f"The settings are: {', '.join(sorted(DEFAULTS))}."


def _active_models() -> list[tuple[type[models.Model], type[models.Model], str]]:
    return [
        (get_application_model(), ApplicationBindingFields, "BoundApplication"),
        (get_access_token_model(), AccessTokenBindingFields, "BoundAccessToken"),
        (get_refresh_token_model(), RefreshTokenBindingFields, "BoundRefreshToken"),
    ]


@register(Tags.security)
def check_provider_entries(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E001 to E004: ``OAUTH2_PROVIDER`` uses this app's validator, backend and generators."""
    return list(_check_entries())


def _check_entries() -> Iterator[CheckMessage]:
    classes = [
        ("E001", "OAUTH2_VALIDATOR_CLASS", BindingOAuth2Validator),
        ("E002", "OAUTH2_BACKEND_CLASS", BindingOAuthLibCore),
    ]
    generators = [
        ("E003", "ACCESS_TOKEN_GENERATOR", "token_generator", tokens.generate_access_token),
        ("E004", "REFRESH_TOKEN_GENERATOR", "refresh_token_generator", tokens.generate_refresh_token),
    ]
    for code, entry, base in classes:
        configured = _provider_entry(entry)
        if not (inspect.isclass(configured) and issubclass(configured, base)):
            yield _entry_error(code, entry, f"is not a subclass of {OAUTH2_PROVIDER_ENTRIES[entry]}")
    for code, entry, argument, generator in generators:
        # EXTRA_SERVER_KWARGS takes precedence over the entry.
        if oauth2_settings.EXTRA_SERVER_KWARGS.get(argument, _provider_entry(entry)) is not generator:
            yield _entry_error(code, entry, f"is not {OAUTH2_PROVIDER_ENTRIES[entry]}")


def _provider_entry(entry: str) -> object:
    try:
        return getattr(oauth2_settings, entry, None)  # an empty one is an AttributeError
    except ImportError:
        return None


def _entry_error(code: str, entry: str, what: str) -> Error:
    return Error(
        f"OAUTH2_PROVIDER[{entry!r}] {what}.",
        hint=_ENTRIES_HINT.format(entry=entry, value=OAUTH2_PROVIDER_ENTRIES[entry]),
        id=f"oauth_binding.{code}",
    )


@register(Tags.security)
def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E005 and E006: ``OAUTH_BINDING`` has known keys, and its binders are binders."""
    user_settings: Any = binding_settings.user_settings
    if not isinstance(user_settings, dict):
        return [Error("OAUTH_BINDING is not a dict.", hint=_SETTINGS_HINT, id="oauth_binding.E005")]
    messages: list[CheckMessage] = [
        Error(f"OAUTH_BINDING[{key!r}] is not a setting.", hint=_SETTINGS_HINT, id="oauth_binding.E005")
        for key in sorted(user_settings.keys() - DEFAULTS.keys(), key=str)
    ]
    return messages + [
        Error(
            f"OAUTH_BINDING['BINDERS'] {problem}.",
            hint="Give a list of the dotted paths of subclasses of oauth_binding.binders.base.TokenBinder.",
            id="oauth_binding.E006",
        )
        for problem in _binder_problems(user_settings.get("BINDERS", DEFAULTS["BINDERS"]))
    ]


def _binder_problems(paths: Any) -> Iterator[str]:
    if not isinstance(paths, list | tuple) or not all(isinstance(path, str) for path in paths):
        yield "is not a list of dotted paths"
        return
    seen: set[str] = set()
    for path in paths:
        problem = _binder_problem(path, seen)
        if problem:
            yield f"has {path!r}, which {problem}"


def _binder_problem(path: str, seen: set[str]) -> str | None:
    try:
        binder = import_string(path)
    except ImportError as error:
        return f"can't be imported ({error})"
    if not (inspect.isclass(binder) and issubclass(binder, TokenBinder)):
        return "is not a TokenBinder"
    binding_type = getattr(binder, "type", None)
    if not (isinstance(binding_type, str) and 1 <= len(binding_type) <= 64):
        return "has no type of 1 to 64 characters"
    if not getattr(binder, "label", None):
        return "has no label"
    if binding_type == NO_BINDING or binding_type in seen:
        return f"has the type {binding_type!r}, which is taken"
    seen.add(binding_type)
    return None


@register(Tags.models)
def check_fields(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E007: the models that are in use have the fields that binding needs."""
    return [
        Error(
            f"{model._meta.label} has no field {field.name!r}.",
            hint=f"Derive {model._meta.label} from oauth_binding.models.{base}, then run makemigrations.",
            obj=model,
            id="oauth_binding.E007",
        )
        for model, fields, base in _active_models()
        for field in fields._meta.local_fields
        if not _has_field(model, field.name)
    ]


def _has_field(model: type[models.Model], name: str) -> bool:
    try:
        model._meta.get_field(name)
    except FieldDoesNotExist:
        return False
    return True


@register(Tags.security)
def check_signing_key(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E008: a signing key that is configured can be used."""
    if not oauth2_settings.OIDC_RSA_PRIVATE_KEY:
        return []
    try:
        get_signing_key()
    except ImproperlyConfigured as error:
        return [Error(str(error), hint="Give an RSA private key in PEM.", id="oauth_binding.E008")]
    return []


@register(Tags.urls)
def check_urls(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """W001: the token and introspection endpoints are this app's."""
    if not getattr(settings, "ROOT_URLCONF", None):
        return []
    return [
        Warning(
            f"The {name} endpoint is not that of oauth_binding.",
            hint='Use include("oauth_binding.urls") in place of include("oauth2_provider.urls").',
            id="oauth_binding.W001",
        )
        for name, view in (("token", views.TokenView), ("introspect", views.IntrospectTokenView))
        if not _is_served_by(name, view)
    ]


def _is_served_by(name: str, view: type) -> bool:
    try:
        match = resolve(reverse(f"oauth2_provider:{name}"))
    except (NoReverseMatch, Resolver404):
        return True  # the site does not serve the endpoint at all
    served_by = getattr(match.func, "view_class", None)
    return inspect.isclass(served_by) and issubclass(served_by, view)


@register(Tags.models)
def check_sqlite(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """W002: SQLite takes its write lock when a transaction begins."""
    alias = router.db_for_write(get_access_token_model())
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
    alias = router.db_for_write(get_access_token_model())
    if router.db_for_write(TokenBinding) == alias:
        return []
    return [
        Error(
            f"oauth_binding.TokenBinding is not in the database of the access tokens, {alias!r}.",
            hint="Let the database router treat the app 'oauth_binding' like the token models.",
            id="oauth_binding.E010",
        )
    ]


@register(Tags.models)
def check_applications(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E009 and E012: what applications ask for is set up.

    Only the table of applications can tell, so this asks the database where that can be asked, and says
    nothing where it can't: before the first migration, while images are built, in tests without a database.
    """
    alias = router.db_for_write(get_application_model())
    try:
        return list(_check_applications(alias))
    except Exception:
        return []


@register(Tags.database)
def check_tables(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """E011: the widened tables have their columns."""
    messages: list[CheckMessage] = []
    for alias in databases or ():
        lost = list(_lost_columns(alias))
        if lost and not _has_unapplied_migrations(alias):
            messages += lost
    return messages


def _has_unapplied_migrations(alias: str) -> bool:
    # The columns of a swapped model come with the site's own migrations, and "migrate" checks before it runs.
    executor = MigrationExecutor(connections[alias])
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def _migrated_models(alias: str) -> Iterator[tuple[type[models.Model], type[models.Model]]]:
    """Yield the models whose tables this app's migrations have widened in a database, with their fields."""
    tables = connections[alias].introspection.table_names()
    if TokenBinding._meta.db_table in tables:
        for model, fields, _base in _active_models():
            has_fields = all(_has_field(model, field.name) for field in fields._meta.local_fields)
            if has_fields and router.db_for_write(model) == alias and model._meta.db_table in tables:
                yield model, fields


def _lost_columns(alias: str) -> Iterator[CheckMessage]:
    connection = connections[alias]
    for model, fields in _migrated_models(alias):
        table = model._meta.db_table
        with connection.cursor() as cursor:
            present = {
                column.name for column in connection.introspection.get_table_description(cursor, table)
            }
        contributed = {field.name for field in fields._meta.local_fields}
        for field in model._meta.concrete_fields:
            if field.name in contributed and field.column not in present:
                yield Error(
                    f"The table {table} has no column {field.column!r}, although all migrations are applied.",
                    hint="A table that was rebuilt while the app was not installed has lost its columns. Run "
                    "'migrate oauth_binding zero --fake --skip-checks', drop the table "
                    "oauth_binding_tokenbinding and the columns that are left, and run 'migrate'.",
                    id="oauth_binding.E011",
                )


def _check_applications(alias: str) -> Iterator[CheckMessage]:
    model = get_application_model()
    if model not in dict(_migrated_models(alias)):
        return
    applications = model.objects.using(alias)
    if (
        not oauth2_settings.OIDC_RSA_PRIVATE_KEY
        and applications.filter(token_type=TokenType.JWT.value).exists()
    ):
        yield Error(
            "There are applications with JWT access tokens, but no key to sign them.",
            hint="Set OAUTH2_PROVIDER['OIDC_RSA_PRIVATE_KEY'] to an RSA private key in PEM.",
            id="oauth_binding.E009",
        )
    installed = [binding_type for binding_type, _label in binding_type_choices()]
    binding_types = applications.order_by("token_binding_type").values_list("token_binding_type", flat=True)
    for binding_type in binding_types.exclude(token_binding_type__in=installed).distinct():
        yield Error(
            f"There are applications with the token binding type {binding_type!r}, which is not installed.",
            hint="Add its binder to OAUTH_BINDING['BINDERS'], or choose another type for them.",
            id="oauth_binding.E012",
        )
