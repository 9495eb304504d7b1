"""The console's lists of access and refresh tokens, ID tokens and authorization codes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext, ngettext_lazy
from django.utils.translation import gettext_lazy as _

from oauth_binding.authorization_server.revocation.revoke import revoke_access_token, revoke_refresh_token
from oauth_binding.binding.confirmation import Confirmation
from oauth_binding.console.large_tables import LargeTableAdmin
from oauth_binding.console.read_only import ReadOnlyAdmin, RevocableAdmin, ask, is_confirmed, note
from oauth_binding.core.toolkit_paths import AccessTokenAdmin, GrantAdmin, IDTokenAdmin, RefreshTokenAdmin
from oauth_binding.models import TokenBinding


class _BoundTokenAdmin(LargeTableAdmin, RevocableAdmin):
    """What access and refresh tokens have in common: a link to their binding, and revoking under its lock."""

    list_select_related = ("application", "user", "binding")
    readonly_fields = ("binding_link", "confirmation")
    linked_fields = ("binding",)

    @admin.display(description=_("binding"))
    def binding_link(self, token: Any) -> str:
        if token.binding is None or not self.admin_site.is_registered(TokenBinding):
            return self.get_empty_value_display()
        name = "admin:oauth_binding_tokenbinding_change"
        url = reverse(name, args=[token.binding.pk], current_app=self.admin_site.name)
        shown = token.binding.name or token.binding.binding_value or _("(shared)")
        return format_html('<a href="{}">{}</a>', url, shown)

    @admin.display(description=_("key"), empty_value="-")
    def confirmation(self, token: Any) -> str | None:
        # The thumbprint of a public key, which introspection and JWTs have as well (RFC 9449 section 6).
        confirmation = Confirmation.from_stored(token.binding_confirmation)
        return None if confirmation is None else f"{confirmation.member} {confirmation.thumbprint}"

    def _revoke(
        self,
        request: HttpRequest,
        queryset: QuerySet[Any],
        revoke: Callable[[Any], None],
        *,
        question: str,
        done: Any,
    ) -> HttpResponse | None:
        """Revoke tokens and say so, or return the page that asks for it first.

        :param done: what is said then, by the number of the tokens.
        """
        tokens = self.take(request, queryset, gettext("Select at most %(number)d tokens."))
        if not tokens:
            return None
        if not is_confirmed(request):
            rows = [(token, self._describe(token)) for token in tokens]
            title, answer = _("Revoke tokens"), _("Yes, revoke")
            return ask(
                self, request, rows, title=title, question=question, answer=answer, action="revoke_tokens"
            )
        for token in tokens:
            revoke(token)
        note(self, request, tokens)
        self.message_user(request, done % len(tokens), messages.SUCCESS)
        return None

    def _describe(self, token: Any) -> str:
        holder = "" if token.user is None else f", {token.user.get_username()}"
        return f"{token}: {token.application or ''}{holder}"


class BoundAccessTokenAdmin(_BoundTokenAdmin, AccessTokenAdmin):
    """Access tokens with their binding; they can be looked at and revoked."""

    list_display = ("pk", "masked_token", "user", "application", "binding_link", "confirmation", "expires")
    revoke_permission = "oauth_binding.revoke_accesstoken"

    @admin.action(description=_("Revoke selected access tokens"), permissions=["revoke"])
    def revoke_tokens(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        question = gettext("These access tokens will be revoked at once, with their refresh tokens:")
        done = ngettext_lazy("Revoked %d access token.", "Revoked %d access tokens.")
        return self._revoke(request, queryset, revoke_access_token, question=question, done=done)


class BoundRefreshTokenAdmin(_BoundTokenAdmin, RefreshTokenAdmin):
    """Refresh tokens with their binding; they can be looked at and revoked."""

    list_display = ("pk", "masked_token", "user", "application", "binding_link", "confirmation", "revoked")
    revoke_permission = "oauth_binding.revoke_refreshtoken"

    @admin.action(description=_("Revoke selected refresh tokens"), permissions=["revoke"])
    def revoke_tokens(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        question = gettext("These refresh tokens will be revoked at once, with their access tokens:")
        done = ngettext_lazy("Revoked %d refresh token.", "Revoked %d refresh tokens.")
        return self._revoke(request, queryset, revoke_refresh_token, question=question, done=done)


class ReadOnlyGrantAdmin(LargeTableAdmin, ReadOnlyAdmin, GrantAdmin):
    """Authorization codes, which can be looked at."""


class ReadOnlyIDTokenAdmin(LargeTableAdmin, ReadOnlyAdmin, IDTokenAdmin):
    """ID tokens, which can be looked at."""
