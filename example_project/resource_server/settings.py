"""An API on another machine than the server whose access tokens open it. It has no database.

Everything a deployment has to change is read from the environment.
"""

import os
from typing import Any

from django.core.management.utils import get_random_secret_key

DEBUG = False
ALLOWED_HOSTS = os.environ.get("DJANGO_ALLOWED_HOSTS", "127.0.0.1 localhost [::1]").split()

# Nothing here signs anything.
SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY") or get_random_secret_key()

INSTALLED_APPS = ["rest_framework", "oauth_binding.resource_server"]
ROOT_URLCONF = "example_project.resource_server.urls"
USE_TZ = True

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["oauth_binding.contrib.rest_framework.BearerAuthentication"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "EXCEPTION_HANDLER": "oauth_binding.contrib.rest_framework.handlers.exception_handler",
    # There is no django.contrib.auth, whose AnonymousUser is the default.
    "UNAUTHENTICATED_USER": None,
}

_ISSUER = os.environ.get("OAUTH_ISSUER", "http://127.0.0.1:8000/oauth2")

# JWTs are validated here, and looked up in the feed of those that were revoked.
OAUTH_RESOURCE_SERVER: dict[str, Any] = {
    "ISSUER": _ISSUER,
    # A token that was requested without a resource (RFC 8707) is for the server itself.
    "AUDIENCE": os.environ.get("OAUTH_AUDIENCE", _ISSUER),
    "JWKS_URL": f"{_ISSUER}/.well-known/jwks.json",
    "REVOCATION_FEED_URL": f"{_ISSUER}/revoked-tokens/",
    "REVOCATION_INTERVAL": float(os.environ.get("OAUTH_REVOCATION_INTERVAL", "30")),
    # Who has a token that a key protects proves the key anew every few minutes.
    "DPOP_NONCES": True,
}

# With an application of its own, the API asks the server about opaque tokens.
if "OAUTH_CLIENT_ID" in os.environ:
    OAUTH_RESOURCE_SERVER |= {
        "VALIDATION": "local+introspection",
        "INTROSPECTION_URL": f"{_ISSUER}/introspect/",
        "CLIENT_ID": os.environ["OAUTH_CLIENT_ID"],
        "CLIENT_SECRET": os.environ["OAUTH_CLIENT_SECRET"],
        "INTROSPECTION_CACHE_SECONDS": float(os.environ.get("OAUTH_INTROSPECTION_CACHE_SECONDS", "60")),
    }
