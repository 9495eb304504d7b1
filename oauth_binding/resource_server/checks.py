"""System checks: what is missing, contradictory or misspelt in ``OAUTH_RESOURCE_SERVER``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.utils.module_loading import import_string

from oauth_binding.core.audit import LOGGER, is_kept
from oauth_binding.core.setting_rules import is_number
from oauth_binding.proof.shared_caches import problem_of
from oauth_binding.resource_server.middleware import BearerTokenMiddleware
from oauth_binding.resource_server.settings import BOTH, INTROSPECTION, LOCAL, SETTINGS


def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E001 to E005: ``OAUTH_RESOURCE_SERVER`` is complete and consistent, and its values are right."""
    options: Any = getattr(settings, "OAUTH_RESOURCE_SERVER", None)
    hint = f"Give a dict; the settings are: {', '.join(SETTINGS)}."
    if not isinstance(options, dict):
        return [_error("E001", "OAUTH_RESOURCE_SERVER is not a dict.", hint)]
    unknown = [key for key in options if key not in SETTINGS]
    messages = [_error("E001", f"OAUTH_RESOURCE_SERVER[{key!r}] is not a setting.", hint) for key in unknown]
    return [*messages, *_missing(options), *_malformed(options), *_contradictions(options)]


def check_middleware(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E027 and W015 of ``oauth_binding``: a middleware that signs users in by tokens asks for some scope."""
    hint = "Put a class in its place that derives from it and sets required_scopes."
    messages: list[CheckMessage] = []
    for path, middleware in classes_in_middleware():
        if not issubclass(middleware, BearerTokenMiddleware) or middleware.overrides_scopes():
            continue
        if middleware.required_scopes is None:
            said = f"MIDDLEWARE has {path}, which does not say which scopes a token has to have."
            messages.append(Error(said, hint=hint, id="oauth_binding.E027"))
        elif not middleware.required_scopes:
            said = (
                f"MIDDLEWARE has {path}, which requires no scope: any access token, whatever it was "
                "granted for, may do there all that its user may."
            )
            messages.append(Warning(said, hint=hint, id="oauth_binding.W015"))
    return messages


def check_replay_cache(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E032 of ``oauth_binding``: the proofs that were used are in a cache that all processes share."""
    options: Any = getattr(settings, "OAUTH_RESOURCE_SERVER", None)
    if not isinstance(options, dict):
        return []  # E001
    alias = _value(options, "DPOP_REPLAY_CACHE")
    is_right, _expected = SETTINGS["DPOP_REPLAY_CACHE"].rule
    if not is_right(alias):
        return []  # E003
    problem = problem_of(alias)
    if problem is None:
        return []
    return [
        Error(
            f"OAUTH_RESOURCE_SERVER['DPOP_REPLAY_CACHE'] is {alias!r}, a cache {problem}: proofs could be "
            "reused.",
            hint="Name a cache of Redis or Memcached.",
            id="oauth_binding.E032",
        )
    ]


def check_audit_log(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """W033 of ``oauth_binding``: where the audit log is on, its lines are kept."""
    options: Any = getattr(settings, "OAUTH_RESOURCE_SERVER", None)
    if not isinstance(options, dict) or options.get("AUDIT_LOG") is not True or is_kept():
        return []  # E001 and E003 say what is wrong with them
    return [
        Warning(
            f"OAUTH_RESOURCE_SERVER['AUDIT_LOG'] is on, and the logger {LOGGER!r} drops its lines: they are "
            "of the level INFO.",
            hint=f"Give LOGGING['loggers'][{LOGGER!r}] a handler, and the level 'INFO'.",
            id="oauth_binding.W033",
        )
    ]


def classes_in_middleware() -> Iterator[tuple[str, type]]:
    """Yield the path and the class of each of the site's middlewares that is a class.

    What can't be imported is left for Django to report.
    """
    for path in settings.MIDDLEWARE or ():
        try:
            middleware = import_string(path)
        except ImportError:
            continue
        if isinstance(middleware, type):
            yield path, middleware


def _missing(options: Mapping[str, Any]) -> Iterator[CheckMessage]:
    validation = _value(options, "VALIDATION")
    for key, setting in SETTINGS.items():
        if key not in options and validation in setting.needed_by:
            yield _error(
                "E002",
                f"OAUTH_RESOURCE_SERVER[{key!r}] is missing.",
                f"VALIDATION {validation!r} needs it: give {setting.rule[1]}.",
            )


def _malformed(options: Mapping[str, Any]) -> Iterator[CheckMessage]:
    for key, setting in SETTINGS.items():
        if key not in options:
            continue
        is_right, expected = setting.rule
        # The value may be a secret.
        if not is_right(options[key]):
            yield _error("E003", f"OAUTH_RESOURCE_SERVER[{key!r}] is not {expected}.", f"Give {expected}.")
        elif key == "USER" and not _is_callable(options[key]):
            yield _error(
                "E005",
                f"OAUTH_RESOURCE_SERVER['USER'] is {options[key]!r}, which can't be imported and called.",
                "Give the dotted path of a function from an access token to its user, or None.",
            )


def _is_callable(path: str) -> bool:
    try:
        return callable(import_string(path))
    except ImportError:
        return False


def _contradictions(options: Mapping[str, Any]) -> Iterator[CheckMessage]:
    validation = _value(options, "VALIDATION")
    if validation == INTROSPECTION and "REVOCATION_FEED_URL" in options:
        yield _error(
            "E004",
            "OAUTH_RESOURCE_SERVER has a REVOCATION_FEED_URL, but no JWTs are validated here.",
            f"Take it out, or set VALIDATION to {LOCAL!r} or {BOTH!r}.",
        )
    if validation == LOCAL and "INTROSPECTION_URL" in options:
        yield _error(
            "E004",
            "OAUTH_RESOURCE_SERVER has an INTROSPECTION_URL, but the server is not asked.",
            f"Take it out, or set VALIDATION to {INTROSPECTION!r} or {BOTH!r}.",
        )
    interval, max_stale = _value(options, "REVOCATION_INTERVAL"), _value(options, "REVOCATION_MAX_STALE")
    if is_number(interval) and is_number(max_stale) and max_stale < interval:
        yield _error(
            "E004",
            "OAUTH_RESOURCE_SERVER has a REVOCATION_MAX_STALE that is less than REVOCATION_INTERVAL.",
            "Give one that bridges an outage of the server.",
        )


def _value(options: Mapping[str, Any], key: str) -> Any:
    return options.get(key, SETTINGS[key].default)


def _error(code: str, message: str, hint: str) -> Error:
    return Error(message, hint=hint, id=f"oauth_binding_resource_server.{code}")
