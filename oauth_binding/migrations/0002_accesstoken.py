from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

from oauth_binding.storage.migration_operations import AddFieldWithoutIndex, InApp


class Migration(migrations.Migration):
    # A migration per table: one that locked two would deadlock with requests that lock them the other way.

    dependencies = [("oauth_binding", "0001_initial")]

    operations = [
        InApp(
            "oauth2_provider",
            AddFieldWithoutIndex(
                "accesstoken",
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
        ),
        InApp(
            "oauth2_provider",
            AddFieldWithoutIndex(
                "accesstoken",
                "slot",
                models.CharField(editable=False, max_length=64, null=True, unique=True),
            ),
        ),
        InApp(
            "oauth2_provider",
            migrations.AddField(
                "accesstoken", "token_seed", models.CharField(editable=False, max_length=43, null=True)
            ),
        ),
    ]
