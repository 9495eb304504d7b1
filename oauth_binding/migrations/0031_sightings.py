from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("oauth_binding", "0030_binding_id_and_name"),
    ]

    operations = [
        migrations.AddField(
            model_name="loginsession",
            name="first_address",
            field=models.GenericIPAddressField(editable=False, null=True, verbose_name="address at first"),
        ),
        migrations.AddField(
            model_name="loginsession",
            name="first_browser",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                editable=False,
                max_length=64,
                verbose_name="browser at first",
            ),
        ),
        migrations.AddField(
            model_name="loginsession",
            name="first_device",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                editable=False,
                max_length=64,
                verbose_name="kind of device at first",
            ),
        ),
        migrations.AddField(
            model_name="loginsession",
            name="first_os",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                editable=False,
                max_length=64,
                verbose_name="operating system at first",
            ),
        ),
        migrations.AddField(
            model_name="loginsession",
            name="first_place",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                editable=False,
                max_length=100,
                verbose_name="place at first",
            ),
        ),
        migrations.AddField(
            model_name="loginsession",
            name="last_address",
            field=models.GenericIPAddressField(editable=False, null=True, verbose_name="address"),
        ),
        migrations.AddField(
            model_name="loginsession",
            name="last_browser",
            field=models.CharField(
                blank=True, db_default="", default="", editable=False, max_length=64, verbose_name="browser"
            ),
        ),
        migrations.AddField(
            model_name="loginsession",
            name="last_device",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                editable=False,
                max_length=64,
                verbose_name="kind of device",
            ),
        ),
        migrations.AddField(
            model_name="loginsession",
            name="last_os",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                editable=False,
                max_length=64,
                verbose_name="operating system",
            ),
        ),
        migrations.AddField(
            model_name="loginsession",
            name="last_place",
            field=models.CharField(
                blank=True, db_default="", default="", editable=False, max_length=100, verbose_name="place"
            ),
        ),
        migrations.AddField(
            model_name="tokenbinding",
            name="first_address",
            field=models.GenericIPAddressField(editable=False, null=True, verbose_name="address at first"),
        ),
        migrations.AddField(
            model_name="tokenbinding",
            name="first_browser",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                editable=False,
                max_length=64,
                verbose_name="browser at first",
            ),
        ),
        migrations.AddField(
            model_name="tokenbinding",
            name="first_device",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                editable=False,
                max_length=64,
                verbose_name="kind of device at first",
            ),
        ),
        migrations.AddField(
            model_name="tokenbinding",
            name="first_os",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                editable=False,
                max_length=64,
                verbose_name="operating system at first",
            ),
        ),
        migrations.AddField(
            model_name="tokenbinding",
            name="first_place",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                editable=False,
                max_length=100,
                verbose_name="place at first",
            ),
        ),
        migrations.AddField(
            model_name="tokenbinding",
            name="last_address",
            field=models.GenericIPAddressField(editable=False, null=True, verbose_name="address"),
        ),
        migrations.AddField(
            model_name="tokenbinding",
            name="last_browser",
            field=models.CharField(
                blank=True, db_default="", default="", editable=False, max_length=64, verbose_name="browser"
            ),
        ),
        migrations.AddField(
            model_name="tokenbinding",
            name="last_device",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                editable=False,
                max_length=64,
                verbose_name="kind of device",
            ),
        ),
        migrations.AddField(
            model_name="tokenbinding",
            name="last_os",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                editable=False,
                max_length=64,
                verbose_name="operating system",
            ),
        ),
        migrations.AddField(
            model_name="tokenbinding",
            name="last_place",
            field=models.CharField(
                blank=True, db_default="", default="", editable=False, max_length=100, verbose_name="place"
            ),
        ),
    ]
