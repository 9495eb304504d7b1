"""The settings of django-oauth-toolkit's own tests, with this app: its entries are the defaults there."""

from oauth2_provider.settings import DEFAULTS

from oauth_binding import OAUTH2_PROVIDER_ENTRIES
from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

DEFAULTS.update(OAUTH2_PROVIDER_ENTRIES)
INSTALLED_APPS = (*INSTALLED_APPS, "oauth_binding")
ROOT_URLCONF = "urls_with_binding"
