"""A site with django-oauth-toolkit and token binding.

Everything a deployment has to change is read from the environment.
"""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import oauth_binding
from example_project.development_keys import get_development_keys

BASE_DIR = Path(__file__).resolve().parent.parent

DEBUG = os.environ.get("DJANGO_DEBUG", "") == "1"
ALLOWED_HOSTS = os.environ.get("DJANGO_ALLOWED_HOSTS", "127.0.0.1 localhost [::1]").split()

# Made on first use and kept in a file outside version control, unless the environment has them.
_keys = get_development_keys(BASE_DIR / ".development-keys.json")
SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY") or _keys["SECRET_KEY"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    # First, so that createapplication is the one that has its fields, too.
    "oauth_binding",
    "oauth2_provider",
    "rest_framework",
    "example_project",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    # Whoever signs a browser out on "Your devices" does so for the whole site.
    "oauth_binding.sessions.LoginSessionMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "example_project.urls"
WSGI_APPLICATION = "example_project.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("DJANGO_SQLITE_PATH", BASE_DIR / "db.sqlite3"),
        # Simultaneous token requests wait for each other instead of failing.
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
    }
}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "static/"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "oauth2_provider:device-list"
LOGOUT_REDIRECT_URL = "login"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

OAUTH2_PROVIDER = {
    **oauth_binding.OAUTH2_PROVIDER_ENTRIES,
    "SCOPES": {
        "openid": "Know who you are",
        "read": "Read your data",
        "write": "Change your data",
        "introspection": "Introspect tokens",
        "devices:read": "See where you are signed in",
        "devices:write": "Name your devices, and sign them out",
    },
    "DEFAULT_SCOPES": ["read", "write"],
    "OIDC_ENABLED": True,
    "OIDC_RSA_PRIVATE_KEY": os.environ.get("OIDC_RSA_PRIVATE_KEY") or _keys["OIDC_RSA_PRIVATE_KEY"],
    "ACCESS_TOKEN_EXPIRE_SECONDS": 3600,
    # The password grant stays allowed; django-oauth-toolkit 4.0 refuses it by default.
    "COMPLIANT_BCP_RFC9700_PASSWORD_GRANT": False,
}

REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["oauth_binding.contrib.rest_framework.BearerAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "EXCEPTION_HANDLER": "oauth_binding.contrib.rest_framework.handlers.exception_handler",
}

# The schema of the API, in a format that tools read: it comes with the "dev" extra.
if find_spec("drf_spectacular"):
    INSTALLED_APPS += ["drf_spectacular"]
    REST_FRAMEWORK["DEFAULT_SCHEMA_CLASS"] = "drf_spectacular.openapi.AutoSchema"
    SPECTACULAR_SETTINGS = {
        "TITLE": "Example project",
        "VERSION": oauth_binding.__version__,
        "SERVE_INCLUDE_SCHEMA": False,
        "POSTPROCESSING_HOOKS": [
            "drf_spectacular.hooks.postprocess_schema_enums",
            "oauth_binding.contrib.rest_framework.token_endpoint_schema.describe_token_endpoint",
        ],
    }

# APIs that validate JWTs on their own learn here which ones were revoked.
OAUTH_BINDING: dict[str, Any] = {"REVOCATION_FEED": True}
