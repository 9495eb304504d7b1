from __future__ import annotations

from typing import Any

from django.db import migrations, models

import oauth_binding.models
from oauth_binding.storage.migration_operations import AddColumn, InApp


def add_column(name: str, field: models.Field[Any, Any]) -> InApp:
    return InApp("oauth2_provider", AddColumn("application", name, field))


class Migration(migrations.Migration):
    dependencies = [("oauth_binding", "0001_initial")]

    operations = [
        add_column(
            "token_type",
            models.CharField(
                choices=[("opaque", "Opaque"), ("jwt", "JWT")],
                db_default="opaque",
                default="opaque",
                help_text="The form of this application's access tokens",
                max_length=16,
                verbose_name="token type",
            ),
        ),
        add_column(
            "access_token_algorithm",
            models.CharField(
                blank=True,
                choices=[
                    ("", "The site's default"),
                    ("RS256", "RS256"),
                    ("ES256", "ES256"),
                    ("EdDSA", "EdDSA"),
                ],
                db_default="",
                default="",
                help_text="What signs this application's JWT access tokens; its APIs have to accept it",
                max_length=16,
                verbose_name="access token algorithm",
            ),
        ),
        add_column(
            "token_binding_type",
            models.CharField(
                choices=oauth_binding.models.binding_type_choices,
                db_default="none",
                default="none",
                help_text="What this application's tokens are bound to, so that one user can hold several",
                max_length=64,
                verbose_name="token binding type",
            ),
        ),
        add_column(
            "additional_grant_types",
            models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Grant types that are allowed in addition to the authorization grant type, "
                "separated by spaces",
                max_length=255,
                verbose_name="additional grant types",
            ),
        ),
    ]
