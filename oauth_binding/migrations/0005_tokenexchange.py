from __future__ import annotations

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models
from oauth2_provider.settings import oauth2_settings


class Migration(migrations.Migration):
    dependencies = [
        ("oauth_binding", "0004_indexes"),
        migrations.swappable_dependency(oauth2_settings.APPLICATION_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="TokenExchange",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("subject", models.CharField(db_index=True, max_length=64)),
                ("act", models.JSONField(null=True)),
                ("key", models.CharField(max_length=64, unique=True)),
                ("last_used", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "client",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=oauth2_settings.APPLICATION_MODEL,
                    ),
                ),
                (
                    "subject_client",
                    models.ForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=oauth2_settings.APPLICATION_MODEL,
                    ),
                ),
                ("subject_issuer", models.CharField(blank=True, max_length=255)),
                (
                    "subject_binding",
                    models.ForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="exchanges",
                        to="oauth_binding.tokenbinding",
                    ),
                ),
            ],
            options={"verbose_name": "token exchange", "verbose_name_plural": "token exchanges"},
        ),
        migrations.CreateModel(
            name="TokenExchangeRule",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "impersonation",
                    models.BooleanField(
                        default=False,
                        help_text="Without an actor token: the client gets a token that is the user's and "
                        "nothing else",
                        verbose_name="impersonation",
                    ),
                ),
                (
                    "delegation",
                    models.BooleanField(
                        default=False,
                        help_text="With an actor token: the token says who acts for the user",
                        verbose_name="delegation",
                    ),
                ),
                (
                    "audiences",
                    models.TextField(
                        blank=True,
                        help_text="The audiences and resources that may be asked for, separated by white "
                        "space",
                        verbose_name="audiences",
                    ),
                ),
                (
                    "refresh_tokens",
                    models.BooleanField(
                        default=False,
                        help_text="Issue refresh tokens, with which the client outlives the token it "
                        "exchanged",
                        verbose_name="refresh tokens",
                    ),
                ),
                (
                    "client",
                    models.ForeignKey(
                        db_constraint=False,
                        help_text="The application that sends the token exchange request",
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="token_exchange_rules",
                        to=oauth2_settings.APPLICATION_MODEL,
                        verbose_name="client",
                    ),
                ),
                (
                    "subject_client",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        help_text="The application that the token to be exchanged was issued to",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=oauth2_settings.APPLICATION_MODEL,
                        verbose_name="subject client",
                    ),
                ),
                (
                    "subject_issuer",
                    models.CharField(
                        blank=True,
                        help_text="Instead of a subject client: an issuer in TOKEN_EXCHANGE_ISSUERS",
                        max_length=255,
                        verbose_name="subject issuer",
                    ),
                ),
            ],
            options={
                "verbose_name": "token exchange rule",
                "verbose_name_plural": "token exchange rules",
                "constraints": [
                    models.UniqueConstraint(
                        fields=["client", "subject_client"], name="oauth_binding_tokenexchangerule_pair"
                    )
                ],
            },
        ),
    ]
