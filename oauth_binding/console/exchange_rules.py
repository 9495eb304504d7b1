"""The console's list of token exchange rules."""

from __future__ import annotations

from typing import Any

from django.contrib import admin

from oauth_binding.console.changes import ChangesAdmin
from oauth_binding.console.lookups import KnownLookupsAdmin
from oauth_binding.models import TokenExchangeRule


@admin.register(TokenExchangeRule)
class TokenExchangeRuleAdmin(ChangesAdmin, KnownLookupsAdmin):
    """Which client may exchange whose tokens."""

    list_display = (
        "client",
        "subject_client",
        "subject_issuer",
        "impersonation",
        "delegation",
        "refresh_tokens",
        "accept_unproven_subject",
        "audiences",
    )
    list_filter = ("impersonation", "delegation", "refresh_tokens", "accept_unproven_subject")
    list_select_related = ("client", "subject_client")
    search_fields = (
        "client__name",
        "client__client_id",
        "subject_client__name",
        "subject_client__client_id",
        "subject_issuer",
    )
    raw_id_fields = ("client", "subject_client")

    def told_fields(self, model: Any) -> set[str]:
        return {field.name for field in TokenExchangeRule._meta.concrete_fields}
