"""The site with django-oauth-toolkit alone, and with this app."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.test import override_settings

import oauth_binding


@contextmanager
def with_toolkit_alone(**entries: Any) -> Iterator[None]:
    own = {
        name: value
        for name, value in settings.OAUTH2_PROVIDER.items()
        if name not in oauth_binding.OAUTH2_PROVIDER_ENTRIES
    }
    with override_settings(OAUTH2_PROVIDER={**own, **entries}, ROOT_URLCONF="tests.sites.plain_urls"):
        yield


@contextmanager
def with_this_app(**entries: Any) -> Iterator[None]:
    with override_settings(OAUTH2_PROVIDER={**settings.OAUTH2_PROVIDER, **entries}):
        yield
