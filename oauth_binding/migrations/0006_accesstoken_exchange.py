from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

from oauth_binding.storage.migration_operations import AddFieldWithoutIndex, InApp


class Migration(migrations.Migration):
    dependencies = [("oauth_binding", "0005_tokenexchange")]

    operations = [
        InApp(
            "oauth2_provider",
            AddFieldWithoutIndex(
                "accesstoken",
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
        ),
    ]
