"""The site of the harness on servers that a test has started."""

import json
import os

from tests.concurrency.settings import *  # noqa: F403

#: By alias, what is not as in the settings of the suite.
_SERVERS = json.loads(os.environ["CLUSTER_DATABASES"])

DATABASES = {
    alias: {**DATABASES["default"], "HOST": "127.0.0.1", "USER": "postgres", "PASSWORD": "", **entries}  # noqa: F405
    for alias, entries in _SERVERS.items()
}

DATABASE_ROUTERS = json.loads(os.environ.get("CLUSTER_ROUTERS", "[]"))

# As most sites have it that the pages are on.
MIDDLEWARE = [*MIDDLEWARE, "oauth_binding.sessions.LoginSessionMiddleware"]  # noqa: F405
