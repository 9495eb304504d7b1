from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models
from oauth2_provider.settings import oauth2_settings


class Migration(migrations.Migration):
    dependencies = [
        ("oauth_binding", "0015_revoke_tokens"),
        migrations.swappable_dependency(oauth2_settings.APPLICATION_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="TokenPolicy",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "sender_constraint",
                    models.CharField(
                        choices=[("none", "None"), ("dpop", "DPoP: the client proves a key of its own")],
                        db_default="none",
                        default="none",
                        help_text="What makes this application's tokens useless to whoever steals them",
                        max_length=16,
                        verbose_name="sender constraint",
                    ),
                ),
                (
                    "require_sender_constraint",
                    models.CharField(
                        choices=[
                            ("no", "No"),
                            ("report", "Report what would be refused"),
                            ("yes", "Yes"),
                        ],
                        db_default="no",
                        default="no",
                        help_text="What becomes of token requests without a proof",
                        max_length=16,
                        verbose_name="require a proof",
                    ),
                ),
                (
                    "application",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="token_policy",
                        to=oauth2_settings.APPLICATION_MODEL,
                        verbose_name="application",
                    ),
                ),
            ],
            options={"verbose_name": "token policy", "verbose_name_plural": "token policies"},
        ),
        migrations.CreateModel(
            name="UsedProof",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("key", models.CharField(max_length=64, unique=True)),
                ("expires", models.DateTimeField(db_index=True)),
            ],
            options={"verbose_name": "used proof", "verbose_name_plural": "used proofs"},
        ),
        migrations.AddField("codecontext", "confirmation", models.CharField(max_length=64, null=True)),
        migrations.AddField(
            "tokenbinding",
            "proof_missed",
            models.DateTimeField(editable=False, null=True, verbose_name="last request without a proof"),
        ),
        migrations.AddField(
            "tokenexchangerule",
            "accept_unproven_subject",
            models.BooleanField(
                db_default=False,
                default=False,
                help_text=(
                    "Accept a sender-constrained token without a proof of its key; the client proves one of "
                    "its own. Never for public clients"
                ),
                verbose_name="unproven subject tokens",
            ),
        ),
    ]
