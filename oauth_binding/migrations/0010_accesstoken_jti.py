from __future__ import annotations

from django.db import migrations, models

from oauth_binding.storage.migration_operations import InApp


class Migration(migrations.Migration):
    dependencies = [("oauth_binding", "0009_revokedtoken")]

    operations = [
        InApp(
            "oauth2_provider",
            migrations.AddField(
                "accesstoken", "jti", models.CharField(editable=False, max_length=43, null=True)
            ),
        ),
    ]
