from __future__ import annotations

from django.db import migrations

from oauth_binding.storage.migration_operations import BuildIndex, InApp


class Migration(migrations.Migration):
    atomic = False  # as 0004

    dependencies = [("oauth_binding", "0027_refreshtoken_session")]

    operations = [
        InApp("oauth2_provider", BuildIndex("accesstoken", "binding_session")),
        InApp("oauth2_provider", BuildIndex("refreshtoken", "binding_session")),
    ]
