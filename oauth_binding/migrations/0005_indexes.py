from __future__ import annotations

from django.db import migrations

from oauth_binding.storage.migration_operations import BuildIndex, InApp


class Migration(migrations.Migration):
    # PostgreSQL builds an index without blocking writes outside of a transaction only.
    atomic = False

    dependencies = [("oauth_binding", "0004_refreshtoken")]

    operations = [
        InApp("oauth2_provider", BuildIndex("accesstoken", "binding")),
        InApp("oauth2_provider", BuildIndex("accesstoken", "slot")),
        InApp("oauth2_provider", BuildIndex("accesstoken", "exchange")),
        InApp("oauth2_provider", BuildIndex("accesstoken", "binding_session")),
        InApp("oauth2_provider", BuildIndex("refreshtoken", "binding")),
        InApp("oauth2_provider", BuildIndex("refreshtoken", "exchange")),
        InApp("oauth2_provider", BuildIndex("refreshtoken", "binding_session")),
    ]
