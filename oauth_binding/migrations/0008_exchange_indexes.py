from __future__ import annotations

from django.db import migrations

from oauth_binding.storage.migration_operations import BuildIndex, InApp


class Migration(migrations.Migration):
    atomic = False  # as 0004

    dependencies = [("oauth_binding", "0007_refreshtoken_exchange")]

    operations = [
        InApp("oauth2_provider", BuildIndex("accesstoken", "exchange")),
        InApp("oauth2_provider", BuildIndex("refreshtoken", "exchange")),
    ]
