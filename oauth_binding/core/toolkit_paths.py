"""Where django-oauth-toolkit keeps what this app uses from it: the one place that knows both of its layouts.

Its next release moves its modules into packages by role. From then on the old paths warn, and in 4.0 they are
gone. What is not listed here has the same path in both. Import names from here as from any module::

    from oauth_binding.core.toolkit_paths import ApplicationAdmin

They are looked up when they are asked for, so that an API elsewhere loads none of django-oauth-toolkit's
models, and so that its admin module can be asked for classes while it is being imported.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Final

_DYNAMIC_REGISTRATION: Final = (
    "authorization_server.views.dynamic_client_registration",
    "views.dynamic_client_registration",
)

# The same path in both layouts, but the package can't always be imported; see _import().
_AUTHENTICATION: Final = ("contrib.rest_framework.authentication",) * 2
_PERMISSIONS: Final = ("contrib.rest_framework.permissions",) * 2

#: The module of each name: in the layout by role, and in the one before.
PLACES: Final[dict[str, tuple[str, str]]] = {
    "AccessTokenAdmin": ("authorization_server.admin", "admin"),
    "ApplicationAdmin": ("authorization_server.admin", "admin"),
    "ApplicationForm": ("authorization_server.forms", "forms"),
    "FatalClientError": ("core.exceptions", "exceptions"),
    "GRANT_TYPE_MAP": _DYNAMIC_REGISTRATION,
    "GrantAdmin": ("authorization_server.admin", "admin"),
    "IDTokenAdmin": ("authorization_server.admin", "admin"),
    "IGNORED_GRANT_TYPES": _DYNAMIC_REGISTRATION,
    "IsAuthenticatedOrTokenHasScope": _PERMISSIONS,
    "OAuth2Authentication": _AUTHENTICATION,
    "OAuth2TokenMiddleware": ("resource_server.middleware", "middleware"),
    "OAuthLibCore": ("core.backends_oauthlib", "oauth2_backends"),
    "OAuthLibCoreMixin": ("core.views", "views.mixins"),
    "OAuthToolkitError": ("core.exceptions", "exceptions"),
    "ProtectedResourceMetadataMixin": ("resource_server.mixins", "views.mixins"),
    "REDIRECT_REQUIRED_GRANT_TYPES": _DYNAMIC_REGISTRATION,
    "RefreshTokenAdmin": ("authorization_server.admin", "admin"),
    "TokenHasReadWriteScope": _PERMISSIONS,
    "TokenHasResourceScope": _PERMISSIONS,
    "TokenHasScope": _PERMISSIONS,
    "TokenMatchesOASRequirements": _PERMISSIONS,
    "app_authorized": ("core.signals", "signals"),
    "bcp_filter_response_types": ("authorization_server.views.metadata", "views.metadata"),
    "build_bearer_challenge": ("resource_server.www_authenticate", "www_authenticate"),
    "get_scopes_backend": ("core.scopes", "scopes"),
    "jwk_from_pem": ("core.utils", "utils"),
    "set_oauthlib_user_to_device_request_user": ("core.utils", "utils"),
}

#: What has a different name in the layout before.
_NAMES_BEFORE: Final = {"OAuthLibCoreMixin": "OAuthLibMixin"}

#: Whether the installed release is laid out by role.
IS_BY_ROLE: Final = find_spec("oauth2_provider.core") is not None


def __getattr__(name: str) -> Any:
    if name not in PLACES:
        raise AttributeError(name)
    by_role, before = PLACES[name]
    if IS_BY_ROLE:
        return getattr(_import(f"oauth2_provider.{by_role}"), name)
    return getattr(_import(f"oauth2_provider.{before}"), _NAMES_BEFORE.get(name, name))


def _import(path: str) -> ModuleType:
    """Import a module, or return one that is loaded although its package can't be imported.

    In the layout by role, the package for Django REST framework imports more than is needed here: its views,
    which import the classes in the setting ``REST_FRAMEWORK``, and these may derive from the very class that
    is asked for; and django-oauth-toolkit's models, which an API elsewhere does not have.
    """
    try:
        return import_module(path)
    except (ImportError, RuntimeError):
        if path in sys.modules:
            return sys.modules[path]
        raise
