from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig, apps
from django.utils.translation import gettext_lazy as _


class OAuthBindingConfig(AppConfig):
    name = "oauth_binding"
    verbose_name = _("OAuth token binding")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from oauth_binding import checks  # noqa: F401
        from oauth_binding.authorization_server.revocation import model_changes
        from oauth_binding.core.databases import put_before_routers

        model_changes.connect()
        put_before_routers()
        if apps.is_installed("drf_spectacular"):
            import_module("oauth_binding.contrib.rest_framework.device_schema")
