from __future__ import annotations

from typing import Any

from django.db import migrations, models


def _tell_issuers_apart(apps: Any, schema_editor: Any) -> None:
    """Of several rules for one issuer keep the first, which is the one that counted."""
    rules = apps.get_model("oauth_binding", "TokenExchangeRule").objects.using(schema_editor.connection.alias)
    rules.filter(subject_issuer="").update(subject_issuer=None)
    seen = set()
    for rule in rules.filter(subject_issuer__isnull=False).order_by("pk"):
        # As MariaDB compares text, so that the constraint can be made.
        pair = (rule.client_id, rule.subject_issuer.casefold())
        if pair in seen:
            rule.delete()
        seen.add(pair)


def _forget_nulls(apps: Any, schema_editor: Any) -> None:
    rules = apps.get_model("oauth_binding", "TokenExchangeRule").objects.using(schema_editor.connection.alias)
    rules.filter(subject_issuer__isnull=True).update(subject_issuer="")


class Migration(migrations.Migration):
    dependencies = [("oauth_binding", "0013_may_act")]

    operations = [
        migrations.AlterField(
            "tokenexchangerule",
            "subject_issuer",
            models.CharField(
                blank=True,
                help_text="Instead of a subject client: an issuer in TOKEN_EXCHANGE_ISSUERS",
                max_length=255,
                null=True,
                verbose_name="subject issuer",
            ),
        ),
        migrations.RunPython(_tell_issuers_apart, _forget_nulls),
        migrations.AddConstraint(
            "tokenexchangerule",
            models.UniqueConstraint(
                fields=["client", "subject_issuer"], name="oauth_binding_tokenexchangerule_issuer"
            ),
        ),
    ]
