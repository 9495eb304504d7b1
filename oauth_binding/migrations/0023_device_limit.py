from __future__ import annotations

import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("oauth_binding", "0022_audiences_and_claims")]

    operations = [
        migrations.AddField(
            "tokenpolicy",
            "max_devices",
            models.PositiveIntegerField(
                blank=True,
                help_text="On how many devices a user can be signed in at once; empty for the site's limit",
                null=True,
                validators=[django.core.validators.MinValueValidator(1)],
                verbose_name="devices per user",
            ),
        ),
        migrations.AddField(
            "tokenpolicy",
            "device_limit_action",
            models.CharField(
                choices=[
                    ("evict", "Sign out the device that was used least recently"),
                    ("refuse", "Refuse the new device"),
                ],
                db_default="evict",
                default="evict",
                help_text="What becomes of a new device of a user who already has that many",
                max_length=16,
                verbose_name="beyond the limit",
            ),
        ),
        # What is there already may have live tokens.
        migrations.AddField(
            "tokenbinding",
            "may_be_live",
            models.BooleanField(db_default=True, default=True, editable=False, null=True),
        ),
        migrations.AddIndex(
            "tokenbinding",
            models.Index(
                fields=["user", "application", "binding_type", "may_be_live"], name="oauth_binding_devices"
            ),
        ),
    ]
