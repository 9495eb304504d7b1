from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig, apps
from django.utils.translation import gettext_lazy as _


class OAuthBindingConfig(AppConfig):
    name = "oauth_binding"
    verbose_name = _("OAuth token binding")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django.db.models.signals import pre_delete
        from oauth2_provider.models import get_access_token_model

        from oauth_binding import checks  # noqa: F401
        from oauth_binding.storage.ending import add_deleted_to_revocation_feed

        pre_delete.connect(add_deleted_to_revocation_feed, sender=get_access_token_model())
        if apps.is_installed("drf_spectacular"):
            import_module("oauth_binding.contrib.rest_framework.device_schema")
