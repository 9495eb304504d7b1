from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

from oauth_binding.storage.migration_operations import AddFieldWithoutIndex, InApp


class Migration(migrations.Migration):
    # A migration per table: one that locked two would deadlock with requests that lock them the other way.

    dependencies = [("oauth_binding", "0002_accesstoken")]

    operations = [
        InApp(
            "oauth2_provider",
            AddFieldWithoutIndex(
                "refreshtoken",
                "binding",
                models.ForeignKey(
                    blank=True,
                    db_constraint=False,
                    editable=False,
                    null=True,
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="refresh_tokens",
                    to="oauth_binding.tokenbinding",
                    verbose_name="binding",
                ),
            ),
        ),
        InApp(
            "oauth2_provider",
            migrations.AddField(
                "refreshtoken", "token_seed", models.CharField(editable=False, max_length=43, null=True)
            ),
        ),
    ]
