"""The suite's site on a scratch database, with or without the app."""

import os

from oauth_binding import OAUTH2_PROVIDER_ENTRIES
from tests.settings import *  # noqa: F403
from tests.settings import DATABASES, INSTALLED_APPS, OAUTH2_PROVIDER

DATABASES["default"]["NAME"] = os.environ.get("BENCHMARK_DATABASE", "oauth_binding_benchmark")
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"]["timeout"] = 600  # to see how long a login waits

if os.environ.get("BENCHMARK_PLAIN"):
    INSTALLED_APPS = [app for app in INSTALLED_APPS if app != "oauth_binding"]
    OAUTH2_PROVIDER = {
        entry: value for entry, value in OAUTH2_PROVIDER.items() if entry not in OAUTH2_PROVIDER_ENTRIES
    }
    ROOT_URLCONF = "tests.sites.plain_urls"

LOGGING = {
    "version": 1,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["stderr"], "level": "ERROR"},
    "loggers": {"oauth2_provider": {"level": "ERROR"}},
}
