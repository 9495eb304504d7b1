from __future__ import annotations

import uuid
from typing import Any

import django.core.validators
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models
from oauth2_provider.settings import oauth2_settings


def sighting_fields() -> list[tuple[str, models.Field[Any, Any]]]:
    """Return the fields of what a device looked like, at first and at its last use."""
    return [
        ("first_browser", sighted_field("browser at first", 64)),
        ("first_os", sighted_field("operating system at first", 64)),
        ("first_device", sighted_field("kind of device at first", 64)),
        (
            "first_address",
            models.GenericIPAddressField(editable=False, null=True, verbose_name="address at first"),
        ),
        ("first_place", sighted_field("place at first", 100)),
        ("last_browser", sighted_field("browser", 64)),
        ("last_os", sighted_field("operating system", 64)),
        ("last_device", sighted_field("kind of device", 64)),
        ("last_address", models.GenericIPAddressField(editable=False, null=True, verbose_name="address")),
        ("last_place", sighted_field("place", 100)),
    ]


def sighted_field(verbose_name: str, max_length: int) -> models.CharField[str, str]:
    return models.CharField(
        blank=True,
        db_default="",
        default="",
        editable=False,
        max_length=max_length,
        verbose_name=verbose_name,
    )


def demand_field(verbose_name: str, help_text: str) -> models.CharField[str, str]:
    return models.CharField(
        choices=[("no", "No"), ("report", "Report what would be refused"), ("yes", "Yes")],
        db_default="no",
        default="no",
        help_text=help_text,
        max_length=16,
        verbose_name=verbose_name,
    )


