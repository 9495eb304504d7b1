"""The example project, as it serves the clients: anybody registers, and every answer says who it is from."""

import os

from example_project.settings import *  # noqa: F403
from example_project.settings import INSTALLED_APPS, MIDDLEWARE, OAUTH2_PROVIDER, OAUTH_BINDING

ROOT_URLCONF = "tests.clients.server.urls"

# Cheap on purpose, as in the settings of the suite.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

OAUTH2_PROVIDER = {
    **OAUTH2_PROVIDER,
    "COMPLIANT_BCP_RFC9700_AUTHZ_RESPONSE_ISS": True,
    "DCR_ENABLED": True,
    "DCR_REGISTRATION_PERMISSION_CLASSES": ("oauth2_provider.dcr.AllowAllDCRPermission",),
    "DEVICE_FLOW_INTERVAL": 2,
    "OIDC_RP_INITIATED_LOGOUT_ENABLED": True,
}

OAUTH_BINDING = {
    **OAUTH_BINDING,
    "DPOP_NONCES": "everywhere",
    # The clients are on this machine.
    "BACKCHANNEL_LOGOUT_NETWORKS": ["127.0.0.1/32"],
}

if "CLIENTS_REDIS" in os.environ:
    # Where the processes keep which proofs they have taken, in place of the table.
    CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
        "proofs": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": os.environ["CLIENTS_REDIS"],
        },
    }
    OAUTH_BINDING["DPOP_REPLAY_CACHE"] = "proofs"

# What the scripts of other sites need of the API: any of them may call it, as there are no cookies in it.
INSTALLED_APPS = [*INSTALLED_APPS, "corsheaders"]
MIDDLEWARE = [
    "corsheaders.middleware.CorsMiddleware",
    "tests.clients.server.processes.name_process",
    *MIDDLEWARE,
]
CORS_URLS_REGEX = "^/(api|oauth2/userinfo)/"
CORS_ALLOW_ALL_ORIGINS = True
CORS_ALLOW_HEADERS = ["authorization", "dpop"]
CORS_EXPOSE_HEADERS = ["DPoP-Nonce", "WWW-Authenticate"]
