from __future__ import annotations

from typing import Any

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models
from oauth2_provider.settings import oauth2_settings

import oauth_binding.models
from oauth_binding.storage.migration_operations import InApp


def add_field(model_name: str, name: str, field: models.Field[Any, Any]) -> InApp:
    return InApp("oauth2_provider", migrations.AddField(model_name, name, field))


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("oauth2_provider", "0022_refreshtoken_token_family_index"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        migrations.swappable_dependency(oauth2_settings.APPLICATION_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="TokenBinding",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("binding_type", models.CharField(max_length=64, verbose_name="binding type")),
                ("binding_value", models.CharField(blank=True, max_length=255, verbose_name="binding value")),
                (
                    "reference",
                    models.CharField(blank=True, db_index=True, max_length=43, verbose_name="reference"),
                ),
                ("name", models.CharField(blank=True, max_length=100, verbose_name="name")),
                ("key", models.CharField(editable=False, max_length=64, unique=True)),
                (
                    "created",
                    models.DateTimeField(default=django.utils.timezone.now, verbose_name="first seen"),
                ),
                (
                    "last_used",
                    models.DateTimeField(default=django.utils.timezone.now, verbose_name="last used"),
                ),
                (
                    "application",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="token_bindings",
                        to=oauth2_settings.APPLICATION_MODEL,
                        verbose_name="application",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="token_bindings",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="user",
                    ),
                ),
            ],
            options={
                "verbose_name": "token binding",
                "verbose_name_plural": "token bindings",
                "permissions": [("revoke_tokenbinding", "Can revoke token binding")],
            },
        ),
        add_field(
            "application",
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
        add_field(
            "application",
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
        add_field(
            "application",
            "require_binding",
            models.BooleanField(
                db_default=False,
                default=False,
                help_text="Refuse token requests that name no binding",
                verbose_name="require a binding",
            ),
        ),
        add_field(
            "application",
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