class Migration(migrations.Migration):
    # The tables of this app. Those of others that it widens have a migration each: one that locked two would
    # deadlock with requests that lock them the other way.

    initial = True

    dependencies = [
        ("oauth2_provider", "0022_refreshtoken_token_family_index"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        migrations.swappable_dependency(oauth2_settings.APPLICATION_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="TokenBinding",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("binding_type", models.CharField(max_length=64, verbose_name="binding type")),
                ("binding_value", models.CharField(blank=True, max_length=255, verbose_name="binding value")),
                (
                    "reference",
                    models.CharField(blank=True, db_index=True, max_length=43, verbose_name="reference"),
                ),
                ("name", models.CharField(blank=True, db_index=True, max_length=100, verbose_name="name")),
                ("key", models.CharField(editable=False, max_length=64, unique=True)),
                (
                    "created",
                    models.DateTimeField(default=django.utils.timezone.now, verbose_name="first seen"),
                ),
                (
                    "last_used",
                    models.DateTimeField(default=django.utils.timezone.now, verbose_name="last used"),
                ),
                (
                    "binding_missed",
                    models.DateTimeField(
                        editable=False, null=True, verbose_name="last request without a binding"
                    ),
                ),
                (
                    "presented_binding_missed",
                    models.DateTimeField(
                        editable=False, null=True, verbose_name="last API call without the binding"
                    ),
                ),
                (
                    "proof_missed",
                    models.DateTimeField(
                        editable=False, null=True, verbose_name="last request without a proof"
                    ),
                ),
                ("revision", models.BigIntegerField(db_default=0, default=0, editable=False)),
                (
                    "may_be_live",
                    models.BooleanField(db_default=True, default=True, editable=False, null=True),
                ),
                (
                    "application",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="token_bindings",
                        to=oauth2_settings.APPLICATION_MODEL,
                        verbose_name="application",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="token_bindings",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="user",
                    ),
                ),
                *sighting_fields(),
            ],
            options={
                "verbose_name": "token binding",
                "verbose_name_plural": "token bindings",
                "permissions": [
                    ("revoke_tokenbinding", "Can revoke token binding"),
                    ("view_binding_value", "Can view the whole id of a token binding"),
                    ("revoke_accesstoken", "Can revoke access token"),
                    ("revoke_refreshtoken", "Can revoke refresh token"),
                ],
                "indexes": [
                    models.Index(
                        fields=["user", "application", "binding_type", "may_be_live"],
                        name="oauth_binding_devices",
                    )
                ],
            },
        ),
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
                *sighting_fields(),
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
        migrations.CreateModel(
            name="LogoutNotification",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("issuer", models.TextField(verbose_name="issuer")),
                ("sub", models.CharField(max_length=255)),
                ("sid", models.UUIDField(editable=False, verbose_name="session id")),
                ("jti", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("created", models.DateTimeField(default=django.utils.timezone.now, verbose_name="created")),
                (
                    "next_attempt",
                    models.DateTimeField(
                        blank=True,
                        db_index=True,
                        default=django.utils.timezone.now,
                        null=True,
                        verbose_name="next attempt",
                    ),
                ),
                ("attempts", models.PositiveIntegerField(default=0, verbose_name="attempts")),
                ("last_attempt", models.DateTimeField(blank=True, null=True, verbose_name="last attempt")),
                ("delivered_at", models.DateTimeField(blank=True, null=True, verbose_name="delivered")),
                (
                    "failure",
                    models.CharField(blank=True, default="", max_length=200, verbose_name="last failure"),
                ),
                (
                    "application",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=oauth2_settings.APPLICATION_MODEL,
                        verbose_name="application",
                    ),
                ),
            ],
            options={
                "verbose_name": "logout notification",
                "verbose_name_plural": "logout notifications",
            },
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
                ("confirmation", models.CharField(max_length=64, null=True)),
                ("authenticated_at", models.DateTimeField(null=True)),
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
                (
                    "session",
                    models.ForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="oauth_binding.loginsession",
                    ),
                ),
            ],
            options={
                "verbose_name": "context of an authorization code",
                "verbose_name_plural": "contexts of authorization codes",
            },
        ),
        migrations.CreateModel(
            name="RevokedToken",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("jti", models.CharField(max_length=43, unique=True)),
                ("expires", models.DateTimeField(db_index=True)),
                ("revoked", models.DateTimeField(db_index=True, default=django.utils.timezone.now)),
            ],
            options={
                "verbose_name": "revoked token",
                "verbose_name_plural": "revoked tokens",
            },
        ),
        migrations.CreateModel(
            name="TokenExchange",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("subject_issuer", models.CharField(blank=True, max_length=255)),
                ("subject", models.CharField(db_index=True, max_length=64)),
                ("session_sid", models.UUIDField(editable=False, null=True)),
                ("act", models.JSONField(null=True)),
                ("login_lifetime", models.PositiveIntegerField(editable=False, null=True)),
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
                    "subject_binding",
                    models.ForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="exchanges",
                        to="oauth_binding.tokenbinding",
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
            ],
            options={
                "verbose_name": "token exchange",
                "verbose_name_plural": "token exchanges",
            },
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
                    "subject_issuer",
                    models.CharField(
                        blank=True,
                        help_text="Instead of a subject client: an issuer in TOKEN_EXCHANGE_ISSUERS",
                        max_length=255,
                        null=True,
                        verbose_name="subject issuer",
                    ),
                ),
                (
                    "impersonation",
                    models.BooleanField(
                        default=False,
                        help_text=(
                            "Without an actor token: the client gets a token that is the user's and "
                            "nothing else"
                        ),
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
                        help_text=(
                            "The audiences and resources that may be asked for, separated by white space"
                        ),
                        verbose_name="audiences",
                    ),
                ),
                (
                    "refresh_tokens",
                    models.BooleanField(
                        default=False,
                        help_text=(
                            "Issue refresh tokens, with which the client outlives the token it exchanged"
                        ),
                        verbose_name="refresh tokens",
                    ),
                ),
                (
                    "accept_unproven_subject",
                    models.BooleanField(
                        db_default=False,
                        default=False,
                        help_text=(
                            "Accept a sender-constrained token without a proof of its key; the client "
                            "proves one of its own. Never for public clients"
                        ),
                        verbose_name="unproven subject tokens",
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
            ],
            options={
                "verbose_name": "token exchange rule",
                "verbose_name_plural": "token exchange rules",
                "constraints": [
                    models.UniqueConstraint(
                        fields=["client", "subject_client"], name="oauth_binding_tokenexchangerule_pair"
                    ),
                    models.UniqueConstraint(
                        fields=["client", "subject_issuer"], name="oauth_binding_tokenexchangerule_issuer"
                    ),
                ],
            },
        ),
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
                    "require_binding",
                    demand_field("require a binding", "What becomes of token requests that name no binding"),
                ),
                (
                    "require_presented_binding",
                    demand_field(
                        "require the binding at APIs",
                        "What becomes of API requests that do not name what their token is bound to",
                    ),
                ),
                (
                    "require_sender_constraint",
                    demand_field("require a proof", "What becomes of token requests without a proof"),
                ),
                (
                    "access_token_lifetime",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="In seconds; how long an access token of a user is valid",
                        null=True,
                        validators=[django.core.validators.MinValueValidator(1)],
                        verbose_name="lifetime of users' access tokens",
                    ),
                ),
                (
                    "client_token_lifetime",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="In seconds; for access tokens by the client credentials grant",
                        null=True,
                        validators=[django.core.validators.MinValueValidator(1)],
                        verbose_name="lifetime of the client's own access tokens",
                    ),
                ),
                (
                    "constrained_token_lifetime",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="In seconds; for access tokens that are of no use without a key",
                        null=True,
                        validators=[django.core.validators.MinValueValidator(1)],
                        verbose_name="lifetime of sender-constrained access tokens",
                    ),
                ),
                (
                    "refresh_token_lifetime",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text=(
                            "In seconds; how long a refresh token is good after its access token has expired"
                        ),
                        null=True,
                        validators=[django.core.validators.MinValueValidator(1)],
                        verbose_name="lifetime of refresh tokens",
                    ),
                ),
                (
                    "login_lifetime",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="In seconds; when its tokens end, however often they are refreshed",
                        null=True,
                        validators=[django.core.validators.MinValueValidator(1)],
                        verbose_name="lifetime of logins",
                    ),
                ),
                (
                    "rotate_refresh_tokens",
                    models.BooleanField(
                        blank=True,
                        help_text="Answer each refresh with a new refresh token",
                        null=True,
                        verbose_name="rotate refresh tokens",
                    ),
                ),
                (
                    "refresh_token_reuse_protection",
                    models.BooleanField(
                        blank=True,
                        help_text="End a login whose used refresh token is sent again",
                        null=True,
                        verbose_name="refresh token reuse protection",
                    ),
                ),
                (
                    "reuse_min_lifetime",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text=(
                            "In seconds; an opaque access token with less left is replaced, and not "
                            "returned again"
                        ),
                        null=True,
                        verbose_name="least lifetime of a token that is returned again",
                    ),
                ),
                (
                    "allowed_audiences",
                    models.TextField(
                        blank=True,
                        db_default="",
                        default="",
                        help_text=(
                            "What this application's tokens may be for, separated by white space. "
                            "Empty: anything"
                        ),
                        verbose_name="allowed audiences",
                    ),
                ),
                (
                    "default_audiences",
                    models.TextField(
                        blank=True,
                        db_default="",
                        default="",
                        help_text=(
                            "What they are for where the client asks for nothing, separated by white space"
                        ),
                        verbose_name="default audiences",
                    ),
                ),
                (
                    "claims",
                    models.TextField(
                        blank=True,
                        db_default="",
                        default="",
                        help_text=(
                            "What JWT access tokens, and the introspection of opaque ones, say of the user"
                        ),
                        verbose_name="claims",
                    ),
                ),
                (
                    "max_devices",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text=(
                            "On how many devices a user can be signed in at once; empty for the site's limit"
                        ),
                        null=True,
                        validators=[django.core.validators.MinValueValidator(1)],
                        verbose_name="devices per user",
                    ),
                ),
                (
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
                (
                    "revoke_on_logout",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("no", "Nothing"),
                            ("session", "What came from the browser that is logged out"),
                        ],
                        help_text="Which tokens end when a user logs out in a browser",
                        max_length=16,
                        null=True,
                        verbose_name="a logout ends",
                    ),
                ),
                (
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
                (
                    "backchannel_logout_session_required",
                    models.BooleanField(
                        db_default=False,
                        default=False,
                        help_text=(
                            "Whether the application needs the claim sid in logout tokens; it is always there"
                        ),
                        verbose_name="back-channel logout needs a session id",
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
            options={
                "verbose_name": "token policy",
                "verbose_name_plural": "token policies",
            },
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
            options={
                "verbose_name": "used proof",
                "verbose_name_plural": "used proofs",
            },
        ),
    ]
