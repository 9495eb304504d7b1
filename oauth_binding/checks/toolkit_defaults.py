"""Checks of what stops working with the defaults that django-oauth-toolkit has announced for 4.0."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Final

from django.apps import AppConfig
from django.core.checks import CheckMessage, Tags, Warning, register
from django.db.models import Q
from oauth2_provider.models import AbstractApplication
from oauth2_provider.settings import oauth2_settings

from oauth_binding.authorization_server.toolkit.backend import BindingOAuthLibCore
from oauth_binding.checks.application_table import DatabaseOutOfReachError, get_applications

#: Refuses the password grant (RFC 9700 section 2.4).
PASSWORD_GATE: Final = "COMPLIANT_BCP_RFC9700_PASSWORD_GRANT"  # noqa: S105

#: Refuses bodies that are no forms (RFC 6749 section 4.1.3).
FORM_GATE: Final = "REQUIRE_FORM_ENCODED_REQUEST_BODY"


@register(Tags.models)
def check_password_grant(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """W006: where applications use the password grant, the site says itself that it is allowed.

    Where the database can't be asked, the check of the applications says so.
    """
    if PASSWORD_GATE in oauth2_settings.user_settings:
        return []
    password = AbstractApplication.GRANT_PASSWORD
    # None of the other grant types has the word in its name.
    allowed = Q(authorization_grant_type=password) | Q(additional_grant_types__contains=password)
    try:
        applications = get_applications()
    except DatabaseOutOfReachError:
        return []
    if applications is None or not applications.filter(allowed).exists():
        return []
    return [
        Warning(
            "There are applications with the password grant, which django-oauth-toolkit 4.0 is to refuse "
            "by default.",
            hint=f"Set OAUTH2_PROVIDER[{PASSWORD_GATE!r}] to False to go on with it, or to True to refuse it "
            "today, or choose another grant type for them.",
            id="oauth_binding.W006",
        )
    ]


@register(Tags.security)
def check_bodies(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """W007: where the backend reads JSON, the site says itself that bodies need not be forms."""
    if FORM_GATE in oauth2_settings.user_settings or not _reads_json():
        return []
    return [
        Warning(
            "OAUTH2_PROVIDER['OAUTH2_BACKEND_CLASS'] reads JSON with JSONOAuthLibCore; "
            "django-oauth-toolkit 4.0 is to refuse such bodies by default.",
            hint="Let clients send forms (RFC 6749 section 4.1.3), and take the class out, which is to be "
            f"removed; or set OAUTH2_PROVIDER[{FORM_GATE!r}] to False to go on until then.",
            id="oauth_binding.W007",
        )
    ]


def _reads_json() -> bool:
    try:
        backend = oauth2_settings.OAUTH2_BACKEND_CLASS
    except (AttributeError, ImportError):
        return False
    # Another backend is E002. The class is looked for by its name, as it may be gone.
    return (
        inspect.isclass(backend)
        and issubclass(backend, BindingOAuthLibCore)
        and any(
            base.__name__ == "JSONOAuthLibCore" and base.__module__.startswith("oauth2_provider.")
            for base in backend.__mro__
        )
    )
