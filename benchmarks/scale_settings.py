"""The site of the measurements at scale: the feed is on, and a user has any number of devices."""

import os

from benchmarks.live_site_settings import *  # noqa: F403
from benchmarks.live_site_settings import DATABASES
from tests.settings import OAUTH_BINDING as _OF_THE_SUITE

DATABASES["default"]["NAME"] = os.environ.get("BENCHMARK_DATABASE", "oauth_binding_scale")
OAUTH_BINDING = {**_OF_THE_SUITE, "REVOCATION_FEED": True, "MAX_DEVICES": None}
