"""The API for the devices of a user; include it where the site has its APIs, say at ``api/devices/``."""

from __future__ import annotations

from typing import Any

from rest_framework.routers import SimpleRouter

from oauth_binding.contrib.rest_framework.devices import DeviceViewSet
from oauth_binding.core.error_reports import without_secrets

app_name = "oauth_binding_api"

_router = SimpleRouter(use_regex_path=False)
_router.register("", DeviceViewSet, basename="device")

_patterns: list[Any] = _router.urls
urlpatterns = [without_secrets(pattern) for pattern in _patterns]
