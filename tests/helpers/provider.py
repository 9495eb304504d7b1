"""The setting OAUTH2_PROVIDER."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.test import override_settings


@contextmanager
def provider(**entries: Any) -> Iterator[None]:
    """Change OAUTH2_PROVIDER for a while."""
    with override_settings(OAUTH2_PROVIDER={**settings.OAUTH2_PROVIDER, **entries}):
        yield
