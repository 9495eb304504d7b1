"""System checks: what is missing, contradictory or misspelt in a site's set-up."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Tags, register
from oauth2_provider.settings import oauth2_settings

from oauth_binding import OAUTH2_PROVIDER_ENTRIES
from oauth_binding.authorization_server.toolkit.backend import BindingOAuthLibCore
from oauth_binding.authorization_server.toolkit.generators import (
    generate_access_token,
    generate_refresh_token,
)
from oauth_binding.authorization_server.toolkit.validator import BindingOAuth2Validator

_ENTRIES_HINT = (
    "Spread oauth_binding.OAUTH2_PROVIDER_ENTRIES into OAUTH2_PROVIDER, or set {entry!r} to {value!r}."
)


@register(Tags.security)
def check_provider_entries(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E001 to E004, and E029: ``OAUTH2_PROVIDER`` uses this app's validator, backend and generators."""
    return [*_check_entries(), *_check_bodies()]


def _check_entries() -> Iterator[CheckMessage]:
    classes = [
        ("E001", "OAUTH2_VALIDATOR_CLASS", BindingOAuth2Validator),
        ("E002", "OAUTH2_BACKEND_CLASS", BindingOAuthLibCore),
    ]
    generators = [
        ("E003", "ACCESS_TOKEN_GENERATOR", "token_generator", generate_access_token),
        ("E004", "REFRESH_TOKEN_GENERATOR", "refresh_token_generator", generate_refresh_token),
    ]
    for code, entry, base in classes:
        configured = _provider_entry(entry)
        if not (inspect.isclass(configured) and issubclass(configured, base)):
            yield _entry_error(code, entry, f"is not a subclass of {OAUTH2_PROVIDER_ENTRIES[entry]}")
    for code, entry, argument, generator in generators:
        # EXTRA_SERVER_KWARGS takes precedence over the entry.
        if oauth2_settings.EXTRA_SERVER_KWARGS.get(argument, _provider_entry(entry)) is not generator:
            yield _entry_error(code, entry, f"is not {OAUTH2_PROVIDER_ENTRIES[entry]}")


def _check_bodies() -> Iterator[CheckMessage]:
    backend = _provider_entry("OAUTH2_BACKEND_CLASS")
    # Another backend is E002. The class is looked for by its name, as it will be gone in 4.0.
    if (
        inspect.isclass(backend)
        and issubclass(backend, BindingOAuthLibCore)
        and any(
            base.__name__ == "JSONOAuthLibCore" and base.__module__.startswith("oauth2_provider.")
            for base in backend.__mro__
        )
    ):
        yield Error(
            "OAUTH2_PROVIDER['OAUTH2_BACKEND_CLASS'] reads JSON with JSONOAuthLibCore; the endpoints "
            "take only forms.",
            hint="Take the class out, and let clients send forms (RFC 6749 appendix B).",
            id="oauth_binding.E029",
        )


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
