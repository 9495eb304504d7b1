"""A site per contender: what the environment variable ``BENCHMARK_CONTENDER`` names, with its own database.

None has middleware, and all have the same cheap password hasher if ``BENCHMARK_HASHER`` is not set. The keys
are made by whoever starts the processes.
"""

import os
from pathlib import Path
from typing import Any

from oauth_binding import OAUTH2_PROVIDER_ENTRIES

CONTENDER = os.environ["BENCHMARK_CONTENDER"]
_DIRECTORY = Path(os.environ["BENCHMARK_DIRECTORY"])
#: The bare view has the tables of this app, and not a line of its code in a request.
_IS_OURS = CONTENDER.startswith("oauth_binding") or CONTENDER == "a bare view"

SECRET_KEY = "a secret key of the benchmarks, which is long enough for HS256"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "benchmarks.urls"
MIDDLEWARE: list[str] = []
PASSWORD_HASHERS = [
    os.environ.get("BENCHMARK_HASHER", "django.contrib.auth.hashers.MD5PasswordHasher"),
    *(["oauth_binding.authorization_server.GeneratedSecretHasher"] if _IS_OURS else []),
]
LOGGING = {"version": 1, "disable_existing_loggers": True, "root": {"level": "CRITICAL"}}

_DATABASES: dict[str, dict[str, Any]] = {
    "sqlite": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": _DIRECTORY / f"{os.environ['BENCHMARK_NAME']}.sqlite3",
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 30,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA temp_store=MEMORY",
        },
    },
    "postgresql": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": os.environ["BENCHMARK_NAME"],
        "HOST": os.environ.get("PGHOST", "127.0.0.1"),
        "USER": os.environ.get("PGUSER", "postgres"),
        "PASSWORD": os.environ.get("PGPASSWORD", ""),
    },
    "mariadb": {
        "ENGINE": "django.db.backends.mysql",
        "NAME": os.environ["BENCHMARK_NAME"],
        "HOST": os.environ.get("MYSQL_HOST", "127.0.0.1"),
        "USER": os.environ.get("MYSQL_USER", "root"),
        "PASSWORD": os.environ.get("MYSQL_PASSWORD", ""),
        "OPTIONS": {"charset": "utf8mb4"},
    },
}
DATABASES = {"default": {**_DATABASES[os.environ["BENCHMARK_DATABASE"]], "CONN_MAX_AGE": None}}

INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "rest_framework"]
AUTHENTICATION = ""

RSA_PEM = (_DIRECTORY / "RS256.pem").read_text()
EC_PEM = (_DIRECTORY / "ES256.pem").read_text()

if CONTENDER == "django-oauth-toolkit" or _IS_OURS:
    INSTALLED_APPS += ["oauth2_provider"]
    OAUTH2_PROVIDER: dict[str, Any] = {
        "OIDC_ENABLED": True,
        "OIDC_ISS_ENDPOINT": "https://issuer.example",
        "OIDC_RSA_PRIVATE_KEY": RSA_PEM,
        "PKCE_REQUIRED": False,
        "SCOPES": {"read": "Read", "write": "Write", "openid": "OpenID", "introspection": "Introspection"},
    }
    AUTHENTICATION = "oauth2_provider.contrib.rest_framework.OAuth2Authentication"
if _IS_OURS:
    INSTALLED_APPS += ["oauth_binding"]
    OAUTH2_PROVIDER |= OAUTH2_PROVIDER_ENTRIES
    OAUTH_BINDING: dict[str, Any] = {"SIGNING_KEYS": str(_DIRECTORY / "keys.json")}
    AUTHENTICATION = "oauth_binding.contrib.rest_framework.BearerAuthentication"
if CONTENDER == "a bare view":
    AUTHENTICATION = "benchmarks.floor.Authentication"
if CONTENDER == "oauth_binding, any number of devices":
    OAUTH_BINDING["MAX_DEVICES"] = None
if CONTENDER == "oauth_binding, last used by tokens alone":
    OAUTH_BINDING["LAST_USED_INTERVAL"] = None
if CONTENDER == "oauth_binding, last used each second":
    OAUTH_BINDING["LAST_USED_INTERVAL"] = 1
if CONTENDER == "oauth_binding, prepared by PostgreSQL":
    DATABASES["default"]["OPTIONS"] = {"server_side_binding": True, "prepare_threshold": 2}
if CONTENDER == "oauth_binding, with the revocation feed":
    OAUTH_BINDING["REVOCATION_FEED"] = True
if CONTENDER == "oauth_binding, fast secrets":
    OAUTH2_PROVIDER["CLIENT_SECRET_HASHER"] = "oauth_binding_sha256"
    OAUTH2_PROVIDER["CLIENT_SECRET_GENERATOR_CLASS"] = (
        "oauth_binding.authorization_server.ClientSecretGenerator"
    )

if CONTENDER == "allauth's provider":
    INSTALLED_APPS += ["django.contrib.sessions", "django.contrib.messages"]
    INSTALLED_APPS += ["allauth", "allauth.account", "allauth.idp.oidc"]
    MIDDLEWARE = ["allauth.account.middleware.AccountMiddleware"]  # it does not start without
    IDP_OIDC_PRIVATE_KEY = RSA_PEM
    IDP_OIDC_RATE_LIMITS: dict[str, str] = {}
    AUTHENTICATION = "rest_framework.authentication.SessionAuthentication"

if CONTENDER == "django-rest-knox":
    INSTALLED_APPS += ["knox"]
    AUTHENTICATION = "knox.auth.TokenAuthentication"

if CONTENDER.startswith("simplejwt"):
    _ALGORITHM = CONTENDER.rpartition(" ")[2]
    SIMPLE_JWT = {"ALGORITHM": _ALGORITHM}
    if _ALGORITHM != "HS256":
        SIMPLE_JWT |= {
            "SIGNING_KEY": (_DIRECTORY / f"{_ALGORITHM}.pem").read_text(),
            "VERIFYING_KEY": (_DIRECTORY / f"{_ALGORITHM}.pub").read_text(),
        }
    _CLASS = "JWTStatelessUserAuthentication" if "stateless" in CONTENDER else "JWTAuthentication"
    AUTHENTICATION = f"rest_framework_simplejwt.authentication.{_CLASS}"

if CONTENDER.startswith("resource server"):
    INSTALLED_APPS += ["oauth_binding.resource_server"]
    OAUTH_RESOURCE_SERVER = {
        "ISSUER": "https://issuer.example",
        "AUDIENCE": "https://api.example",
        "JWKS_URL": os.environ["BENCHMARK_JWKS_URL"],
        "ALGORITHMS": [CONTENDER.rpartition(" ")[2]],
    }
    AUTHENTICATION = "oauth_binding.contrib.rest_framework.BearerAuthentication"

if "BENCHMARK_REDIS" in os.environ:
    CACHES = {
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": os.environ["BENCHMARK_REDIS"],
        }
    }
    if CONTENDER == "oauth_binding":
        OAUTH_BINDING["DPOP_REPLAY_CACHE"] = "default"

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [AUTHENTICATION],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
}
