"""The site as the harness serves it: a database of its own, and what the environment says of the provider."""

import json
import os

from tests.concurrency.cluster import CAUSAL, nodes, sync_wait
from tests.settings import *  # noqa: F403

DATABASES["default"].update(NAME=os.environ["CONCURRENCY_DATABASE"], CONN_MAX_AGE=60)  # noqa: F405
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):  # noqa: F405
    DATABASES["default"]["OPTIONS"]["timeout"] = 30  # noqa: F405

if nodes():
    # Who has no node of its own looks at what the others have done, and has to see all of it.
    node = os.environ.get("CONCURRENCY_NODE")
    DATABASES["default"]["PORT"] = node or nodes()[0]  # noqa: F405
    waits_for = sync_wait() if node else CAUSAL
    DATABASES["default"]["OPTIONS"]["init_command"] = f"SET SESSION wsrep_sync_wait = {waits_for}"  # noqa: F405

OAUTH2_PROVIDER = {
    **OAUTH2_PROVIDER,  # noqa: F405
    **json.loads(os.environ.get("CONCURRENCY_PROVIDER", "{}")),
}

OAUTH_BINDING = {**OAUTH_BINDING, **json.loads(os.environ.get("CONCURRENCY_BINDING", "{}"))}  # noqa: F405

if "CONCURRENCY_REDIS" in os.environ:
    CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": os.environ["CONCURRENCY_REDIS"],
            "OPTIONS": {"socket_timeout": 1, "socket_connect_timeout": 1},
        }
    }
    OAUTH_BINDING = {**OAUTH_BINDING, "DPOP_REPLAY_CACHE": "default"}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["stderr"], "level": "ERROR"},
}
