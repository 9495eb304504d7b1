from __future__ import annotations

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models
from oauth2_provider.settings import oauth2_settings


class Migration(migrations.Migration):
    dependencies = [
        ("oauth_binding", "0011_application_access_token_algorithm"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        migrations.swappable_dependency(oauth2_settings.APPLICATION_MODEL),
    ]

    operations = [
        migrations.AddField(
            "tokenbinding", "revision", models.BigIntegerField(db_default=0, default=0, editable=False)
        ),
        migrations.CreateModel(
            name="CodeContext",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("digest", models.CharField(max_length=64, unique=True)),
                ("code_challenge", models.CharField(blank=True, max_length=128)),
                ("code_challenge_method", models.CharField(blank=True, max_length=10)),
                ("created", models.DateTimeField(db_index=True, default=django.utils.timezone.now)),
                ("token_family", models.UUIDField(null=True)),
                ("access_token", models.CharField(blank=True, max_length=64)),
                (
                    "application",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=oauth2_settings.APPLICATION_MODEL,
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "context of an authorization code",
                "verbose_name_plural": "contexts of authorization codes",
            },
        ),
    ]
