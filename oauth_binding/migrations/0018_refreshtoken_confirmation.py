from __future__ import annotations

from django.db import migrations, models

from oauth_binding.storage.migration_operations import InApp


class Migration(migrations.Migration):
    dependencies = [("oauth_binding", "0017_accesstoken_confirmation")]

    operations = [
        InApp(
            "oauth2_provider",
            migrations.AddField(
                "refreshtoken",
                "binding_confirmation",
                models.CharField(editable=False, max_length=64, null=True),
            ),
        ),
    ]
