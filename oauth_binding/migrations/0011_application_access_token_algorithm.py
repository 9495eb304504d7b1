from __future__ import annotations

from django.db import migrations, models

from oauth_binding.storage.migration_operations import InApp


class Migration(migrations.Migration):
    dependencies = [("oauth_binding", "0010_accesstoken_jti")]

    operations = [
        InApp(
            "oauth2_provider",
            migrations.AddField(
                "application",
                "access_token_algorithm",
                models.CharField(
                    blank=True,
                    choices=[
                        ("", "The site's default"),
                        ("RS256", "RS256"),
                        ("ES256", "ES256"),
                        ("EdDSA", "EdDSA"),
                    ],
                    db_default="",
                    default="",
                    help_text="What signs this application's JWT access tokens; its APIs have to accept it",
                    max_length=16,
                    verbose_name="access token algorithm",
                ),
            ),
        ),
    ]
