from __future__ import annotations

import uuid

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models
from oauth2_provider.settings import oauth2_settings


class Migration(migrations.Migration):
    dependencies = [
        ("oauth_binding", "0024_demands"),
        migrations.swappable_dependency(oauth2_settings.APPLICATION_MODEL),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="LoginSession",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "sid",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, unique=True, verbose_name="session id"
                    ),
                ),
                ("issuer", models.TextField(blank=True, verbose_name="issuer")),
                ("authenticated_at", models.DateTimeField(verbose_name="authenticated")),
                (
                    "created",
                    models.DateTimeField(default=django.utils.timezone.now, verbose_name="first seen"),
                ),
                (
                    "last_seen",
                    models.DateTimeField(default=django.utils.timezone.now, verbose_name="last seen"),
                ),
                ("expires", models.DateTimeField(verbose_name="expires")),
                ("terminated_at", models.DateTimeField(blank=True, null=True, verbose_name="ended")),
                (
                    "termination_reason",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("logout", "The user logged out"),
                            ("user", "The user signed the browser out from elsewhere"),
                            ("operator", "An operator ended it"),
                            ("sign_out_everywhere", "The user was signed out everywhere"),
                            ("password_change", "The password was changed"),
                            ("deactivation", "The user was deactivated"),
                            ("deletion", "The user was deleted"),
                            ("expired", "It expired"),
                        ],
                        max_length=32,
                        verbose_name="why it ended",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="login_sessions",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="user",
                    ),
                ),
            ],
            options={
                "verbose_name": "login session",
                "verbose_name_plural": "login sessions",
                "permissions": [("end_loginsession", "Can end login session")],
                "indexes": [models.Index(fields=["expires"], name="oauth_binding_session_expires")],
            },
        ),
        migrations.CreateModel(
            name="LoginSessionClient",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("sub", models.CharField(max_length=255)),
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
                    "session",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="clients",
                        to="oauth_binding.loginsession",
                    ),
                ),
            ],
            options={
                "verbose_name": "client of a login session",
                "verbose_name_plural": "clients of login sessions",
                "constraints": [
                    models.UniqueConstraint(
                        fields=["session", "application"], name="oauth_binding_session_client"
                    )
                ],
            },
        ),
        migrations.AddField(
            "codecontext",
            "session",
            models.ForeignKey(
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="oauth_binding.loginsession",
            ),
        ),
        migrations.AddField("codecontext", "authenticated_at", models.DateTimeField(null=True)),
        migrations.AddField("tokenexchange", "session_sid", models.UUIDField(editable=False, null=True)),
        migrations.AddField(
            "tokenpolicy",
            "revoke_on_logout",
            models.CharField(
                blank=True,
                choices=[("no", "Nothing"), ("session", "What came from the browser that is logged out")],
                help_text="Which tokens end when a user logs out in a browser",
                max_length=16,
                null=True,
                verbose_name="a logout ends",
            ),
        ),
        migrations.AddField(
            "tokenpolicy",
            "backchannel_logout_uri",
            models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Where the application is told that a login session has ended; https",
                max_length=500,
                verbose_name="back-channel logout URI",
            ),
        ),
        migrations.AddField(
            "tokenpolicy",
            "backchannel_logout_session_required",
            models.BooleanField(
                db_default=False,
                default=False,
                help_text="Whether the application needs the claim sid in logout tokens; it is always there",
                verbose_name="back-channel logout needs a session id",
            ),
        ),
    ]
