"""System checks: settings of Django REST framework that leave out something that tokens need."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Tags, Warning, register
from django.urls import NoReverseMatch, reverse
from oauth2_provider.settings import oauth2_settings
from rest_framework.settings import api_settings

from oauth_binding.contrib.rest_framework.authentication import BearerAuthentication
from oauth_binding.core.toolkit_paths import OAuth2Authentication


@register(Tags.security)
def check_rest_framework(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """W009 and W010: ``REST_FRAMEWORK`` names this app's authentication class, and its exception handler."""
    return list(_check_defaults())


@register(Tags.security)
def check_device_scopes(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """W012: if there is the API for devices, clients can ask for the scopes that open it."""
    if "SCOPES_BACKEND_CLASS" in oauth2_settings.user_settings or not getattr(settings, "ROOT_URLCONF", None):
        return []  # it may have its scopes in the database; it has no URLs
    try:
        reverse("oauth_binding_api:device-list")
    except NoReverseMatch:
        return []
    needed = [f"devices:{scope}" for scope in (oauth2_settings.READ_SCOPE, oauth2_settings.WRITE_SCOPE)]
    if any(scope in oauth2_settings.SCOPES for scope in needed):
        return []
    return [
        Warning(
            f"The API of the devices is there, but no token opens it: the scopes {' and '.join(needed)} "
            "are not offered.",
            hint="Add them to OAUTH2_PROVIDER['SCOPES'], and set 'DEFAULT_SCOPES', or take the URLs out.",
            id="oauth_binding.W012",
        )
    ]


def _check_defaults() -> Iterator[CheckMessage]:
    # Loads the classes that the site has named, which must not happen before all of its apps are ready.
    from rest_framework.views import exception_handler

    classes: list[Any] = [
        each for each in api_settings.DEFAULT_AUTHENTICATION_CLASSES if inspect.isclass(each)
    ]
    if any(issubclass(each, BearerAuthentication) for each in classes):
        if api_settings.EXCEPTION_HANDLER is exception_handler:
            yield Warning(
                "Clients whose token lacks a scope are not told which: REST_FRAMEWORK['EXCEPTION_HANDLER'] "
                "is Django REST framework's own.",
                hint="Set it to 'oauth_binding.contrib.rest_framework.handlers.exception_handler', or call "
                "that from a handler of yours.",
                id="oauth_binding.W010",
            )
    elif any(issubclass(each, OAuth2Authentication) for each in classes):
        yield Warning(
            "REST_FRAMEWORK['DEFAULT_AUTHENTICATION_CLASSES'] has django-oauth-toolkit's "
            "OAuth2Authentication, which does not say what a token is bound to, and lets bad ones in where "
            "nobody has to sign in.",
            hint="Put 'oauth_binding.contrib.rest_framework.BearerAuthentication' in its place.",
            id="oauth_binding.W009",
        )
