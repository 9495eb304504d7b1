from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

from oauth_binding.storage.migration_operations import AddFieldWithoutIndex, InApp


class Migration(migrations.Migration):
    dependencies = [("oauth_binding", "0025_login_sessions")]

    operations = [
        InApp(
            "oauth2_provider",
            AddFieldWithoutIndex(
                "accesstoken",
                "binding_session",
                models.ForeignKey(
                    blank=True,
                    db_constraint=False,
                    editable=False,
                    null=True,
                    on_delete=django.db.models.deletion.SET_NULL,
                    related_name="+",
                    to="oauth_binding.loginsession",
                    verbose_name="login session",
                ),
            ),
        ),
    ]
