"""System checks: what is missing, contradictory or misspelt in a site's set-up."""

from __future__ import annotations

import inspect
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from django.apps import AppConfig
from django.conf import settings
from django.contrib.auth.hashers import get_hasher, get_hashers
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.db import connections, models, router
from django.db.migrations.executor import MigrationExecutor
from django.urls import NoReverseMatch, Resolver404, resolve, reverse
from django.utils import timezone
from django.utils.module_loading import import_string
from oauth2_provider.models import get_access_token_model, get_application_model, get_refresh_token_model
from oauth2_provider.settings import oauth2_settings

from oauth_binding import OAUTH2_PROVIDER_ENTRIES, issuers, key_file, tokens, views
from oauth_binding.binders.base import TokenBinder
from oauth_binding.conf import DEFAULTS, binding_settings
from oauth_binding.hashers import GeneratedSecretHasher, is_installed
from oauth_binding.key_file import ALGORITHMS, MIN_RSA_BITS, KeyFileError, current_key
from oauth_binding.keys import get_signing_key, get_toolkit_key
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
_FAST_HASH = f"{GeneratedSecretHasher.algorithm}$"
_SETTINGS_HINT = f"The settings are: {', '.join(sorted(DEFAULTS))}."

#: How long before its end a key without a successor is warned of, in seconds.
EXPIRY_WARNING: Final = 7 * 24 * 60 * 60


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
    """E005, E006, E013, E014 and E016: ``OAUTH_BINDING`` has known keys, and their values are right."""
    user_settings: Any = binding_settings.user_settings
    if not isinstance(user_settings, dict):
        return [Error("OAUTH_BINDING is not a dict.", hint=_SETTINGS_HINT, id="oauth_binding.E005")]
    messages: list[CheckMessage] = [
        Error(f"OAUTH_BINDING[{key!r}] is not a setting.", hint=_SETTINGS_HINT, id="oauth_binding.E005")
        for key in sorted(user_settings.keys() - DEFAULTS.keys(), key=str)
    ]
    messages += [
        Error(
            f"OAUTH_BINDING['TOKEN_EXCHANGE_ISSUERS'] {problem}.",
            hint="Give a dict of issuers, each a dict with AUDIENCE, and with JWKS_URL or KEYS.",
            id="oauth_binding.E013",
        )
        for problem in issuers.problems(user_settings.get("TOKEN_EXCHANGE_ISSUERS", {}))
    ]
    header = user_settings.get("BINDING_HEADER", DEFAULTS["BINDING_HEADER"])
    if not (isinstance(header, str) and re.fullmatch(r"[A-Za-z0-9-]+", header)):
        messages.append(
            Error(
                f"OAUTH_BINDING['BINDING_HEADER'] is {header!r}, which is no header.",
                hint="Give a name of letters, digits and dashes, such as 'Token-Binding-Id'.",
                id="oauth_binding.E014",
            )
        )
    messages += [
        Error(f"OAUTH_BINDING[{key!r}] {problem}.", hint=hint, id="oauth_binding.E016")
        for key, problem, hint in _signing_problems(user_settings)
    ]
    return messages + [
        Error(
            f"OAUTH_BINDING['BINDERS'] {problem}.",
            hint="Give a list of the dotted paths of subclasses of oauth_binding.binders.base.TokenBinder.",
            id="oauth_binding.E006",
        )
        for problem in _binder_problems(user_settings.get("BINDERS", DEFAULTS["BINDERS"]))
    ]


