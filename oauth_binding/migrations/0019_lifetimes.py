from __future__ import annotations

import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("oauth_binding", "0018_refreshtoken_confirmation")]

    operations = [
        migrations.AddField(
            "tokenexchange", "login_lifetime", models.PositiveIntegerField(editable=False, null=True)
        ),
        migrations.AddField(
            "tokenpolicy",
            "access_token_lifetime",
            models.PositiveIntegerField(
                blank=True,
                help_text="In seconds; how long an access token of a user is valid",
                null=True,
                validators=[django.core.validators.MinValueValidator(1)],
                verbose_name="lifetime of users' access tokens",
            ),
        ),
        migrations.AddField(
            "tokenpolicy",
            "client_token_lifetime",
            models.PositiveIntegerField(
                blank=True,
                help_text="In seconds; for access tokens by the client credentials grant",
                null=True,
                validators=[django.core.validators.MinValueValidator(1)],
                verbose_name="lifetime of the client's own access tokens",
            ),
        ),
        migrations.AddField(
            "tokenpolicy",
            "constrained_token_lifetime",
            models.PositiveIntegerField(
                blank=True,
                help_text="In seconds; for access tokens that are of no use without a key",
                null=True,
                validators=[django.core.validators.MinValueValidator(1)],
                verbose_name="lifetime of sender-constrained access tokens",
            ),
        ),
        migrations.AddField(
            "tokenpolicy",
            "refresh_token_lifetime",
            models.PositiveIntegerField(
                blank=True,
                help_text="In seconds; how long a refresh token is good after its access token has expired",
                null=True,
                validators=[django.core.validators.MinValueValidator(1)],
                verbose_name="lifetime of refresh tokens",
            ),
        ),
        migrations.AddField(
            "tokenpolicy",
            "login_lifetime",
            models.PositiveIntegerField(
                blank=True,
                help_text="In seconds; when its tokens end, however often they are refreshed",
                null=True,
                validators=[django.core.validators.MinValueValidator(1)],
                verbose_name="lifetime of logins",
            ),
        ),
        migrations.AddField(
            "tokenpolicy",
            "rotate_refresh_tokens",
            models.BooleanField(
                blank=True,
                help_text="Answer each refresh with a new refresh token",
                null=True,
                verbose_name="rotate refresh tokens",
            ),
        ),
        migrations.AddField(
            "tokenpolicy",
            "refresh_token_reuse_protection",
            models.BooleanField(
                blank=True,
                help_text="End a login whose used refresh token is sent again",
                null=True,
                verbose_name="refresh token reuse protection",
            ),
        ),
        migrations.AddField(
            "tokenpolicy",
            "reuse_min_lifetime",
            models.PositiveIntegerField(
                blank=True,
                null=True,
                help_text=(
                    "In seconds; an opaque access token with less left is replaced, and not returned again"
                ),
                verbose_name="least lifetime of a token that is returned again",
            ),
        ),
    ]
