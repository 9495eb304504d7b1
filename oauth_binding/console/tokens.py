"""The console's lists of access and refresh tokens, ID tokens and authorization codes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext, ngettext_lazy
from django.utils.translation import gettext_lazy as _
from oauth2_provider.models import get_refresh_token_model

from oauth_binding.authorization_server.revocation.revoke import revoke_access_token, revoke_refresh_token
from oauth_binding.binding.confirmation import Confirmation
from oauth_binding.console.labels import binding_label
from oauth_binding.console.large_tables import LargeChangeList, LargeTableAdmin
from oauth_binding.console.read_only import ReadOnlyAdmin, RevocableAdmin, ask, is_confirmed, note_revoked
from oauth_binding.core.toolkit_paths import AccessTokenAdmin, GrantAdmin, IDTokenAdmin, RefreshTokenAdmin
from oauth_binding.models import TokenBinding
from oauth_binding.storage.ending import ended
from oauth_binding.storage.liveness import is_live, live_refresh_tokens


def _status(*, live: bool, has_ended: bool) -> str:
    if live:
        return str(_("live"))
    return str(_("ended") if has_ended else _("expired"))


class _BoundTokenAdmin(LargeTableAdmin, RevocableAdmin):
    """What access and refresh tokens have in common: a link to their binding, and revoking under its lock."""

    list_select_related: ClassVar[Any] = ("application", "user", "binding")
    readonly_fields: ClassVar[Any] = ("binding_link", "confirmation", "status", "created")
    linked_fields = ("binding",)

    @admin.display(description=_("binding"))
    def binding_link(self, token: Any) -> str:
        if token.binding is None or not self.admin_site.is_registered(TokenBinding):
            return self.get_empty_value_display()
        name = "admin:oauth_binding_tokenbinding_change"
        url = reverse(name, args=[token.binding.pk], current_app=self.admin_site.name)
        return format_html('<a href="{}">{}</a>', url, binding_label(token.binding))

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

        :param done: returns what is then said, given the number of tokens.
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
            note_revoked(self, request, token)
        self.message_user(request, done % len(tokens), messages.SUCCESS)
        return None

    def _describe(self, token: Any) -> str:
        holder = "" if token.user is None else f", {token.user.get_username()}"
        return f"{token}: {token.application or ''}{holder}"


class BoundAccessTokenAdmin(_BoundTokenAdmin, AccessTokenAdmin):
    """Access tokens with their binding; they can be looked at and revoked."""

    list_display = (
        *("pk", "masked_token", "status", "user", "application", "binding_link", "confirmation"),
        *("scope", "jti", "created", "expires"),
    )
    readonly_fields = (*_BoundTokenAdmin.readonly_fields, "jti")
    revoke_permission = "oauth_binding.revoke_accesstoken"

    @admin.display(description=_("status"))
    def status(self, token: Any) -> str:
        return _status(live=is_live(token.expires), has_ended=token.expires <= ended())

    @admin.action(description=_("Revoke selected access tokens"), permissions=["revoke"])
    def revoke_tokens(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        question = gettext("These access tokens will be revoked at once, with their refresh tokens:")
        done = ngettext_lazy("Revoked %d access token.", "Revoked %d access tokens.")
        return self._revoke(request, queryset, revoke_access_token, question=question, done=done)


class RefreshTokenChangeList(LargeChangeList):
    """Finds out which of the shown refresh tokens are live: that also depends on policies and exchanges."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list: Any = list(self.result_list)
        _look_which_are_live(self.result_list)


def _look_which_are_live(tokens: Iterable[Any]) -> None:
    by_key = {token.pk: token for token in tokens}
    refresh_tokens: Any = get_refresh_token_model().objects
    live = set(refresh_tokens.filter(live_refresh_tokens(), pk__in=by_key).values_list("pk", flat=True))
    for pk, token in by_key.items():
        token.is_live = pk in live


class BoundRefreshTokenAdmin(_BoundTokenAdmin, RefreshTokenAdmin):
    """Refresh tokens with their binding; they can be looked at and revoked."""

    list_display = (
        *("pk", "masked_token", "status", "user", "application", "binding_link", "confirmation"),
        *("scope", "jti", "created", "revoked"),
    )
    list_select_related = (*_BoundTokenAdmin.list_select_related, "access_token")
    readonly_fields = (*_BoundTokenAdmin.readonly_fields, "scope", "jti")
    revoke_permission = "oauth_binding.revoke_refreshtoken"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[RefreshTokenChangeList]:
        return RefreshTokenChangeList

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        token = super().get_object(request, object_id, from_field)
        if token is not None:
            _look_which_are_live([token])
        return token

    @admin.display(description=_("status"))
    def status(self, token: Any) -> str:
        access_token = token.access_token
        has_ended = token.revoked is not None or access_token is None or access_token.expires <= ended()
        return _status(live=token.is_live, has_ended=has_ended)

    # What its access token says; the access token goes when the refresh token is revoked.

    @admin.display(description=_("scope"), empty_value="-")
    def scope(self, token: Any) -> str | None:
        return None if token.access_token is None else token.access_token.scope

    @admin.display(description=_("jti of the access token"), empty_value="-")
    def jti(self, token: Any) -> str | None:
        return None if token.access_token is None else token.access_token.jti

    @admin.action(description=_("Revoke selected refresh tokens"), permissions=["revoke"])
    def revoke_tokens(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        question = gettext("These refresh tokens will be revoked at once, with their access tokens:")
        done = ngettext_lazy("Revoked %d refresh token.", "Revoked %d refresh tokens.")
        return self._revoke(request, queryset, revoke_refresh_token, question=question, done=done)


class ReadOnlyGrantAdmin(LargeTableAdmin, ReadOnlyAdmin, GrantAdmin):
    """Authorization codes, which can be looked at."""


class ReadOnlyIDTokenAdmin(LargeTableAdmin, ReadOnlyAdmin, IDTokenAdmin):
    """ID tokens, which can be looked at."""

    list_display = ("jti", "user", "application", "status", "scope", "created", "expires")
    readonly_fields = ("jti", "status", "created")

    @admin.display(description=_("status"))
    def status(self, token: Any) -> str:
        return _status(live=is_live(token.expires), has_ended=False)  # nothing ends one early