def _signing_problems(user_settings: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    path = user_settings.get("SIGNING_KEYS")
    if path and not (isinstance(path, str | os.PathLike) and Path(path).is_absolute()):
        hint = "Give the path from the root on, such as BASE_DIR / 'signing-keys.json'."
        yield "SIGNING_KEYS", "is not an absolute path", hint
    algorithm = user_settings.get("SIGNING_ALGORITHM", DEFAULTS["SIGNING_ALGORITHM"])
    if algorithm not in list(ALGORITHMS):
        yield "SIGNING_ALGORITHM", f"is {algorithm!r}", f"Give one of {', '.join(ALGORITHMS)}."


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
    """E008, E009, E015, W003 and W005: the signing keys that are configured can be used, and are sound."""
    messages = list(_check_toolkit_key())
    user_settings: Any = binding_settings.user_settings
    if not isinstance(user_settings, dict):
        return messages  # E005 says so
    messages += _check_key_file()
    # An algorithm that nobody chose concerns only those who have JWT applications.
    if user_settings.get("SIGNING_ALGORITHM") in list(ALGORITHMS):
        messages += _check_algorithm(binding_settings.signing_algorithm, "The site's default")
    return messages


def _check_toolkit_key() -> Iterator[CheckMessage]:
    if not oauth2_settings.OIDC_RSA_PRIVATE_KEY:
        return
    try:
        private_key = get_toolkit_key().private_key
    except ImproperlyConfigured as error:
        yield Error(str(error), hint="Give an RSA private key in PEM.", id="oauth_binding.E008")
        return
    if isinstance(private_key, RSAPrivateKey) and private_key.key_size < MIN_RSA_BITS:
        yield Warning(
            f"OAUTH2_PROVIDER['OIDC_RSA_PRIVATE_KEY'] has {private_key.key_size} bits: "
            f"RS256 asks for {MIN_RSA_BITS} or more.",
            hint="Replace it, and keep it in OIDC_RSA_PRIVATE_KEYS_INACTIVE until its tokens have expired.",
            id="oauth_binding.W005",
        )


def _check_key_file() -> Iterator[CheckMessage]:
    path = binding_settings.signing_keys
    if path is None or not path.is_absolute():
        return  # of the latter, E016 says so
    try:
        key_file.read(path)
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        yield Error(
            f"The signing keys in {path} can't be used: {error}.",
            hint="Make the file with 'manage.py signingkeys create', or correct it.",
            id="oauth_binding.E015",
        )
        return
    if os.name == "posix" and mode & stat.S_IRWXO:
        yield Warning(
            f"Every user of this machine has access to the signing keys in {path}.",
            hint=f"Run 'chmod o= {path}'.",
            id="oauth_binding.W003",
        )


def _check_algorithm(algorithm: str, whose: str) -> Iterator[CheckMessage]:
    try:
        get_signing_key(algorithm)
    except KeyFileError:
        pass  # E015 says so
    except ImproperlyConfigured as error:
        hint = (
            f"Make a key with 'manage.py signingkeys create --algorithm {algorithm}'. It is announced first."
        )
        if algorithm == "RS256":
            hint = "Set OAUTH2_PROVIDER['OIDC_RSA_PRIVATE_KEY'] to an RSA private key in PEM."
        yield Error(
            f"{whose} algorithm of JWT access tokens is {algorithm}, but no key can sign: {error}",
            hint=hint,
            id="oauth_binding.E009",
        )


@register(Tags.security)
def check_hashers(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E020 and E021: the hasher of client secrets is installed, and the fast one is not for passwords."""
    messages: list[CheckMessage] = []
    hasher = f"{GeneratedSecretHasher.__module__}.{GeneratedSecretHasher.__qualname__}"
    if any(isinstance(first, GeneratedSecretHasher) for first in get_hashers()[:1]):
        messages.append(
            Error(
                f"{hasher} is the first of PASSWORD_HASHERS, which is for users' passwords.",
                hint="Put it last, behind a hasher for passwords.",
                id="oauth_binding.E020",
            )
        )
    try:
        get_hasher(oauth2_settings.CLIENT_SECRET_HASHER)
    except ValueError:
        messages.append(
            Error(
                "OAUTH2_PROVIDER['CLIENT_SECRET_HASHER'] is "
                f"{oauth2_settings.CLIENT_SECRET_HASHER!r}, which no hasher in PASSWORD_HASHERS is called.",
                hint=f"For 'oauth_binding_sha256', put {hasher!r} last in PASSWORD_HASHERS.",
                id="oauth_binding.E021",
            )
        )
    return messages


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
    """E009, E012, E022 and W004: what applications ask for is set up.

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
                    "'migrate oauth_binding zero --fake --skip-checks', drop the tables "
                    "oauth_binding_* and the columns that are left, and run 'migrate'.",
                    id="oauth_binding.E011",
                )


def _check_applications(alias: str) -> Iterator[CheckMessage]:
    model = get_application_model()
    if model not in dict(_migrated_models(alias)):
        return
    applications = model.objects.using(alias)
    with_jwts = applications.filter(token_type=TokenType.JWT.value).order_by("access_token_algorithm")
    chosen = set(with_jwts.values_list("access_token_algorithm", flat=True).distinct())
    if chosen and binding_settings.revocation_feed:
        chosen.add("")  # signs the feed
    for algorithm in sorted(chosen):
        whose = "An application's" if algorithm else "The site's default"
        if algorithm or "SIGNING_ALGORITHM" not in binding_settings.user_settings:
            yield from _check_algorithm(algorithm or binding_settings.signing_algorithm, whose)
    for algorithm in sorted({algorithm or binding_settings.signing_algorithm for algorithm in chosen}):
        yield from _check_successor(algorithm)
    if not is_installed() and applications.filter(client_secret__startswith=_FAST_HASH).exists():
        yield Error(
            "There are applications whose client secret has the fast hash, but no hasher that verifies it.",
            hint="Keep 'oauth_binding.hashers.GeneratedSecretHasher' last in PASSWORD_HASHERS; without "
            "CLIENT_SECRET_HASHER each client's next request gives its secret a slow hash again.",
            id="oauth_binding.E022",
        )
    installed = [binding_type for binding_type, _label in binding_type_choices()]
    binding_types = applications.order_by("token_binding_type").values_list("token_binding_type", flat=True)
    for binding_type in binding_types.exclude(token_binding_type__in=installed).distinct():
        yield Error(
            f"There are applications with the token binding type {binding_type!r}, which is not installed.",
            hint="Add its binder to OAUTH_BINDING['BINDERS'], or choose another type for them.",
            id="oauth_binding.E012",
        )


def _check_successor(algorithm: str) -> Iterator[CheckMessage]:
    try:
        keys = key_file.load()
    except KeyFileError:
        return  # E015 says so
    now = int(timezone.now().timestamp())
    key = current_key(keys, algorithm, now)
    if key is None or key.used_until is None or key.used_until > now + EXPIRY_WARNING:
        return
    if current_key(keys, algorithm, key.used_until):
        return
    if algorithm == "RS256" and oauth2_settings.OIDC_RSA_PRIVATE_KEY:
        return
    yield Warning(
        f"The {algorithm} key {key.kid} is used no longer than for a week, and has no successor.",
        hint=f"Make one with 'manage.py signingkeys create --algorithm {algorithm}'.",
        id="oauth_binding.W004",
    )
