from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("oauth_binding", "0021_refreshtoken_login_started")]

    operations = [
        migrations.AddField(
            "tokenpolicy",
            "allowed_audiences",
            models.TextField(
                blank=True,
                db_default="",
                default="",
                help_text=(
                    "What this application's tokens may be for, separated by white space. Empty: anything"
                ),
                verbose_name="allowed audiences",
            ),
        ),
        migrations.AddField(
            "tokenpolicy",
            "default_audiences",
            models.TextField(
                blank=True,
                db_default="",
                default="",
                help_text="What they are for where the client asks for nothing, separated by white space",
                verbose_name="default audiences",
            ),
        ),
        migrations.AddField(
            "tokenpolicy",
            "claims",
            models.TextField(
                blank=True,
                db_default="",
                default="",
                help_text="What JWT access tokens, and the introspection of opaque ones, say of the user",
                verbose_name="claims",
            ),
        ),
    ]
