"""System checks: what is missing, contradictory or misspelt in ``OAUTH_RESOURCE_SERVER``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.utils.module_loading import import_string

from oauth_binding.core.jose.algorithms import ALGORITHM_LIST
from oauth_binding.core.setting_rules import SECURE_URL, Rule, is_flag, is_number, is_text, is_text_or_list
from oauth_binding.resource_server.settings import BOTH, DEFAULTS, INTROSPECTION, LOCAL, VALIDATIONS

#: The largest ``LEEWAY``, in seconds.
MAX_LEEWAY: Final = 300

_SECONDS: Final[Rule] = (is_number, "a number of seconds")
_TEXT: Final[Rule] = (is_text, "a text")

#: All the settings, and what they have to be.
_RULES: Final[dict[str, Rule]] = {
    "ISSUER": _TEXT,
    "AUDIENCE": (is_text_or_list, "a text or a list of texts"),
    "VALIDATION": (lambda value: value in VALIDATIONS, f"one of these: {', '.join(VALIDATIONS)}"),
    "JWKS_URL": SECURE_URL,
    "ALGORITHMS": ALGORITHM_LIST,
    "LEEWAY": (lambda value: is_number(value, MAX_LEEWAY), f"a number of seconds up to {MAX_LEEWAY}"),
    "INTROSPECTION_URL": SECURE_URL,
    "CLIENT_ID": _TEXT,
    "CLIENT_SECRET": _TEXT,
    "INTROSPECTION_CACHE_SECONDS": _SECONDS,
    "REVOCATION_FEED_URL": SECURE_URL,
    "REVOCATION_INTERVAL": (lambda value: is_number(value) and value > 0, "a number of seconds above 0"),
    "REVOCATION_MAX_STALE": _SECONDS,
    "BINDING_HEADER": (is_text, "the name of a header"),
    "REQUIRE_PRESENTED_BINDING": (is_flag, "True or False"),
    "USER": (is_text, "a dotted path"),
}

#: What each ``VALIDATION`` needs.
_LOCAL_NEEDS: Final = ("ISSUER", "AUDIENCE", "JWKS_URL")
_INTROSPECTION_NEEDS: Final = ("ISSUER", "INTROSPECTION_URL", "CLIENT_ID", "CLIENT_SECRET")
_REQUIRED: Final = {
    LOCAL: _LOCAL_NEEDS,
    INTROSPECTION: _INTROSPECTION_NEEDS,
    BOTH: tuple(dict.fromkeys(_LOCAL_NEEDS + _INTROSPECTION_NEEDS)),
}


def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E001 to E005: ``OAUTH_RESOURCE_SERVER`` is complete, of one mind, and its values are right."""
    options: Any = getattr(settings, "OAUTH_RESOURCE_SERVER", None)
    hint = f"Give a dict; the settings are: {', '.join(_RULES)}."
    if not isinstance(options, dict):
        return [_error("E001", "OAUTH_RESOURCE_SERVER is not a dict.", hint)]
    unknown = [key for key in options if key not in _RULES]
    messages = [_error("E001", f"OAUTH_RESOURCE_SERVER[{key!r}] is not a setting.", hint) for key in unknown]
    return [*messages, *_missing(options), *_malformed(options), *_contradictions(options)]


def _missing(options: Mapping[str, Any]) -> Iterator[CheckMessage]:
    validation = options.get("VALIDATION", DEFAULTS["VALIDATION"])
    for key in _REQUIRED.get(validation, ()) if isinstance(validation, str) else ():
        if key not in options:
            yield _error(
                "E002",
                f"OAUTH_RESOURCE_SERVER[{key!r}] is missing.",
                f"VALIDATION {validation!r} needs it: give {_RULES[key][1]}.",
            )


def _malformed(options: Mapping[str, Any]) -> Iterator[CheckMessage]:
    for key, (is_right, expected) in _RULES.items():
        # The value may be a secret.
        if key in options and not is_right(options[key]):
            yield _error("E003", f"OAUTH_RESOURCE_SERVER[{key!r}] is not {expected}.", f"Give {expected}.")
        elif key == "USER" and key in options and not _is_callable(options[key]):
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
    validation = options.get("VALIDATION", DEFAULTS["VALIDATION"])
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
    interval, max_stale = (
        options.get(key, DEFAULTS[key]) for key in ("REVOCATION_INTERVAL", "REVOCATION_MAX_STALE")
    )
    if is_number(interval) and is_number(max_stale) and max_stale < interval:
        yield _error(
            "E004",
            "OAUTH_RESOURCE_SERVER has a REVOCATION_MAX_STALE that is less than REVOCATION_INTERVAL.",
            "Give one that bridges an outage of the server.",
        )


def _error(code: str, message: str, hint: str) -> Error:
    return Error(message, hint=hint, id=f"oauth_binding_resource_server.{code}")
