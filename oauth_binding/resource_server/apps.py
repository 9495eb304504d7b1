from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig, apps
from django.core.checks import Tags, register


class ResourceServerConfig(AppConfig):
    name = "oauth_binding.resource_server"
    label = "oauth_binding_resource_server"

    def ready(self) -> None:
        from oauth_binding.resource_server.checks import (
            check_audit_log,
            check_middleware,
            check_replay_cache,
            check_settings,
        )

        register(check_settings, Tags.security)
        register(check_audit_log, Tags.security)
        register(check_middleware, Tags.security)
        register(check_replay_cache, Tags.security, deploy=True)
        if apps.is_installed("rest_framework"):
            import_module("oauth_binding.contrib.rest_framework.checks")
        if apps.is_installed("drf_spectacular"):
            import_module("oauth_binding.contrib.rest_framework.schema")
