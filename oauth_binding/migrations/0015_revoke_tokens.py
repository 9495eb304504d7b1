from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("oauth_binding", "0014_exchange_rule_issuer")]

    operations = [
        migrations.AlterModelOptions(
            "tokenbinding",
            {
                "permissions": [
                    ("revoke_tokenbinding", "Can revoke token binding"),
                    ("revoke_accesstoken", "Can revoke access token"),
                    ("revoke_refreshtoken", "Can revoke refresh token"),
                ],
                "verbose_name": "token binding",
                "verbose_name_plural": "token bindings",
            },
        ),
    ]
