from __future__ import annotations

import django.utils.timezone
from django.db import migrations, models

from oauth_binding.storage.migration_operations import InApp


class Migration(migrations.Migration):
    dependencies = [("oauth_binding", "0008_exchange_indexes")]

    operations = [
        migrations.CreateModel(
            name="RevokedToken",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("jti", models.CharField(max_length=43, unique=True)),
                ("expires", models.DateTimeField(db_index=True)),
                ("revoked", models.DateTimeField(db_index=True, default=django.utils.timezone.now)),
            ],
            options={"verbose_name": "revoked token", "verbose_name_plural": "revoked tokens"},
        ),
        InApp(
            "oauth2_provider",
            migrations.AddField(
                "application",
                "require_presented_binding",
                models.BooleanField(
                    db_default=False,
                    default=False,
                    help_text="Refuse API requests that do not name what their token is bound to",
                    verbose_name="require the binding at APIs",
                ),
            ),
        ),
    ]
