"""The site of the measurements at scale: the feed is on, and a user has any number of devices."""

import os

from benchmarks.live_site_settings import *  # noqa: F403
from benchmarks.live_site_settings import DATABASES
from tests.settings import OAUTH2_PROVIDER as _PROVIDER_OF_THE_SUITE
from tests.settings import OAUTH_BINDING as _OF_THE_SUITE

DATABASES["default"]["NAME"] = os.environ.get("BENCHMARK_DATABASE", "oauth_binding_scale")
OAUTH_BINDING = {**_OF_THE_SUITE, "REVOCATION_FEED": True, "MAX_DEVICES": None}
OAUTH2_PROVIDER = {**_PROVIDER_OF_THE_SUITE, "REFRESH_TOKEN_EXPIRE_SECONDS": 30 * 24 * 60 * 60}
