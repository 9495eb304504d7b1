from __future__ import annotations

from typing import Any

import django.db.models.deletion
from django.db import migrations, models

from oauth_binding.storage.migration_operations import AddColumn, InApp


def add_column(name: str, field: models.Field[Any, Any]) -> InApp:
    return InApp("oauth2_provider", AddColumn("accesstoken", name, field))


class Migration(migrations.Migration):
    dependencies = [("oauth_binding", "0002_application")]

    operations = [
        add_column(
            "binding",
            models.ForeignKey(
                blank=True,
                db_constraint=False,
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="access_tokens",
                to="oauth_binding.tokenbinding",
                verbose_name="binding",
            ),
        ),
        add_column("slot", models.CharField(editable=False, max_length=64, null=True, unique=True)),
        add_column("token_seed", models.CharField(editable=False, max_length=43, null=True)),
        add_column(
            "exchange",
            models.ForeignKey(
                blank=True,
                db_constraint=False,
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="access_tokens",
                to="oauth_binding.tokenexchange",
                verbose_name="token exchange",
            ),
        ),
        add_column("jti", models.CharField(editable=False, max_length=43, null=True)),
        add_column("binding_may_act", models.TextField(editable=False, null=True)),
        add_column("binding_confirmation", models.CharField(editable=False, max_length=64, null=True)),
        add_column("binding_login_started", models.DateTimeField(editable=False, null=True)),
        add_column(
            "binding_session",
            models.ForeignKey(
                blank=True,
                db_constraint=False,
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="oauth_binding.loginsession",
                verbose_name="login session",
            ),
        ),
    ]
