from __future__ import annotations

import sys
from importlib import import_module

from django.apps import AppConfig, apps
from django.utils.translation import gettext_lazy as _


class OAuthBindingConfig(AppConfig):
    name = "oauth_binding"
    verbose_name = _("OAuth token binding")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from oauth2_provider.models import get_access_token_model

        from oauth_binding import checks  # noqa: F401
        from oauth_binding.authorization_server.revocation import logouts, model_changes
        from oauth_binding.authorization_server.toolkit import local_times, registered_clients
        from oauth_binding.core.databases import put_before_routers
        from oauth_binding.devices import new_sign_in
        from oauth_binding.sessions import browser
        from oauth_binding.storage import last_used, loading
        from oauth_binding.storage.standing import ask_when_validated

        model_changes.connect()
        browser.connect()
        logouts.connect()
        local_times.connect()
        loading.connect()
        last_used.connect()
        new_sign_in.connect()
        registered_clients.connect()
        ask_when_validated(get_access_token_model())
        put_before_routers()
        if "oauth_binding.admin" in sys.modules:
            # By now the admin modules that Django loads after this app's are there, too.
            import_module("oauth_binding.console.users").add_to_admin_of_users()
        if apps.is_installed("rest_framework"):
            import_module("oauth_binding.contrib.rest_framework.checks")
        if apps.is_installed("drf_spectacular"):
            import_module("oauth_binding.contrib.rest_framework.device_schema")
