"""The console's lists of access and refresh tokens."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from oauth_binding.authorization_server.revocation.revoke import revoke_access_token, revoke_refresh_token
from oauth_binding.console.large_tables import LargeTableAdmin
from oauth_binding.core.toolkit_paths import AccessTokenAdmin, RefreshTokenAdmin
from oauth_binding.models import TokenBinding


class _BoundTokenAdmin(LargeTableAdmin):
    """What access and refresh tokens have in common: a link to their binding, and revoking under its lock."""

    list_select_related = ("application", "user", "binding")
    readonly_fields = ("binding_link",)

    @admin.display(description=_("binding"))
    def binding_link(self, token: Any) -> str:
        if token.binding is None or not self.admin_site.is_registered(TokenBinding):
            return self.get_empty_value_display()
        name = "admin:oauth_binding_tokenbinding_change"
        url = reverse(name, args=[token.binding.pk], current_app=self.admin_site.name)
        shown = token.binding.name or token.binding.binding_value or _("(shared)")
        return format_html('<a href="{}">{}</a>', url, shown)


class BoundAccessTokenAdmin(_BoundTokenAdmin, AccessTokenAdmin):
    """Access tokens with their binding."""

    list_display = ("pk", "masked_token", "user", "application", "binding_link", "expires")

    @admin.action(description=_("Revoke selected access tokens"), permissions=["change"])
    def revoke_tokens(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        tokens = list(queryset.select_related("binding"))
        for token in tokens:
            revoke_access_token(token)
        number = len(tokens)
        message = ngettext("Revoked %d access token.", "Revoked %d access tokens.", number)
        self.message_user(request, message % number)


class BoundRefreshTokenAdmin(_BoundTokenAdmin, RefreshTokenAdmin):
    """Refresh tokens with their binding."""

    list_display = ("pk", "masked_token", "user", "application", "binding_link", "revoked")

    @admin.action(description=_("Revoke selected refresh tokens"), permissions=["change"])
    def revoke_tokens(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        tokens = list(queryset.select_related("binding"))
        for token in tokens:
            revoke_refresh_token(token)
        number = len(tokens)
        message = ngettext("Revoked %d refresh token.", "Revoked %d refresh tokens.", number)
        self.message_user(request, message % number)
