from __future__ import annotations

from django.db import migrations, models

from oauth_binding.storage.migration_operations import InApp


class Migration(migrations.Migration):
    dependencies = [("oauth_binding", "0019_lifetimes")]

    operations = [
        InApp(
            "oauth2_provider",
            migrations.AddField(
                "accesstoken",
                "binding_login_started",
                models.DateTimeField(editable=False, null=True),
            ),
        ),
    ]
