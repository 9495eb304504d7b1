from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class OAuthBindingConfig(AppConfig):
    name = "oauth_binding"
    verbose_name = _("OAuth token binding")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from oauth_binding import checks  # noqa: F401
