from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("oauth_binding", "0029_logout_notifications")]

    operations = [
        migrations.AlterModelOptions(
            name="tokenbinding",
            options={
                "permissions": [
                    ("revoke_tokenbinding", "Can revoke token binding"),
                    ("view_binding_value", "Can view the whole id of a token binding"),
                    ("revoke_accesstoken", "Can revoke access token"),
                    ("revoke_refreshtoken", "Can revoke refresh token"),
                ],
                "verbose_name": "token binding",
                "verbose_name_plural": "token bindings",
            },
        ),
        migrations.AlterField(
            model_name="tokenbinding",
            name="name",
            field=models.CharField(blank=True, db_index=True, max_length=100, verbose_name="name"),
        ),
    ]
